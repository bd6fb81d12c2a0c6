"""Copying to and from a real guest, by the commands and from Python, and what is left when it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import Prefix
from lago.errors import LagoError, VMError
from lago.guest.transfer import copy_from, copy_to, fetch
from lago.virt import VM

from .box import ONE, Box


@pytest.fixture(scope="module")
def vm(module_box: Box) -> Iterator[VM]:
    """A machine that runs."""
    module_box.up_warm(ONE)
    env = Prefix(str(module_box.prefix)).virt_env
    yield env.get_vm("vm0")
    env.close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with all that names and modes can be."""
    tree = tmp_path / "a tree"
    odd = os.fsencode(tree) + b"/sub dir/\xff\xfe"
    os.makedirs(odd)
    for path, mode in ((odd + b"/\xe9 x\n", 0o600), (os.fsencode(tree / "prógram"), 0o751)):
        with open(path, "wb") as file:
            file.write(path)
        os.chmod(path, mode)
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "dangling").symlink_to("../nowhere")
    (tree / "empty").mkdir(mode=0o711)
    return tree


def described(tree: Path) -> dict[bytes, tuple[int, bytes]]:
    """Mode and content of everything in a tree."""
    found = {}
    for directory, names, files in os.walk(os.fsencode(tree)):
        for path in (os.path.join(directory, name) for name in [*names, *files]):
            content = b""
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(tree))] = (os.lstat(path).st_mode, content)
    return found


def test_a_tree_comes_back_as_it_went(vm: VM, tree: Path, tmp_path: Path) -> None:
    vm.ssh("rm -rf /root/there", show_output=False)
    vm.copy_to(str(tree), "/root/there")
    vm.copy_from("/root/there", str(tmp_path / "back"))
    assert described(tmp_path / "back") == described(tree)
    assert vm.succeed(["stat", "-c", "%U %a", "/root/there/prógram"]) == "root 751\n"


def test_a_directory_that_is_there_is_copied_into_and_a_tree_that_is_there_is_merged(
    vm: VM, tree: Path, tmp_path: Path
) -> None:
    vm.succeed("rm -rf /root/into; mkdir -p '/root/into/a tree/sub dir'; echo mine >'/root/into/a tree/sub dir/mine'")
    vm.copy_to(str(tree), "/root/into")
    (tree / "prógram").write_text("newer")
    vm.copy_to([str(tree)], "/root/into/")
    back = tmp_path / "back"
    back.mkdir()
    for _ in range(2):
        vm.copy_from("/root/into/a tree", str(back))
    expected = described(tree)
    expected[b"sub dir/mine"] = described(back / "a tree")[b"sub dir/mine"]
    assert described(back / "a tree") == expected
    assert os.listdir(back) == ["a tree"]
    assert vm.succeed("ls -A /root/into") == "a tree\n"


def test_the_commands_copy(vm: VM, module_box: Box) -> None:
    for name in ("it's one", "-two", r"back\slash"):
        module_box.write(f"content of {name}", name)
    module_box.lago("copy-to-vm", vm.name(), "it's one", "./-two", r"back\slash", "/root")
    module_box.lago("copy-to-vm", vm.name(), "it's one", "/root/other name")
    assert "Copy from vm0:" in module_box.lago("copy-from-vm", vm.name(), "/root/other name", "came").err
    module_box.lago("copy-from-vm", vm.name(), r"back\slash", "came too")
    assert (module_box.place / "came").read_text() == "content of it's one"
    assert (module_box.place / "came too").read_text() == r"content of back\slash"
    assert vm.succeed("cat /root/-two") == "content of -two"
    assert "did you mean vm0?" in module_box.lago("copy-to-vm", "vn0", "came", "/root", code=2).err


def test_links_that_are_named_are_followed(vm: VM, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("new")
    (tmp_path / "link").symlink_to("file")
    vm.succeed("cd /root; rm -rf real link; echo old >real; ln -s real link")
    vm.copy_to(str(tmp_path / "link"), "/root/link")
    assert vm.succeed("cd /root; readlink link; cat real") == "real\nnew"
    vm.copy_from("/root/link", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "new"
    assert not (tmp_path / "back").is_symlink()


def test_several_paths_come_in_one_stream_and_those_that_are_missing_are_told(vm: VM, tmp_path: Path) -> None:
    vm.succeed(
        "rm -rf /root/some; mkdir -p /root/some/sub; cd /root/some; echo 1 >sub/one; mkfifo pipe; ln -s sub/one link"
    )
    names = {
        "/root/some": "some",
        "/root/some/sub/one": "one",
        "/nowhere": "no",
        "/root/some/link": "link",
        "some": "more",
    }
    assert fetch(vm.guest, names, str(tmp_path)) == ["/nowhere"]
    assert sorted(os.listdir(tmp_path)) == ["link", "more", "one", "some"]
    for name in ("link", "one", "more/sub/one"):
        assert (tmp_path / name).read_text() == "1\n"
    assert (tmp_path / "some" / "link").is_symlink()
    assert not (tmp_path / "some" / "pipe").exists()
    assert fetch(vm.guest, {"/nowhere": "x"}, str(tmp_path)) == ["/nowhere"]


def test_what_is_missing_or_does_not_fit_is_told_with_its_side(vm: VM, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    file, directory = str(tmp_path / "file"), str(tmp_path)
    vm.succeed("rm -rf /root/f /root/d; mkdir /root/d; echo x >/root/f")
    with pytest.raises(LagoError, match=f"{directory}/no is not there, on this host; it was to be copied to vm0"):
        copy_to(vm.guest, f"{directory}/no", "/root")
    with pytest.raises(VMError, match=f"vm0: {file} can't be copied to /no/where, on the guest") as caught:
        copy_to(vm.guest, file, "/no/where")
    assert caught.value.details == "/no: no such directory\n"
    for source, target in ((directory, "/root/f"), (file, "/dev/null"), (file, "/proc/x")):
        with pytest.raises(VMError, match="on the guest"):
            copy_to(vm.guest, source, target)
    with pytest.raises(VMError, match="vm0: /root/no is not there, on the guest"):
        copy_from(vm.guest, "/root/no", directory)
    for remote, target in (("/root/f", "/no/where"), ("/root/d", file), ("/root/f", f"{directory}/no/")):
        with pytest.raises(LagoError, match=f"vm0: {remote} can't be copied to .*, on this host"):
            copy_from(vm.guest, remote, target)
    assert os.listdir(directory) == ["file"]
    assert vm.succeed("ls -A /root | grep ^.lago || true") == ""


def test_a_full_disk_of_the_guest_is_told_and_nothing_is_left(vm: VM, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    vm.succeed("mkdir -p /small; mount -t tmpfs -o size=1m tmpfs /small; echo old >/small/large")
    with pytest.raises(VMError, match=r"vm0: .*large can't be copied to /small, on the guest") as caught:
        vm.copy_to(str(tmp_path / "large"), "/small")
    assert "No space left on device" in caught.value.details
    assert vm.succeed("ls -A /small; cat /small/large; umount /small") == "large\nold\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_of_this_host_is_told_and_nothing_is_left(vm: VM, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    vm.succeed("dd if=/dev/zero of=/root/large bs=1M count=3 2>/dev/null")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        (small / "large").write_text("old")
        with pytest.raises(LagoError, match=f"vm0: /root/large can't be copied to {small}, on this host") as caught:
            vm.copy_from("/root/large", str(small))
        assert caught.value.hint == "free some space"
        assert os.listdir(small) == ["large"]
        assert (small / "large").read_text() == "old"
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_connection_that_is_lost_leaves_nothing_half_there(vm: VM, tmp_path: Path) -> None:
    vm.succeed("dd if=/dev/zero of=/root/large bs=1M count=30 2>/dev/null")
    seen = 0

    def lose(number: int) -> None:
        nonlocal seen
        seen += number
        if seen > 1 << 20:
            vm.guest.close()

    with pytest.raises(LagoError, match=r"the connection to root@.* was lost"):
        copy_from(vm.guest, "/root/large", str(tmp_path), lose)
    assert not os.listdir(tmp_path)
