"""What machines said, where one who broke out of a machine has put something else in the place of its log."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lago.guest import console_log
from lago.host import locks
from lago.paths import Paths
from lago.virt import watch
from lago.virt.heard import Consoles, Seen, is_told

PUT: dict[str, Callable[[Path, Path], None]] = {
    "a link": lambda path, secret: path.symlink_to(secret),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a directory": lambda path, _: path.mkdir(),
}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A prefix whose machine vm0 has said a line."""
    found = Paths(str(tmp_path / "prefix"))
    os.makedirs(found.logs())
    os.makedirs(found.virt())
    Path(found.console_log("vm0")).write_text("one\n")
    return found


@pytest.mark.parametrize("put", PUT.values(), ids=PUT)
def test_what_is_put_in_the_place_of_a_log_is_passed_over(
    paths: Paths, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    secret, log = tmp_path / "secret", Path(paths.console_log("vm0"))
    secret.write_text("secret\n")
    consoles = Consoles(paths, ["vm0", "vm1"], Seen(paths))
    try:
        assert [one["text"] for one in consoles.entries()] == ["one"]
        log.rename(f"{log}.old")
        put(log, secret)
        put(Path(paths.console_log("vm1")), secret)
        assert consoles.entries(everything=True) == []
        assert is_told(paths, ["vm0", "vm1"])
        # It goes on with a log.
        log.rmdir() if log.is_dir() and not log.is_symlink() else log.unlink()
        log.write_text("two\n")
        assert [one["text"] for one in consoles.entries()] == ["two"]
    finally:
        consoles.close()


def test_a_pipe_in_the_place_of_a_log_is_not_waited_for(paths: Paths) -> None:
    os.mkfifo(paths.console_log("vm1"))
    with pytest.raises(OSError, match="is a pipe"):
        console_log.tail(paths.console_log("vm1"), 1)


def test_the_log_of_who_watches_is_no_link(paths: Paths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    Path(paths.logs("watch.log")).symlink_to(elsewhere)
    hypervisor = SimpleNamespace(shared=True, inner_uri="x:///", command=lambda _: [sys.executable, "-c", ""])
    env = cast(Any, SimpleNamespace(paths=paths, uuid="0" * 32, hypervisor=hypervisor))
    lock = locks.lock_if_free(paths.watch_lock())
    assert lock is not None
    try:
        with pytest.raises(OSError, match="symbolic links"):
            watch._launch(env, lock)
    finally:
        os.close(lock)
    assert not elsewhere.exists()
