"""An environment that much is done to, what must be true of it, and how that is found out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ..leftovers import ours, take
from ..vm.box import MINI, Box, Done, processes, wait_for

INIT_FILE = f"""\
domains:
  vm0: {{{MINI[1:-1] % "{net: lan}"}, artifacts: [/root]}}
  vm1: {MINI % "{net: lan}"}
nets: {{lan: {{}}}}
"""
SMALL = f"domains: {{other: {MINI % '{net: wan}'}}}\nnets: {{wan: {{}}}}\n"
"""The init file of an environment beside it."""

RUNS = ("running", "paused", "crashed", "shutting down")
"""What is said of a machine that has a QEMU."""

_HINT = re.compile(r"^hint: (?:.*?[:;,] )?(?:run |first )?(lago [^;,(\n]*)", re.MULTILINE)


_COME_LATER = ("virt/faults",)
"""Files that stay once there was a reason for them."""


class Untrue(AssertionError):
    """Something that must be true after a kill is not."""


@dataclass
class World:
    """An environment in `box`, one in `other`, both below a directory, and what is known of them.

    Attributes:
        root: the directory, which all else is below.
        notes: what the note on vm0's disk may say; more than one where a verb was killed that changes it.
        saved: the note of each snapshot that there must be.
        said: what was run, and how it ended.
    """

    root: Box
    box: Box = field(init=False)
    other: Box = field(init=False)
    notes: set[str] = field(default_factory=set)
    saved: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.box, self.other = self._below("main"), self._below("beside")
        self.box.write(INIT_FILE)
        self.other.write(SMALL)

    def _below(self, name: str) -> Box:
        place = self.root.place / name
        place.mkdir()
        if self.root.user:
            self.root.user.own(place)
        return Box(place, user=self.root.user, env={**self.root.env})

    def make(self) -> None:
        """Make the environment, with the snapshot `warm`, unless it is there."""
        if self.saved:
            return
        self.box.lago("up", "--warm")
        self.notes = {""}
        self.saved = {"warm": ""}
        self.note("warm")
        self.box.lago("snapshot", "--replace", "warm")
        self.saved = {"warm": "warm"}

    def lago(self, *words: str, code: int | None = 0, box: Box | None = None) -> Done:
        """Run `lago`, and remember what it said."""
        box = box or self.box
        done = box.lago(*words, code=None)
        self.said.append(f"lago {' '.join(words)} -> {done.code}" + (f"\n{_indented(done.err)}" if done.code else ""))
        if code is not None and done.code != code:
            raise Untrue(f"lago {' '.join(words)} ended with {done.code} and not {code}:\n{done.out}{done.err}")
        return done

    def note(self, text: str) -> None:
        """Write the note, and have it on the disk."""
        self.lago("shell", "vm0", "-c", f"echo {text} >/root/note && sync")
        self.notes = {text}

    def works(self, *words: str, already: str = "", box: Box | None = None) -> Done:
        """See that a command works; or says what to do first, and then does. `already` is what else it may say."""
        box = box or self.box
        for _ in range(3):
            done = self.lago(*words, code=None, box=box)
            if done.code == 0 or (already and re.search(already, done.err)):
                return done
            hint = _HINT.search(done.err)
            if done.code != 2 or not hint or (advice := hint[1].split()[1:]) == list(words):
                break
            if advice[:1] == ["destroy"]:
                advice.append("--yes")
            if words[0] == "-P" and advice[0] != "-P":
                advice[:0] = words[:2]
            self.lago(*advice, code=None, box=box)
        raise Untrue(f"lago {' '.join(words)} works no more, even after what it says:\n{done.out}{done.err}")

    def lies(self) -> list[str]:
        """What `lago status` says that is not so."""
        done = self.lago("-f", "json", "status", code=None)
        if done.code:
            return [f"status ended with {done.code}: {done.err}"]
        told = json.loads(done.out)["Prefix"]
        found = []
        supervisor = self.box.supervisor()
        for name, vm in told["VMs"].items():
            pids = self.qemus(name)
            if (vm["status"] in RUNS) != bool(pids) or len(pids) > 1:
                found.append(f"{name} is {vm['status']!r}, and its QEMUs are {pids}")
        for name, net in told["Networks"].items():
            if (net["status"] == "up") != bool(supervisor):
                found.append(f"the net {name} is {net['status']!r}, and the supervisor is {supervisor}")
        if done.err and supervisor:
            found.append(f"status complains: {done.err}")
        listed = set(told.get("Snapshots", {}))
        if missing := set(self.saved) - listed:
            found.append(f"snapshots are gone: {sorted(missing)}")
        return found

    def qemus(self, vm: str) -> list[int]:
        """The QEMUs of a machine."""
        prefix = str(self.box.prefix)
        return [pid for pid, command in processes() if f"{prefix}/" in command and f"-{vm}," in command]

    def true_status(self) -> None:
        """See that status tells the truth, once what is ending has ended."""
        lies: list[str] = []

        def honest() -> bool:
            lies[:] = self.lies()
            return not lies

        if not wait_for(honest):
            raise Untrue("status does not tell the truth: " + "; ".join(lies))

    def states(self) -> dict[str, str]:
        """State by machine."""
        told = json.loads(self.lago("-f", "json", "status").out)
        return {name: vm["status"] for name, vm in told["Prefix"]["VMs"].items()}

    def running(self) -> None:
        """Let all machines run; from memory where they are down."""
        states = set(self.states().values())
        if states == {"down"}:
            self.works("revert", "warm")
            self.notes = {self.saved["warm"]}
        elif states != {"running"}:
            self.works("start")

    def down(self) -> None:
        """Let no machine run."""
        if set(self.states().values()) != {"down"}:
            self.works("stop")

    def sound(self) -> None:
        """See that machines run or can be started, and that what was synced is on vm0's disk."""
        if set(self.states().values()) != {"running"}:
            self.works("start")
        self.true_status()
        self.noted()
        self.lago("shell", "vm1", "-c", "true")

    def noted(self) -> None:
        """See that the note says what it may."""
        found = self.lago("shell", "vm0", "-c", "cat /root/note").out.strip()
        if found not in self.notes:
            raise Untrue(f"what was synced is gone: the note says {found!r}, and not {sorted(self.notes)}")
        self.notes = {found}

    def reverts(self, name: str) -> None:
        """See that a snapshot can be gone back to, and is what it was."""
        self.works("revert", name)
        self.notes = {self.saved[name]}
        self.sound()

    def tidy(self) -> None:
        """See that the prefix has no more files than at first, where there is but the snapshot `warm`."""
        now = self.shape()
        self.names = self.names or now
        if more := now - self.names:
            raise Untrue(f"files are left in the prefix: {dict(more)}")

    def shape(self) -> Counter[str]:
        """What files there are in the prefix, with numbers left out of their names."""
        found: Counter[str] = Counter()
        for place, _, files in os.walk(self.box.prefix):
            if "/logs" not in place:
                below = os.path.relpath(place, self.box.prefix)
                found.update(re.sub(r"[0-9a-f]{8,}|\d+", "N", os.path.join(below, name)) for name in files)
        return Counter({name: number for name, number in found.items() if name not in _COME_LATER})

    def end(self) -> None:
        """See that `destroy` leaves nothing: no process, mount, bridge, file, lock or lease."""
        place = self.root.place
        for box in (self.other, self.box):
            self.works("destroy", "--yes", "--all-prefixes", already="there is no environment", box=box)
        left = [str(path.relative_to(place)) for path in place.rglob("*") if str(path.relative_to(place)) not in KEPT]
        runtime = Path(self.box.environment()["XDG_RUNTIME_DIR"]) / "lago"
        left += [str(path) for path in runtime.iterdir()] if runtime.is_dir() else []
        now = take(os.environ["HOME"], str(place))
        left += [str(one) for one in ours(now.processes, str(place))] if not wait_for(self._quiet) else []
        left += [mount for mount in now.mounts if str(place) in mount]
        if left:
            raise Untrue(f"destroy left {left}")

    def _quiet(self) -> bool:
        return not self.root.mentioned()

    def give_up(self) -> None:
        """Remove the environment after a failure, whatever it takes."""
        for box in (self.other, self.box):
            with contextlib.suppress(AssertionError):
                box.lago("destroy", "--yes", "--all-prefixes", code=None)
            if (pid := _supervisor(box)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        wait_for(self._quiet)
        shutil.rmtree(self.root.place, ignore_errors=True)


KEPT = {f"{place}{name}" for place in ("main", "beside") for name in ("", "/LagoInitFile", "/LagoInitFile.lock")}
"""What stays where an environment was."""


def _supervisor(box: Box) -> int | None:
    with contextlib.suppress(OSError):
        return box.supervisor()
    return None


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def digest(place: Path) -> dict[str, str]:
    """The contents of all files in a tree."""
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }
