"""Files by names that strangers told, by the kernel's own way and by its parts."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lago.host import beneath
from lago.host.beneath import open_beneath


@pytest.fixture(params=["kernel", "parts"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How names are looked up."""
    monkeypatch.setattr(beneath, "_by_kernel", request.param == "kernel")
    return str(request.param)


def opened(top: Path, path: str, flags: int = os.O_RDONLY) -> bytes | int:
    """What is read, or the number of the error."""
    directory = os.open(top, os.O_PATH)
    try:
        fd = open_beneath(directory, path, flags)
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(directory)
    with open(fd, "rb") as file:
        return file.read()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    (made / "d" / "e").mkdir(parents=True)
    (made / "d" / "e" / "file").write_text("theirs")
    (tmp_path / "secret").write_text("mine")
    (made / "link").symlink_to("../secret")
    (made / "inner").symlink_to("d/e/file")
    (made / "up").symlink_to("..")
    (made / "magic").symlink_to(f"/proc/self/fd/{os.O_RDONLY}")
    return made


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("d/e/file", b"theirs"),
        ("./d//e/./file", b"theirs"),
        ("link", errno.ELOOP),
        ("inner", errno.ELOOP),
        ("magic", errno.ELOOP),
        ("up/secret", (errno.ELOOP, errno.ENOTDIR)),
        ("../secret", errno.EXDEV),
        ("d/../../secret", errno.EXDEV),
        ("/etc/hostname", errno.EXDEV),
        ("d\0e", errno.EXDEV),
        ("d/e/file/", errno.ENOTDIR),
        ("d/e/file/.", errno.ENOTDIR),
        ("d/none", errno.ENOENT),
        ("", errno.ENOENT),
    ],
)
@pytest.mark.usefixtures("way")
def test_what_is_below_is_opened_and_nothing_else(top: Path, path: str, found: bytes | int | tuple[int, ...]) -> None:
    got = opened(top, path)
    assert got in found if isinstance(found, tuple) else got == found


@pytest.mark.usefixtures("way")
def test_a_link_is_not_opened_as_itself(top: Path) -> None:
    assert opened(top, "link", os.O_PATH) == errno.ELOOP


def test_a_kernel_without_it_is_remembered(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beneath, "_SYS_OPENAT2", 100_000)
    monkeypatch.setattr(beneath, "_by_kernel", True)
    assert opened(top, "d/e/file") == b"theirs"
    assert not beneath._by_kernel


NAMES = st.sampled_from(["a", "b", "c"])
PLACES = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
LINKS = st.sampled_from(["..", "../..", "../secret", "a", "b/c", "/", "."])
PATHS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=6).map("/".join)


@given(st.lists(st.tuples(PLACES, st.one_of(st.none(), LINKS)), max_size=8), PATHS)
def test_both_ways_find_the_same_and_never_what_is_outside(entries: list[tuple[str, str | None]], path: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        top = Path(place) / "top"
        top.mkdir()
        (Path(place) / "secret").write_text("mine")
        for name, link in entries:
            # A link may lead to itself.
            with contextlib.suppress(OSError, RuntimeError):
                # Only where no link leads out of it.
                if (top / name).parent.resolve().is_relative_to(top):
                    (top / name).parent.mkdir(parents=True, exist_ok=True)
                    (top / name).symlink_to(link) if link else (top / name).write_text("theirs")
        found = []
        for by_kernel in (True, False):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(beneath, "_by_kernel", by_kernel)
                try:
                    found.append(opened(top, path))
                except IsADirectoryError:
                    found.append(b"a directory")
        assert found[0] == found[1] or {*found} == {errno.ELOOP, errno.ENOTDIR}
        assert found[0] != b"mine"


@pytest.mark.usefixtures("way")
def test_what_is_exchanged_for_a_link_meanwhile_leads_nowhere(top: Path) -> None:
    (top / "other").symlink_to("../..")
    (top.parent / "e").mkdir()
    (top.parent / "e" / "file").write_text("mine")
    (top.parent.parent / "e").mkdir(exist_ok=True)
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            for one, two in (("d", "x"), ("up", "d"), ("d", "up"), ("x", "d")):
                os.rename(top / one, top / two)

    rival = threading.Thread(target=exchange)
    rival.start()
    try:
        found = {opened(top, "d/e/file") for _ in range(3000)}
    finally:
        done.set()
        rival.join()
    assert b"mine" not in found
    assert found <= {b"theirs", errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EAGAIN}
    assert b"theirs" in found
