"""All verbs of Lago that change something: what they need, how it is seen that they worked, how that is undone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..vm.box import Box
from .world import SMALL, Untrue, World, digest

Act = Callable[[World], object]

_RECIPE = 'base: mini\nfiles: {/etc/motd: {content: "hello"}}\n'


def _nothing(world: World) -> None:
    pass


def _unchanged(_world: World) -> set[str]:
    return set()


@dataclass(frozen=True)
class Verb:
    """A command line.

    Attributes:
        needs: whether machines run before it, or are down.
        ready: what else is done before.
        done: raises Untrue if it has not done what it is for.
        undo: leaves the world as before, whether it was done or only begun.
        already: what it says, as a pattern, if one that was killed had done it all.
        beside: it is about the environment beside.
        notes: what the note may say after it, if not what it said before.
        slow: it takes so long that it has its turn only where all are wanted.
        parts: whether processes of the environment are at work meanwhile, which then can be killed.
        spared: those of them that are there for too short a time.
    """

    name: str
    words: tuple[str, ...]
    needs: str = "running"
    ready: Act = _nothing
    done: Act = _nothing
    undo: Act = _nothing
    already: str = ""
    beside: bool = False
    notes: Callable[[World], set[str]] = field(default=_unchanged)
    slow: bool = False
    parts: bool = True
    spared: tuple[str, ...] = ()

    def box(self, world: World) -> Box:
        """Where it is run."""
        return world.other if self.beside else world.box


def _states(expected: str, world: World) -> None:
    if set(states := world.states().values()) != {expected}:
        raise Untrue(f"machines are not {expected} but {sorted(states)}")


def _warm(world: World) -> set[str]:
    return {world.saved["warm"]}


# --- snapshots -------------------------------------------------------------------------------------------------------


def _listed(name: str, world: World) -> None:
    if name not in world.lago("snapshot", "list").out:
        raise Untrue(f"the snapshot {name} is not listed")


def _taken(name: str, world: World) -> None:
    _listed(name, world)
    [world.saved[name]] = world.notes
    world.note("later")
    world.reverts(name)


def _taken_disks(world: World) -> None:
    _listed("new", world)
    [world.saved["new"]] = world.notes
    world.note("later")
    world.works("revert", "new")
    world.notes = {world.saved["new"]}
    _states("down", world)
    world.sound()


def _forget(name: str, world: World) -> None:
    world.saved.pop(name, None)
    world.works("snapshot", "delete", name, already="there is no snapshot")


def _take(name: str, world: World) -> None:
    world.lago("snapshot", "--replace", name)
    [world.saved[name]] = world.notes


def _take_to_delete(world: World) -> None:
    _take("old", world)
    world.note("after")
    del world.saved["old"]


def _not_listed(world: World) -> None:
    if "old" in world.lago("snapshot", "list").out:
        raise Untrue("the snapshot old is still listed")


def _replaceable(world: World) -> None:
    world.note("first")
    _take("again", world)
    world.note("second")
    del world.saved["again"]


def _replaced(world: World) -> None:
    _listed("again", world)
    world.saved["again"] = "second"
    world.note("later")
    world.reverts("again")


# --- forks -----------------------------------------------------------------------------------------------------------


def _forked(world: World) -> None:
    # One that was killed may have made it and not started it.
    found = world.works("-P", "twin", "shell", "vm0", "-c", "cat /root/note").out.strip()
    if found not in world.notes | {world.saved["warm"]}:
        raise Untrue(f"in the fork the note says {found!r}, and not {sorted(world.notes)}")


def _no_fork(world: World) -> None:
    if (world.box.place / ".lago" / "twin").exists():
        world.works("-P", "twin", "destroy", "--yes", already="has no prefix")
    if "twin" in os.listdir(world.box.place / ".lago"):
        raise Untrue("the fork is still there")


# --- files -----------------------------------------------------------------------------------------------------------


def _tree(world: World) -> Path:
    place = world.box.place / "tree"
    if not place.exists():
        (place / "deep" / "er").mkdir(parents=True)
        for number in range(40):
            (place / "deep" / f"file {number}").write_text(f"{number}\n" * 100)
        (place / "deep" / "er" / "large").write_bytes(bytes(range(256)) * 12000)
        if world.box.user:
            world.box.user.own(place)
    return place


def _copied_to(world: World) -> None:
    command = "cd /root/tree && find . -type f -print0 | xargs -0 sha256sum"
    said = world.lago("shell", "vm0", "-c", command).out
    _same({line[68:]: line[:64] for line in said.splitlines()}, world)


def _same(found: dict[str, str], world: World) -> None:
    if differs := found.items() ^ digest(_tree(world)).items():
        raise Untrue(f"what was copied is not the same: {sorted(name for name, _ in differs)}")


def _clear(world: World) -> None:
    world.works("shell", "vm0", "-c", "rm -rf /root/tree; sync")
    for name in ("tree", "back", "out", "exported"):
        _away(world, name)


def _away(world: World, name: str) -> None:
    shutil.rmtree(world.box.place / name, ignore_errors=True)
    for one in world.box.place.glob(f"{name}*"):
        shutil.rmtree(one, ignore_errors=True)


def _put(world: World) -> None:
    _tree(world)
    world.lago("copy-to-vm", "vm0", "tree", "/root")
    world.box.place.joinpath("back").mkdir()
    if world.box.user:
        world.box.user.own(world.box.place / "back")


def _copied_from(world: World) -> None:
    _same(digest(world.box.place / "back" / "tree"), world)


def _collected(world: World) -> None:
    [note] = world.notes
    if (world.box.place / "out" / "vm0" / "_root" / "note").read_text() != f"{note}\n":
        raise Untrue("what was collected is not what is there")
    if left := [path.name for path in world.box.place.glob("out*") if not (path / "vm0").exists()]:
        raise Untrue(f"half collected directories are left: {left}")


def _collect_ready(world: World) -> None:
    _away(world, "out")


def _exported(world: World) -> None:
    names = os.listdir(world.box.place / "exported")
    if "LagoInitFile" not in names or len([name for name in names if name.startswith("vm")]) < 2:
        raise Untrue(f"the export is not whole: {names}")
    if left := [name for name in names if name.startswith(".")]:
        raise Untrue(f"the export has left {left}")


def _no_export(world: World) -> None:
    _away(world, "exported")


# --- faults ----------------------------------------------------------------------------------------------------------


def _broken(count: int, world: World) -> None:
    told = world.lago("-f", "json", "fault", "list").out
    if told.count('"since"') != count:
        raise Untrue(f"there are not {count} faults, but {told}")


def _heal(world: World) -> None:
    world.works("heal")
    world.true_status()
    _broken(0, world)
    world.lago("shell", "vm0", "-c", "ping -c 1 -W 20 vm1 >/dev/null")


def _cut(world: World) -> None:
    world.lago("fault", "cut", "vm1")
    world.lago("fault", "freeze", "vm1")


# --- a whole environment ---------------------------------------------------------------------------------------------


def _other_gone(world: World) -> None:
    box = world.other
    world.works("destroy", "--yes", "--all-prefixes", already="there is no environment", box=box)
    if (box.place / ".lago").exists():
        raise Untrue(f"destroy left {os.listdir(box.place / '.lago')}")
    if box.mentioned():
        raise Untrue(f"destroy left {box.mentioned()}")


def _other_is(state: str, world: World) -> None:
    if world.other.states() != {"other": state}:
        raise Untrue(f"the environment beside is not {state}: {world.other.states()}")
    if state == "running":
        world.lago("shell", "other", "-c", "true", box=world.other)


def _other_up(world: World) -> None:
    world.works("up", "--warm", box=world.other)


def _other_cold(world: World) -> None:
    _other_gone(world)
    # Nothing that was kept is of such machines.
    world.other.write(SMALL.replace("memory: 128", f"memory: {129 + os.urandom(1)[0] % 100}"))


# --- templates -------------------------------------------------------------------------------------------------------


def _image(world: World) -> None:
    _other_gone(world)
    store = world.other.place / "store"
    store.mkdir(exist_ok=True)
    source = world.other.place / "small.img"
    source.write_bytes(os.urandom(1 << 20) + bytes(1 << 24))
    world.other.env = {**world.other.env, "LAGO_TEMPLATE_STORE": str(store)}
    (world.other.place / "recipe.yaml").write_text(_RECIPE)
    if world.other.user:
        world.other.user.own(world.other.place)


def _stored(world: World) -> None:
    said = world.lago("template", "verify", box=world.other)
    names = os.listdir(world.other.place / "store")
    if left := [name for name in names if name.startswith(".") and not name.endswith(".lock")]:
        raise Untrue(f"the store has {left}, and verify says {said.out}{said.err}")
    if not [name for name in names if name.endswith((".metadata", ".hash"))]:
        raise Untrue(f"the image is not in the store: {names}")


def _no_store(world: World) -> None:
    world.other.env.pop("LAGO_TEMPLATE_STORE", None)
    shutil.rmtree(world.other.place / "store", ignore_errors=True)
    for name in ("small.img", "recipe.yaml"):
        (world.other.place / name).unlink(missing_ok=True)


NO = "there is no snapshot"
IS = "exists already|there is a snapshot .* already"

VERBS = [
    Verb("start", ("start",), "down", spared=("an ssh master",), done=partial(_states, "running")),
    Verb("stop", ("stop",), done=partial(_states, "down")),
    Verb("shutdown", ("shutdown",), done=partial(_states, "down"), slow=True),
    Verb("start-one", ("start", "vm0"), "down", spared=("an ssh master",), slow=True),
    Verb("revert", ("revert", "warm"), notes=_warm, done=partial(_states, "running")),
    Verb("revert-down", ("revert", "warm"), "down", notes=_warm, done=partial(_states, "running")),
    Verb("snapshot", ("snapshot", "new"), done=partial(_taken, "new"), undo=partial(_forget, "new"), already=IS),
    Verb(
        "snapshot-down",
        ("snapshot", "new"),
        "down",
        done=partial(_listed, "new"),
        undo=partial(_forget, "new"),
        already=IS,
        slow=True,
    ),
    Verb(
        "snapshot-disks",
        ("snapshot", "--disk-only", "new"),
        done=_taken_disks,
        undo=partial(_forget, "new"),
        already=IS,
        slow=True,
    ),
    Verb(
        "snapshot-compress",
        ("snapshot", "--compress", "new"),
        done=partial(_taken, "new"),
        undo=partial(_forget, "new"),
        already=IS,
        slow=True,
    ),
    Verb(
        "snapshot-replace",
        ("snapshot", "--replace", "again"),
        ready=_replaceable,
        done=_replaced,
        undo=partial(_forget, "again"),
    ),
    Verb("delete-snapshot", ("snapshot", "delete", "old"), ready=_take_to_delete, done=_not_listed, already=NO),
    Verb("fork", ("fork", "twin"), done=_forked, undo=_no_fork, already=IS),
    Verb("fork-paused", ("fork", "--paused", "twin"), done=_forked, undo=_no_fork, already=IS, slow=True),
    Verb("fork-from", ("fork", "--from", "warm", "twin"), done=_forked, undo=_no_fork, already=IS, slow=True),
    Verb(
        "destroy-fork",
        ("-P", "twin", "destroy", "--yes"),
        ready=lambda world: world.lago("fork", "twin"),
        undo=_no_fork,
        already="has no prefix",
        parts=False,
    ),
    Verb("copy-to", ("copy-to-vm", "vm0", "tree", "/root"), ready=_tree, done=_copied_to, undo=_clear),
    Verb("copy-from", ("copy-from-vm", "vm0", "/root/tree", "back"), ready=_put, done=_copied_from, undo=_clear),
    Verb("collect", ("collect", "--output", "out"), ready=_collect_ready, done=_collected, undo=_collect_ready),
    Verb(
        "export",
        ("export", "--standalone", "-d", "exported"),
        "down",
        done=_exported,
        undo=_no_export,
        already=IS,
        parts=False,
    ),
    Verb("cut", ("fault", "cut", "vm1"), done=partial(_broken, 1), undo=_heal),
    Verb("freeze", ("fault", "freeze", "vm1"), done=partial(_broken, 1), undo=_heal, slow=True),
    Verb("heal", ("heal",), ready=_cut, done=partial(_broken, 0), undo=_heal),
    Verb(
        "init",
        ("init",),
        ready=_other_gone,
        done=partial(_other_is, "down"),
        undo=_other_gone,
        already=IS,
        beside=True,
        parts=False,
    ),
    Verb(
        "up", ("up",), ready=_other_gone, done=partial(_other_is, "running"), undo=_other_gone, beside=True, slow=True
    ),
    Verb(
        "up-cold",
        ("up", "--warm"),
        ready=_other_cold,
        done=partial(_other_is, "running"),
        undo=_other_gone,
        beside=True,
        slow=True,
    ),
    Verb(
        "up-warm",
        ("up", "--warm"),
        ready=_other_gone,
        done=partial(_other_is, "running"),
        undo=_other_gone,
        beside=True,
    ),
    Verb(
        "destroy",
        ("destroy", "--yes"),
        ready=_other_up,
        undo=_other_gone,
        already="there is no environment",
        beside=True,
    ),
    Verb(
        "import",
        ("template", "import", "--format", "raw", "small.img", "own"),
        ready=_image,
        done=_stored,
        undo=_no_store,
        already="already",
        beside=True,
        parts=False,
    ),
    Verb(
        "build",
        ("template", "build", "own", "--file", "recipe.yaml"),
        ready=_image,
        done=_stored,
        undo=_no_store,
        beside=True,
        parts=False,
        slow=True,
    ),
]
