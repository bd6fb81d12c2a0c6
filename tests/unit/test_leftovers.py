"""The proof at the end of a session finds what it should, and the throw-away user is a real one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import leftovers
from tests.leftovers import Process, Snapshot
from tests.users import User

EMPTY = Snapshot(frozenset(), frozenset(), frozenset(), frozenset(), frozenset())
OURS = Process(7, "1", "sleep 60", 0, "HOME=/tmp/lt-x/home")
QEMU = Process(8, "1", "/usr/bin/qemu-system-x86_64 -m 128", 0, "")
EDITOR = Process(9, "1", "vi lago.py", 0, "")


def _left(after: Snapshot, *, shared: bool = False) -> list[str]:
    return leftovers.difference(EMPTY, after, base="/tmp/lt-x", shared=shared)


def test_a_marked_process_is_ours_whatever_it_is() -> None:
    assert _left(replace(EMPTY, processes=frozenset({OURS, EDITOR})), shared=True) == [str(OURS)]


def test_a_program_that_lago_runs_counts_unless_others_use_the_machine() -> None:
    after = replace(EMPTY, processes=frozenset({QEMU, EDITOR}))
    assert _left(after) == [str(QEMU)]
    assert _left(after, shared=True) == []


@pytest.mark.parametrize("kind", ["namespaces", "interfaces", "mounts", "files"])
def test_new_things_of_every_kind_are_told(kind: str) -> None:
    things: dict[str, Any] = {kind: frozenset({"thing"})}
    [line] = _left(replace(EMPTY, **things))
    assert line.endswith("thing")


def test_what_was_there_before_is_not_told() -> None:
    world = replace(EMPTY, processes=frozenset({QEMU}), interfaces=frozenset({"virbr0"}))
    assert leftovers.difference(world, world, base="/tmp/lt-x", shared=False) == []


@pytest.mark.parametrize("worker", ["", "gw1/"])
def test_sockets_that_no_environment_removed_are_told(tmp_path: Path, worker: str) -> None:
    tmp_path.joinpath(f"{worker}run").mkdir(parents=True)
    assert leftovers.sockets(tmp_path) == []
    place = tmp_path / f"{worker}run" / "lago"
    place.mkdir()
    assert leftovers.sockets(tmp_path) == [f"file {place}"]
    place.joinpath("555555555555").mkdir()
    assert leftovers.sockets(tmp_path) == [f"file {place / '555555555555'}"]


@pytest.mark.parametrize("name", ["rpm-tmp.x1Y2z3", "lt-x", "tmp1234abc_"])
def test_temporary_files_of_what_tests_run_are_seen(name: str) -> None:
    assert leftovers._TMP.match(name)


@pytest.mark.programs
def test_a_real_process_is_seen_with_its_mark(base: Path, tmp_path: Path) -> None:
    before = leftovers.take(str(tmp_path), str(tmp_path))
    with subprocess.Popen(["sleep", "60"]) as process:
        after = leftovers.take(str(tmp_path), str(tmp_path))
        process.kill()
    assert process.pid in {p.pid for p in leftovers.ours(after.processes - before.processes, str(base))}


@pytest.mark.programs
def test_the_throwaway_user_is_ordinary_and_has_ids_and_lago(throwaway_user: User) -> None:
    script = 'id -u; test -w "$XDG_RUNTIME_DIR" && test -w "$HOME" && python -c "import lago; print(lago.__name__)"'
    done = throwaway_user.run(["sh", "-c", script])
    assert done.stdout.split() == [str(throwaway_user.uid), "lago"], done.stderr
    assert throwaway_user.run(["cat", "/etc/shadow"]).returncode != 0
    assert sum(f"{throwaway_user.name}:" in line for line in Path("/etc/subuid").read_text().splitlines()) == 1
    assert len(os.fspath(throwaway_user.place)) < 40


@pytest.mark.programs
def test_the_throwaway_user_can_make_namespaces(throwaway_user: User) -> None:
    code = "from lago.hypervisor import checks; print(checks.namespaces())"
    assert "status='ok'" in throwaway_user.run(["python", "-c", code]).stdout
