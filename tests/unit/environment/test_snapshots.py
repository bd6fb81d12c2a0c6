"""Snapshots of machines that are down: the index, and the images on disk."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from lago.constants import SNAPSHOT_COMMANDS
from lago.disks import qemu_img as lago_disks
from lago.environment.prefix import Prefix
from lago.environment.snapshots import layers as disk_layers
from lago.environment.snapshots import memory as saved_memory
from lago.environment.snapshots.index import Index, Layer, Saved, Snapshot, sizes
from lago.environment.workdir import Workdir
from lago.errors import LagoError, LockTimeout, PrefixError
from lago.host.locks import lock_file

from ..conftest import Lago

INIT_FILE = """
domains:
  vm0: {nics: [{net: lan}], disks: [{size: 4M}, {size: 4M, format: raw}]}
  vm1: {nics: [{net: lan}], disks: [{size: 4M}]}
nets: {lan: {}}
"""
DISKS = (("vm0", "root"), ("vm0", "disk1"), ("vm1", "root"))


def snapshot(name: str, parent: str | None = None, **disks: str) -> Snapshot:
    return Snapshot(name=name, created=1.5, parent=parent, vms={"vm0": Saved(disks=disks)})


class TestBook:
    def test_what_is_saved_is_loaded(self, tmp_path: Path) -> None:
        (tmp_path / "virt").mkdir()
        paths, index = Prefix(str(tmp_path)).paths, Index()
        index.snapshots = {"a": snapshot("a", root="images/r"), "b": snapshot("b", "a", root="images/s")}
        index.tops, index.layers, index.current = (
            {"vm0": {"root": "images/t"}},
            {"images/t": Layer("images/s", "raw")},
            "b",
        )
        index.number()
        index.save(paths)
        loaded = Index.load(paths)
        assert vars(loaded) == vars(index)
        assert loaded.number() == 2

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"snapshots": [{}]}'])
    def test_a_damaged_one_is_told(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "virt").mkdir()
        (tmp_path / "virt" / "snapshots").write_text(text)
        with pytest.raises(PrefixError, match="is damaged"):
            Index.load(Prefix(str(tmp_path)).paths)

    def test_children_of_a_snapshot_that_is_removed_come_from_its_parent(self) -> None:
        index = Index()
        index.snapshots = {"a": snapshot("a"), "b": snapshot("b", "a"), "c": snapshot("c", "b")}
        index.current = "b"
        index.remove("b")
        assert (index.snapshots["c"].parent, index.current) == ("a", "a")
        with pytest.raises(LagoError, match="there is no snapshot b") as raised:
            index.remove("b")
        assert raised.value.hint == "there are: a, c"


class TestMemory:
    WAYS = (
        (Saved(disks={}), ""),
        (Saved(disks={}, memory="snapshots/3.vm0.mem"), "all"),
        (Saved(disks={}, memory="snapshots/3.vm0.mem", state="snapshots/3.vm0.state"), "all"),
        (Saved(disks={}, memory="snapshots/3.vm0.mem.zst", state="snapshots/3.vm0.state.zst", whole="so"), "all: so"),
        (Saved(disks={}, memory="snapshots/3.vm0.mem", state="snapshots/5.vm0.state.zst"), "changes"),
    )

    @pytest.mark.parametrize(("saved", "way"), WAYS)
    def test_how_memory_was_saved_is_told(self, saved: Saved, way: str) -> None:
        assert saved.way() == way

    def test_what_several_snapshots_have_counts_for_the_oldest(self, tmp_path: Path) -> None:
        (tmp_path / "snapshots").mkdir()
        for name, kib in (("3.vm0.mem", 64), ("3.vm0.state", 8), ("5.vm0.state", 16)):
            (tmp_path / "snapshots" / name).write_bytes(b"x" * (kib << 10))
        os.link(tmp_path / "snapshots" / "3.vm0.mem", tmp_path / "snapshots" / "other.mem")
        found = {
            name: Snapshot(name, 1.5, {"vm0": Saved({}, f"snapshots/{memory}", None, f"snapshots/{state}")})
            for name, memory, state in (
                ("base", "3.vm0.mem", "3.vm0.state"),
                ("later", "3.vm0.mem", "5.vm0.state"),
                ("linked", "other.mem", "gone.state"),
            )
        }
        paths = Prefix(str(tmp_path)).paths
        assert sizes(paths, found) == {"base": 72 << 10, "later": 16 << 10, "linked": 0}
        (tmp_path / "snapshots" / "3.vm0.mem.1").write_bytes(b"x" * (32 << 10))
        assert sizes(paths, found) == {"base": 104 << 10, "later": 16 << 10, "linked": 0}
        (tmp_path / "snapshots" / "3.vm0.mem.1").unlink()
        del found["base"]
        assert sizes(paths, found) == {"later": 80 << 10, "linked": 0}

    @pytest.mark.programs
    def test_packed_memory_leaves_nothing_when_it_was_unpacked(self, tmp_path: Path) -> None:
        (tmp_path / "snapshots").mkdir()
        paths, path = Prefix(str(tmp_path)).paths, "snapshots/3.vm0.mem"
        (tmp_path / path).write_bytes(b"x" * 9999)
        saved_memory.pack(paths, path)
        with saved_memory.unpacked(paths, f"{path}.zst") as found:
            assert Path(found).read_bytes() == b"x" * 9999
            Path(f"{found}.1").write_bytes(b"a copy of a part")
        assert os.listdir(tmp_path / "snapshots") == ["3.vm0.mem.zst"]


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    """An environment that was never started."""
    (tmp_path / "LagoInitFile").write_text(INIT_FILE)
    return Workdir(str(tmp_path / ".lago")).add_prefix("default", str(tmp_path / "LagoInitFile"))


class Machine:
    """The disks of machines that are down, written to and read as guests would."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix

    def image(self, vm: str, disk: str) -> tuple[str, str]:
        fresh = Prefix(self.prefix.paths.prefix())
        found = next(one for one in fresh.topology.domains[vm].disks if one.name == disk)
        return os.path.join(fresh.paths.prefix(), found.path), found.format

    def layers(self, vm: str, disk: str) -> list[str]:
        """The images of the prefix that a disk is made of."""
        chain = lago_disks.chain(*self.image(vm, disk))
        return [path for path in chain if path.startswith(self.prefix.paths.images())]

    def io(self, vm: str, disk: str, command: str) -> str:
        path, format_ = self.image(vm, disk)
        done = subprocess.run(
            ["qemu-io", "-f", format_, "-c", command, path], capture_output=True, text=True, check=True
        )
        return done.stdout

    def write(self, vm: str, disk: str, block: int, value: int) -> None:
        self.io(vm, disk, f"write -P {value} {block * 65536} 65536")

    def check(self, vm: str, disk: str, blocks: list[int]) -> None:
        for block, value in enumerate(blocks):
            assert "Pattern" not in self.io(vm, disk, f"read -P {value} {block * 65536} 65536"), (
                vm,
                disk,
                block,
                value,
            )


def _holds(machine: Machine, header: bytes) -> bool:
    """Whether a machine's raw disk still begins with what its guest wrote, and is no other file."""
    path, format_ = machine.image("vm0", "disk1")
    read = ["qemu-img", "dd", "-f", format_, "-O", "raw", "bs=4096", "count=1", f"if={path}", f"of={path}.read"]
    subprocess.run(read, check=True)
    found = Path(f"{path}.read").read_bytes()
    os.unlink(f"{path}.read")
    return found == header[:4096]


@pytest.mark.programs
def test_what_a_guest_wrote_on_a_raw_disk_is_never_taken_for_an_image(prefix: Prefix, tmp_path: Path) -> None:
    machine, secret, image = Machine(prefix), tmp_path / "secret", tmp_path / "image"
    secret.write_bytes(b"s" * (4 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", image], check=True)
    header = image.read_bytes()
    with open(machine.image("vm0", "disk1")[0], "r+b") as disk:
        disk.write(header)
    for name in ("one", "two"):
        prefix.create_snapshots(name)
        assert _holds(machine, header)
    for name in ("one", "two", "one"):
        prefix.revert_snapshots(name)
        assert _holds(machine, header)
    for number, snapshot in enumerate((None, "one")):
        fork = prefix.fork(str(tmp_path / f"fork{number}"), snapshot)
        assert _holds(Machine(fork), header)
        fork.create_snapshots("again")
        assert _holds(Machine(fork), header)
    layers = Index.load(prefix.paths).layers.values()
    assert {layer.format for layer in layers if layer.backing.endswith("_disk1.raw")} == {"raw"}


@pytest.mark.programs
@pytest.mark.parametrize("times", [40, pytest.param(100, marks=pytest.mark.slow)])
def test_ten_snapshots_of_a_tree_are_gone_back_to_many_times_in_any_order(prefix: Prefix, times: int) -> None:
    rng, machine = random.Random(1), Machine(prefix)
    content = {disk: [0, 0, 0] for disk in DISKS}
    kept: dict[str, dict[tuple[str, str], list[int]]] = {}
    reverts = 0

    def revert() -> None:
        nonlocal content, reverts
        name = rng.choice(sorted(kept))
        prefix.revert_snapshots(name)
        content = {disk: list(blocks) for disk, blocks in kept[name].items()}
        reverts += 1

    while reverts < times or len(kept) < 10:
        what = rng.choice(["write", "take", "revert", "revert", "revert", "delete"])
        if what == "take" and len(kept) < 10:
            name = f"s{reverts}-{rng.randrange(1 << 32)}"
            prefix.create_snapshots(name)
            kept[name] = {disk: list(blocks) for disk, blocks in content.items()}
        elif what == "delete" and len(kept) == 10:
            name = rng.choice(sorted(kept))
            prefix.delete_snapshot(name)
            del kept[name]
        elif what == "revert" and kept:
            revert()
        disk, block, value = rng.choice(DISKS), rng.randrange(3), rng.randrange(1, 255)
        machine.check(*disk, content[disk])
        machine.write(*disk, block, value)
        content[disk][block] = value
    for name in sorted(kept):
        prefix.revert_snapshots(name)
        for disk in DISKS:
            machine.check(*disk, kept[name][disk])
    for name in kept:
        prefix.delete_snapshot(name)
    # Of each disk there is its first image, and at most one over it.
    assert len(list(Path(prefix.paths.images()).iterdir())) <= 2 * len(DISKS) + 2


@pytest.mark.programs
@pytest.mark.parametrize("word", SNAPSHOT_COMMANDS)
def test_no_snapshot_is_called_as_what_is_done_with_snapshots(prefix: Prefix, word: str) -> None:
    with pytest.raises(LagoError, match=f"{word} can't be the name of a snapshot") as raised:
        prefix.create_snapshots(word)
    assert raised.value.hint == "choose another name"
    assert prefix.snapshots() == {}


@pytest.mark.programs
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a/b", "'a/b' can't be the name of a snapshot"),
        ("tree", "tree can't be the name of a snapshot"),
        ("one", "there is a snapshot one already"),
    ],
)
def test_a_name_that_will_not_do_is_told_at_once(
    prefix: Prefix, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    prefix.create_snapshots("one")
    monkeypatch.setenv("LAGO_LOCK_TIMEOUT", "1")
    with lock_file(prefix.paths.lock(), what="it", timeout=0):
        with pytest.raises(LagoError) as raised:
            prefix.create_snapshots(name)
        assert str(raised.value).startswith(told)


@pytest.mark.programs
def test_a_name_that_will_do_waits_for_its_turn(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix.create_snapshots("one")
    monkeypatch.setenv("LAGO_LOCK_TIMEOUT", "1")
    with lock_file(prefix.paths.lock(), what="it", timeout=0):
        with pytest.raises(LockTimeout):
            prefix.create_snapshots("two")
        with pytest.raises(LockTimeout):
            prefix.create_snapshots("one", replace=True)


@pytest.mark.programs
def test_a_prefix_with_snapshots_may_be_moved(prefix: Prefix, tmp_path: Path) -> None:
    machine = Machine(prefix)
    machine.write("vm0", "disk1", 0, 7)
    prefix.virt_env.create_snapshots("one")
    machine.write("vm0", "disk1", 0, 8)
    (tmp_path / ".lago").rename(tmp_path / "moved")
    moved = Prefix(str(tmp_path / "moved" / "default"))
    Machine(moved).check("vm0", "disk1", [8, 0])
    moved.virt_env.revert_snapshots("one")
    Machine(moved).check("vm0", "disk1", [7, 0])


@pytest.mark.programs
class TestCommands:
    def test_snapshots_are_listed_with_what_they_came_from(self, lago: Lago, prefix: Prefix) -> None:
        lago("snapshot", "one", "--description", "clean")
        lago("snapshot", "two")
        lago("revert", "one")
        lago("snapshot", "three")
        listed = json.loads(lago("-f", "json", "snapshot", "--list"))
        assert list(listed) == ["vm0", "vm1"]
        assert list(listed["vm0"]) == ["one", "three", "two"]
        assert [disk["name"] for disk in listed["vm0"]["one"]] == ["disk1", "root"]
        tree = json.loads(lago("-f", "json", "snapshot", "--tree"))
        assert {name: one["parent"] for name, one in tree.items()} == {"one": None, "two": "one", "three": "one"}
        assert tree["one"]["description"] == "clean"
        assert json.loads(lago("-f", "json", "status"))["Prefix"]["VMs"]["vm0"]["snapshots"] == "one, two, three"
        lago("snapshot", "--delete", "one")
        assert list(prefix.snapshots()) == ["two", "three"]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["snapshot"], "snapshot needs a name\nhint: lago snapshot NAME"),
            (["snapshot", "a/b"], "'a/b' can't be the name of a snapshot"),
            (["snapshot", "one"], "there is a snapshot one already\nhint: choose another name, or --replace it"),
            (["snapshot", "--delete", "on"], "there is no snapshot on\nhint: did you mean one?"),
            (
                ["snapshot", "list", "--description", "x"],
                "list can't be the name of a snapshot, `lago snap",
            ),
            (["snapshot", "tree", "--replace"], "tree can't be the name of a snapshot"),
            (["snapshot", "delete"], "snapshot delete needs the name of a snapshot\nhint: there are: one"),
            (["snapshot", "delete", "on"], "there is no snapshot on\nhint: did you mean one?"),
            (["snapshot", "delete", "--compress", "one"], "lago snapshot does not take one"),
            (["snapshot", "list", "one"], "lago snapshot list does not take one"),
            (["snapshot", "create", "new"], "does not take new\n"),
            (["snapshot", "create", "new"], "\nhint: lago snapshot new\n"),
            (["snapshot", "rm", "one"], "\nhint: lago snapshot delete one\n"),
            (["snapshot", "restore", "one"], "\nhint: lago revert one\n"),
            (["revert", "two"], "there is no snapshot two\nhint: there are: one"),
            (["fork", "new", "--from", "two"], "there is no snapshot two"),
            (["fork", "default"], "default exists already"),
            (["fork", "current"], "'current' can't be the name of a prefix"),
        ],
    )
    def test_mistakes_are_told_and_nothing_is_left(
        self, lago: Lago, prefix: Prefix, words: list[str], says: str
    ) -> None:
        lago("snapshot", "one")
        before = sorted(os.listdir(prefix.paths.images()))
        _, err = lago.both(*words, code=2)
        assert f"{says}" in err
        assert sorted(os.listdir(prefix.paths.images())) == before
        assert list(prefix.snapshots()) == ["one"]
        assert os.listdir(Path(prefix.paths.prefix()).parent) in (["current", "default"], ["default", "current"])

    def test_list_tree_and_delete_are_about_the_snapshots_that_there_are(self, lago: Lago, prefix: Prefix) -> None:
        lago("snapshot", "one")
        lago("snapshot", "two", "--description", "later")
        for word in ("list", "tree"):
            assert lago("snapshot", word) == lago("snapshot", f"--{word}") != ""
        assert lago("-f", "json", "snapshot", "list") == lago("-f", "json", "snapshot", "-l")
        lago("snapshot", "delete", "one")
        lago("snapshot", "--delete", "two")
        assert prefix.snapshots() == {}

    def test_defaults_of_the_configuration_for_new_snapshots_do_not_stand_in_their_way(
        self, lago: Lago, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAGO__SNAPSHOT__DISK_ONLY", "yes")
        lago("snapshot", "one")
        assert list(prefix.snapshots()) == ["one"]
        assert lago("snapshot", "list") == lago("snapshot", "--list") != ""

    @pytest.mark.parametrize("word", SNAPSHOT_COMMANDS)
    def test_a_snapshot_that_is_called_so_from_before_is_gone_back_to_and_deleted(
        self, lago: Lago, prefix: Prefix, word: str
    ) -> None:
        lago("snapshot", "one")
        index = Path(prefix.paths.virt("snapshots"))
        index.write_text(index.read_text().replace('"one"', f'"{word}"'))
        assert list(prefix.snapshots()) == [word]
        lago("revert", word)
        lago("fork", "copy", "--from", word)
        lago("snapshot", "delete", word)
        assert prefix.snapshots() == {}
        lago("-P", "copy", "snapshot", "--delete", word)

    def test_a_snapshot_takes_the_place_of_another(self, lago: Lago, prefix: Prefix) -> None:
        lago("snapshot", "one")
        Machine(prefix).write("vm1", "root", 0, 9)
        lago("snapshot", "one", "--replace")
        Machine(prefix).write("vm1", "root", 0, 10)
        lago("revert", "one")
        Machine(prefix).check("vm1", "root", [9])
        assert list(prefix.snapshots()) == ["one"]
        # Of what the first one was, nothing is left but the layers that the second one lies over.
        assert len(os.listdir(prefix.paths.images())) == 3 * 3

    def test_files_that_are_missing_are_named_before_anything_happens(self, lago: Lago, prefix: Prefix) -> None:
        lago("snapshot", "one")
        Path(prefix.paths.images("vm1_root.qcow2")).unlink()
        _, err = lago.both("revert", "one", code=2)
        assert "lago: files of the snapshot one are missing: images/vm1_root.qcow2\n" in err

    def test_forks_of_what_is_down_are_down_and_go_their_own_ways(self, lago: Lago, prefix: Prefix) -> None:
        machine = Machine(prefix)
        machine.write("vm0", "root", 0, 1)
        lago("fork", "other")
        other = Machine(Prefix(str(Path(prefix.paths.prefix()).with_name("other"))))
        assert lago("list") == "default\nother\n"
        other.check("vm0", "root", [1])
        other.write("vm0", "root", 0, 2)
        machine.write("vm0", "root", 0, 3)
        other.check("vm0", "root", [2])
        machine.check("vm0", "root", [3])
        assert prefix.snapshots() == {}
        lago("-P", "default", "destroy", "--yes")
        other.check("vm0", "root", [2])

    def test_a_fork_that_was_not_brought_up_writes_to_images_of_its_own(self, prefix: Prefix) -> None:
        machine = Machine(prefix)
        machine.write("vm0", "root", 0, 1)
        fork = prefix.fork(f"{prefix.paths.prefix()}-other", start=False)
        other = Machine(fork)
        other.write("vm0", "root", 0, 2)
        other.check("vm0", "root", [2])
        machine.check("vm0", "root", [1])
        fork.revert_snapshots(*fork.snapshots())
        other.check("vm0", "root", [1])

    def test_layers_that_forks_share_are_left_until_there_are_many_or_the_forks_are_gone(self, prefix: Prefix) -> None:
        machine, longest = Machine(prefix), 0
        forks = []
        for number in range(1, 12):
            machine.write("vm0", "root", number % 3, number)
            forks.append(prefix.fork(f"{prefix.paths.prefix()}-{number}"))
            longest = max(longest, len(machine.layers("vm0", "root")))
        # The first image, those that nobody needs but forks, and the one that is written to.
        assert longest == disk_layers._LONG + 1
        for number, fork in enumerate(forks, 1):
            blocks = [max((n for n in range(1, number + 1) if n % 3 == block), default=0) for block in range(3)]
            Machine(fork).check("vm0", "root", blocks)
        machine.check("vm0", "root", [9, 10, 11])
        for fork in forks:
            fork.destroy()
        prefix.create_snapshots("one")
        prefix.delete_snapshot("one")
        machine.check("vm0", "root", [9, 10, 11])
        assert len(machine.layers("vm0", "root")) == 2

    def test_forks_need_a_hypervisor_of_their_own(self, lago: Lago, prefix: Prefix) -> None:
        Path(prefix.paths.metadata()).write_text('{"libvirt_url": "test:///default"}')
        _, err = lago.both("fork", "new", code=2)
        assert "lago: an environment on a shared libvirt can't be forked: " in err
