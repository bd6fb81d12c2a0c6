"""A guest that says too much, or nothing at all, is an end to neither the disk nor our patience."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import pytest

from lago import Prefix, ending
from lago.environment.snapshots.index import Index
from lago.host import waiting

from .box import Box

INIT_FILE = """
domains:
  vm0: {memory: 128, vcpu: 1, disks: [{template_name: mini}], nics: [{net: lan}]}
nets: {lan: {}}
"""

SILENT = "#!/bin/sh\nexec sleep 100000\n"
"""A login shell that runs no command."""

_PATIENCE = 240.0


@pytest.fixture(scope="module")
def talker(module_box: Box) -> Box:
    """A machine of which a log may occupy 1 MiB, and that writes to its console without end."""
    module_box.env["LAGO_LOG_LIMIT"] = "1"
    module_box.up(INIT_FILE)
    module_box.shell("vm0", "yes 'words that nobody reads' >/dev/ttyS0 2>/dev/null </dev/null &")
    return module_box


@pytest.fixture
def silent(module_box: Box) -> Box:
    """A machine that lets root log in, and then says nothing any more."""
    module_box.env["LAGO_INTERRUPT_TIMEOUT"] = str(ending.PATIENCE)
    if not module_box.prefix.exists():
        module_box.up(INIT_FILE)
    module_box.lago("copy-to-vm", "vm0", str(module_box.write(SILENT, "silent")), "/root/silent")
    change = "chmod +x /root/silent; echo /root/silent >>/etc/shells; sed -i 's,:/bin/sh$,:/root/silent,' /etc/passwd"
    module_box.shell("vm0", f"{change}; grep -q silent /etc/passwd")
    # A shell is what it was at the login.
    Prefix(str(module_box.prefix)).guest("vm0").close()
    return module_box


@pytest.mark.slow
def test_a_console_that_never_rests_occupies_what_it_may(talker: Box) -> None:
    log = talker.prefix / "logs" / "vm0.console.log"
    for _ in waiting.within(_PATIENCE):
        found = log.stat()
        if found.st_size > found.st_blocks * 512 + (1 << 18):
            break
        time.sleep(1)
    else:
        raise AssertionError(f"of {found.st_size} bytes {found.st_blocks * 512} are there")
    assert found.st_blocks * 512 < 3 << 20
    assert "words that nobody reads" in talker.lago("logs", "-n", "5", "vm0").out
    assert talker.states() == {"vm0": "running"}


def test_a_guest_that_held_still_when_lago_was_killed_writes_again(talker: Box) -> None:
    paths = Prefix(str(talker.prefix)).paths
    index = Index.load(paths)
    # As it is between the two, which no guest without an agent gets out of by itself.
    index.busy = True
    index.save(paths)
    assert talker.shell("vm0", "sync; fsfreeze --freeze / && echo frozen") == "frozen\n"
    talker.lago("snapshot", "after")
    assert talker.shell("vm0", "timeout 60 sh -c 'echo x >/x && sync' && echo written") == "written\n"


def clients(pid: int) -> list[str]:
    """What children of a process are called."""
    children = [one for task in Path(f"/proc/{pid}/task").glob("*/children") for one in task.read_text().split()]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [Path(f"/proc/{child}/comm").read_text().strip() for child in children]
    return []


@pytest.mark.slow
def test_a_guest_that_runs_no_command_is_given_up_and_nobody_waits_for_it(silent: Box) -> None:
    done = silent.lago("shell", "vm0", "-c", "true", code=2, env={"LAGO_BOOT_TIMEOUT": "4"})
    assert "it logs us in, but does not run a command" in done.err
    with silent.popen("start", env={"LAGO_BOOT_TIMEOUT": "1000"}) as process:
        try:
            for _ in waiting.within(_PATIENCE):
                if "ssh" in clients(process.pid) and process.poll() is None:
                    break
                time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(60) == 128 + signal.SIGTERM
            # As a rule it takes half a second more than its patience; this machine may be busy.
            assert time.monotonic() - began < 15
        finally:
            process.kill()
    assert silent.states() == {"vm0": "running"}
