"""A guest that answers a transfer as it likes gets nothing of this host, whoever asks for its files."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import Prefix
from lago.errors import ExtractPathError, VMError
from lago.virt import VM

from .box import Box

INIT_FILE = """
domains:
  vm0: {memory: 128, vcpu: 1, disks: [{template_name: mini}], nics: [{net: lan}], artifacts: [/etc/hostname]}
nets: {lan: {}}
"""

SHELL = """#!/bin/sh
case $2 in
*"tar -c "*)
    [ ! -e /root/answer ] || exec cat /root/answer
    exec /bin/sh -c "$(printf '%s' "$2" | sed 's,readlink -f,/root/readlink,')"
    ;;
esac
exec /bin/sh "$@"
"""
"""A login shell that has an answer of its own for who wants files, or a readlink; busybox's shell has one built in."""


@pytest.fixture(scope="module")
def vm(module_box: Box) -> Iterator[VM]:
    """A machine whose root has had its shell replaced."""
    module_box.up(INIT_FILE)
    env = Prefix(str(module_box.prefix)).virt_env
    vm = env.get_vm("vm0")
    vm.copy_to(str(module_box.write(SHELL, "shell")), "/root/shell")
    vm.succeed("chmod +x /root/shell; echo /root/shell >>/etc/shells; sed -i 's,:/bin/sh$,:/root/shell,' /etc/passwd")
    # A shell is what it was at the login.
    vm.guest.close()
    vm.connect()
    assert vm.succeed("grep ^root /etc/passwd").endswith(":/root/shell\n")
    yield vm
    env.close()


@pytest.fixture
def mine(module_box: Box) -> Iterator[Path]:
    """A directory of this host with a file in it, which must be there afterwards, and be all there is."""
    directory = module_box.place / "mine"
    directory.mkdir()
    (directory / "hostfile").write_text("mine")
    try:
        yield directory
        assert os.listdir(directory) == ["hostfile"]
        assert (directory / "hostfile").read_text() == "mine"
        assert [name for name in os.listdir(module_box.place) if name.startswith(".lago-")] == []
    finally:
        shutil.rmtree(directory)


def answer(vm: VM, name: str, links: dict[str, str], place: Path) -> None:
    """Have the guest call a file `name`, and send it and links."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        file = tarfile.TarInfo("./etc/hostname")
        file.size = 3
        tar.addfile(file, io.BytesIO(b"vm0"))
        for link, to in links.items():
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, to
            tar.addfile(info)
    (place / "answer").write_bytes(os.fsencode(name) + b"\0" + stream.getvalue())
    vm.copy_to(str(place / "answer"), "/root/answer")


@pytest.fixture(params=["dots", "few dots", "link", "the link itself", "truth"])
def case(request: pytest.FixtureRequest, vm: VM, mine: Path, tmp_path: Path) -> str:
    """What the guest answers."""
    up = "/.." * len(mine.parts) * 3
    name, links = {
        "dots": (f"{up}{mine}/hostfile", {}),
        "few dots": ("/../../mine/hostfile", {}),
        "link": ("/l/hostfile", {"./l": str(mine)}),
        "the link itself": ("/l", {"./l": str(mine / "hostfile")}),
        "truth": ("/etc/hostname", {"./l": str(mine)}),
    }[request.param]
    answer(vm, name, links, tmp_path)
    return str(request.param)


def test_copy_from_vm_takes_nothing_of_this_host(module_box: Box, case: str) -> None:
    got = module_box.place / "got"
    got.unlink(missing_ok=True)
    for _ in range(2):
        done = module_box.lago("copy-from-vm", "vm0", "/etc/hostname", "got", code=0 if case == "truth" else 2)
        if case == "truth":
            assert got.read_text() == "vm0"
            continue
        assert "\nlago: vm0: /etc/hostname can't be copied to " in done.err
        assert "    /etc/hostname: the guest " in done.err
        assert not os.path.lexists(got)


def test_collect_takes_nothing_of_this_host_and_the_logs_are_there(module_box: Box, case: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = module_box.lago("collect", "--output", str(output), code=0 if case == "truth" else 2)
    assert (output / "vm0" / "console.log").exists()
    assert os.path.lexists(output / "vm0" / "_etc_hostname") == (case == "truth")
    if case != "truth":
        assert "vm0: /etc/hostname can't be copied to " in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer", "out"]


def test_extract_paths_takes_nothing_of_this_host(vm: VM, case: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    if case == "truth":
        vm.extract_paths([("/etc/hostname", str(target))])
        assert target.read_text() == "vm0"
        return
    with pytest.raises(ExtractPathError, match="vm0: /etc/hostname can't be copied to "):
        vm.extract_paths([("/etc/hostname", str(target))])
    assert os.listdir(tmp_path) == ["answer"]


def test_a_path_that_readlink_makes_up_is_refused(vm: VM, mine: Path, tmp_path: Path) -> None:
    """What is sent is what the script of the transfer and the guest's own tar make of it."""
    lie, there = f"{'/..' * 20}{mine}/hostfile", shlex.quote(str(mine))
    vm.succeed(
        f"rm -f /root/answer; mkdir -p {there}; echo theirs >{there}/hostfile; cd /root; "
        f"printf '#!/bin/sh\\necho %s\\n' {shlex.quote(shlex.quote(lie))} >readlink; chmod +x readlink"
    )
    with pytest.raises(VMError, match="vm0: /etc/hostname can't be copied to ") as caught:
        vm.copy_from("/etc/hostname", str(tmp_path / "got"))
    assert "/etc/hostname: the guest calls it by what is no plain path" in caught.value.details
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("output", ["/proc/x", "/proc/no/x", "file/x", "/"])
def test_collect_to_where_nothing_can_be_made_ends_with_a_message(vm: VM, module_box: Box, output: str) -> None:
    module_box.write("", "file")
    done = module_box.lago("collect", "--output", output, code=2)
    assert f"artifacts can't be collected to {output if output[0] == '/' else module_box.place / output}" in done.err
    assert "hint: " in done.err


def test_files_out_of_the_disks_of_a_machine_that_is_down_go_nowhere_else(
    vm: VM, module_box: Box, mine: Path, tmp_path: Path
) -> None:
    """The last one: it stops the machine."""
    vm.succeed(
        f"cd /root; mkdir -m 710 d; ln -s {shlex.quote(str(mine))} d/l; ln -s /etc/hostname link; "
        "mknod d/null c 1 3; mkfifo d/pipe; "
        "echo x >d/x; chmod 6755 d/x; mkdir -m 0 d/locked; sync"
    )
    module_box.lago("stop")
    (tmp_path / "link").symlink_to(mine / "hostfile")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").symlink_to(mine / "hostfile")
    paths = [("/root/link", "link"), ("/root/d", "d"), ("/root/d/x", "x"), ("/nowhere", "nowhere")]
    vm.extract_paths([(path, str(tmp_path / name)) for path, name in paths], ignore_nopath=True)
    assert sorted(os.listdir(tmp_path)) == ["d", "link", "x"]
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "vm0\n"
    assert sorted(os.listdir(tmp_path / "d")) == ["l", "locked", "x"]
    assert os.readlink(tmp_path / "d" / "l") == str(mine)
    for file in (tmp_path / "x", tmp_path / "d" / "x"):
        assert file.read_text() == "x\n"
        assert file.lstat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o710
    assert (tmp_path / "d" / "locked").stat().st_mode & 0o777 == 0
