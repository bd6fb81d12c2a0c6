"""Whose environments are obeyed, and what of their files is not even then."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from lago.environment.prefix import Prefix
from lago.environment.workdir import Workdir, find_prefix, find_workdir
from lago.errors import ConfigError, HypervisorError, PrefixError
from lago.hypervisor import libvirt_url, protocol, rundir
from lago.hypervisor.shared import Shared
from lago.templates.references import Users

from ...users import User
from ..conftest import ONE_EMPTY, Lago, make_prefix

SOMEBODY = 12345
"""The user id of nobody we know."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
UUID = "5" * 32


def give(*paths: Path) -> None:
    """Give files and directories, with all that is in them, to somebody else."""
    for top in paths:
        for path in [top, *top.rglob("*")]:
            os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A workdir of ours."""
    path = tmp_path / "lab" / ".lago"
    make_prefix(path / "default")
    path.joinpath("current").symlink_to("default")
    return path


@pytest.fixture
def prefix(workdir: Path) -> Path:
    """Its prefix."""
    return workdir / "default"


def refused(path: Path, saying: str = "so it is not obeyed") -> PrefixError:
    """The error by which the environment at `path`, or the first above it, is refused."""
    with pytest.raises(PrefixError, match=saying) as raised:
        find_prefix(None, str(path), "current")
    return raised.value


class Trap:
    """An environment of somebody else's that runs a program, or has a directory removed."""

    def __init__(self, place: Path, owner: int) -> None:
        self.place = place
        self.wanted = place / "wanted"
        self.wanted.mkdir(parents=True)
        self.wanted.joinpath("file").touch()
        script = place / "script"
        script.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(place))}/ran\n")
        script.chmod(0o755)
        prefix = make_prefix(place / ".lago" / "default")
        place.joinpath(".lago", "current").symlink_to("default")
        place.joinpath("below").mkdir()
        place.joinpath("LagoInitFile").write_text(ONE_EMPTY)
        give(place / ".lago")
        for path in (place, self.wanted, self.wanted / "file", place / "below"):
            os.chown(path, owner, owner)
        self.prefix = prefix
        self.before = self.tree()

    def say(self, **files: object) -> None:
        """Write files of the prefix."""
        for name, value in files.items():
            path = self.prefix / name.replace("__", "/")
            path.write_text(json.dumps(value))
            os.chown(path, SOMEBODY, SOMEBODY)
        self.before = self.tree()

    def tree(self) -> list[str]:
        """All that is there."""
        return sorted(map(str, self.place.rglob("*")))


@pytest.fixture(params=["root", "user"])
def victim(request: pytest.FixtureRequest) -> User | None:
    """Who meets somebody else's environment: root, which is nobody, or an ordinary user."""
    return request.getfixturevalue("throwaway_user") if request.param == "user" else None


@pytest.fixture
def trap(victim: User | None, base: Path, request: pytest.FixtureRequest) -> Iterator[Trap]:
    """Somebody else's environment, in a directory of the victim's."""
    place = base / f"trap-{request.node.name.translate(str.maketrans('[]- ', '____'))}"
    place.mkdir(mode=0o755)
    yield Trap(place, victim.uid if victim else 0)
    shutil.rmtree(place)


def run(victim: User | None, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = ["lago", *words]
    if victim:
        return victim.run(argv, cwd=cwd)
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


@as_root
@pytest.mark.programs
@pytest.mark.parametrize(
    "files",
    [
        {"metadata": {"libvirt_url": "qemu+ext:///system?command=@/script"}},
        {"virt__hypervisor": {"run_dir": "@/wanted"}},
    ],
    ids=["program", "directory"],
)
def test_an_environment_of_somebody_else_is_refused_runs_nothing_and_removes_nothing(
    victim: User | None, trap: Trap, files: dict[str, object]
) -> None:
    trap.say(**json.loads(json.dumps(files).replace("@", json.dumps(str(trap.place))[1:-1])))
    for words in (["status"], ["stop"], ["destroy", "--yes"], ["start"], ["list"], ["set-current", "x"]):
        for cwd in (trap.place / "below", trap.place)[: 2 if words == ["status"] else 1]:
            done = run(victim, cwd, *words)
            assert done.returncode == 2, done
            assert f"lago: {trap.place}/.lago belongs to {SOMEBODY}, so it is not obeyed" in done.stderr
            assert f"LAGO_TRUSTED_USERS={SOMEBODY}" in done.stderr
            assert trap.tree() == trap.before, words
    for words in (["up"], ["init"], ["destroy", "--yes", "--all-prefixes"], ["-p", ".lago/default", "status"]):
        done = run(victim, trap.place, *words)
        assert done.returncode == 2, done
        assert f"belongs to {SOMEBODY}, so it is not obeyed" in done.stderr
        assert trap.tree() == trap.before, words


@as_root
def test_the_first_environment_upwards_counts_whosever_it_is(workdir: Path) -> None:
    deep = workdir.parent / "a" / "b"
    deep.mkdir(parents=True)
    make_prefix(deep.parent / ".lago" / "default")
    give(deep.parent / ".lago")
    refused(deep)
    with pytest.raises(PrefixError, match="so it is not obeyed"):
        find_workdir(str(deep))


@as_root
@pytest.mark.parametrize("name", ["metadata", "uuid", "initialized", "virt", "virt/env", "virt/vm-vm0", "scripts/a/b"])
def test_one_file_of_somebody_else_in_an_environment_of_ours_is_named(prefix: Path, name: str) -> None:
    path = prefix / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text("{}")
    os.chown(path, SOMEBODY, SOMEBODY)
    error = refused(prefix)
    assert error.what == f"{path} belongs to {SOMEBODY}, so it is not obeyed"
    # It is looked at again when it is read: it may have been put there meanwhile.
    if name in ("uuid", "virt/env", "virt/vm-vm0", "metadata"):
        ours = Prefix(str(prefix))
        with pytest.raises(PrefixError, match="so it is not obeyed"):
            assert [ours.uuid, ours.metadata, ours.topology]


@as_root
@pytest.mark.parametrize("kind", ["workdir", "prefix", "file"])
def test_a_link_of_somebody_else_to_what_is_ours_is_refused(workdir: Path, tmp_path: Path, kind: str) -> None:
    link = {
        "workdir": tmp_path / "lab2" / ".lago",
        "prefix": workdir / "other",
        "file": workdir / "default" / "metadata",
    }
    target = {"workdir": workdir, "prefix": workdir / "default", "file": workdir / "default" / "uuid"}
    link[kind].parent.mkdir(exist_ok=True)
    link[kind].symlink_to(target[kind])
    os.chown(link[kind], SOMEBODY, SOMEBODY, follow_symlinks=False)
    with pytest.raises(PrefixError, match=f"{link[kind]} belongs to {SOMEBODY}"):
        find_prefix(
            None,
            str(tmp_path / "lab2") if kind == "workdir" else str(workdir),
            "other" if kind == "prefix" else "current",
        )


def test_a_link_of_ours_is_followed(workdir: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("lab2").mkdir()
    tmp_path.joinpath("lab2", ".lago").symlink_to(workdir)
    assert find_prefix(None, str(tmp_path / "lab2"), "current").uuid == UUID


@pytest.mark.parametrize("name", [".", "metadata", "virt", "virt/vm-vm0", "images", "../."])
def test_what_everybody_can_write_is_refused_with_the_command_that_closes_it(prefix: Path, name: str) -> None:
    prefix.joinpath("images").mkdir()
    prefix.joinpath("metadata").write_text("{}")
    path = prefix / name
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(before | 0o002)
    error = refused(prefix)
    assert "can be written by everybody, so it is not obeyed" in error.what
    assert f"chmod go-w {shlex.quote(os.path.normpath(path))}" in error.hint
    path.chmod(before)
    find_prefix(None, str(prefix), "current")


def test_a_sticky_bit_does_not_close_a_directory(workdir: Path) -> None:
    workdir.chmod(0o1777)
    refused(workdir)


@as_root
def test_a_group_with_others_in_it_is_refused_and_one_of_the_owner_alone_is_not(
    prefix: Path, throwaway_user: User
) -> None:
    path = prefix / "virt"
    path.chmod(0o775)
    os.chown(path, 0, throwaway_user.gid)
    assert f"can be written by the group {throwaway_user.name}" in refused(prefix).what
    os.chown(path, 0, SOMEBODY)
    assert f"can be written by the group {SOMEBODY}" in refused(prefix).what
    os.chown(path, 0, 0)
    find_prefix(None, str(prefix), "current")


@as_root
@pytest.mark.programs
def test_an_ordinary_user_whose_files_his_own_group_can_write_has_his_environment(
    base: Path, throwaway_user: User
) -> None:
    place = base / "own"
    make_prefix(place / ".lago" / "default")
    for path in [place, *place.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o020)
    throwaway_user.own(place)
    done = throwaway_user.run(["lago", "list"], cwd=place)
    assert (done.returncode, done.stdout) == (0, "default\n"), done


@as_root
def test_an_access_list_that_lets_others_write_is_seen(prefix: Path) -> None:
    everyone = 0xFFFFFFFF
    entries = [(1, 7, everyone), (2, 7, SOMEBODY), (4, 5, everyone), (0x10, 7, everyone), (0x20, 5, everyone)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(prefix / "virt", "system.posix_acl_access", value)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    assert "can be written by those in its access list" in refused(prefix).what


@as_root
class TestTrustedUsers:
    @pytest.mark.parametrize("value", [str(SOMEBODY), f"0, {SOMEBODY}", "*"])
    def test_whom_the_setting_names_is_obeyed(
        self, workdir: Path, value: str, lago: Lago, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give(workdir)
        monkeypatch.chdir(workdir.parent)
        assert "so it is not obeyed" in lago.both("list", code=2)[1]
        monkeypatch.setenv("LAGO_TRUSTED_USERS", value)
        assert lago("list") == "default\n"
        assert "vm0" in lago("status")

    def test_names_are_names_of_users(
        self, workdir: Path, throwaway_user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for path in [workdir, *workdir.rglob("*")]:
            os.chown(path, throwaway_user.uid, throwaway_user.gid, follow_symlinks=False)
        assert refused(workdir).what == f"{workdir} belongs to {throwaway_user.name}, so it is not obeyed"
        monkeypatch.setenv("LAGO_TRUSTED_USERS", throwaway_user.name)
        find_prefix(None, str(workdir), "current")
        monkeypatch.setenv("LAGO_TRUSTED_USERS", "no-such-user")
        with pytest.raises(ConfigError, match="there is no user no-such-user"):
            find_prefix(None, str(workdir), "current")

    def test_who_is_not_trusted_can_not_say_that_he_is(
        self, workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give(workdir)
        # Such a home directory root has by sudo.
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        file = tmp_path / "config" / "lago" / "lago.conf"
        file.parent.mkdir(parents=True)
        file.write_text("[lago]\ntrusted_users = *\n")
        os.chown(file, SOMEBODY, SOMEBODY)
        refused(workdir)
        os.chown(file, 0, 0)
        find_prefix(None, str(workdir), "current")

    def test_the_caller_of_sudo_is_another_user(self, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        give(workdir)
        monkeypatch.setenv("SUDO_UID", str(SOMEBODY))
        assert refused(workdir).hint.startswith("run lago without sudo; or if you trust")


@pytest.mark.programs
def test_what_lago_makes_is_obeyed_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "LagoInitFile"
    file.write_text(ONE_EMPTY)
    before = os.umask(0)
    try:
        made = Workdir(str(tmp_path / "sub" / ".lago")).add_prefix("default", str(file))
        assert made.status().uuid == made.uuid
        assert find_prefix(None, str(tmp_path / "sub"), "current").uuid == made.uuid
    finally:
        os.umask(before)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(prefix: Path) -> None:
    os.mkfifo(prefix / "metadata")
    with pytest.raises(PrefixError, match="metadata is not a file"):
        assert Prefix(str(prefix)).metadata


class TestOwnPrefixWithHostileFiles:
    """As from an archive or a checkout: the files are ours, what they say is not."""

    @pytest.fixture
    def kept(self, tmp_path: Path) -> Path:
        """A directory of ours that must stay."""
        path = tmp_path / "kept"
        path.mkdir(mode=0o700)
        path.joinpath("file").touch()
        return path

    @pytest.mark.parametrize("command", [("status",), ("stop",), ("destroy", "--yes"), ("cleanup",)])
    @pytest.mark.parametrize("where", [".", UUID[:12], f"lago/{UUID[:12]}/..", "link", f"open/lago/{UUID[:12]}"])
    def test_no_directory_but_that_of_its_sockets_is_removed(
        self,
        prefix: Path,
        kept: Path,
        where: str,
        command: tuple[str, ...],
        lago: Lago,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        kept.joinpath("lago", UUID[:12]).mkdir(parents=True, mode=0o700)
        kept.joinpath(UUID[:12]).mkdir(mode=0o700)
        kept.joinpath("link").symlink_to(kept)
        # Such as others may enter is not what we have made.
        kept.joinpath("open", "lago", UUID[:12]).mkdir(parents=True, mode=0o755)
        for path in (kept / "lago", kept / "open" / "lago", kept / "open" / "lago" / UUID[:12]):
            path.chmod(0o755)
        before = sorted(kept.rglob("*"))
        prefix.joinpath("virt", "hypervisor").write_text(json.dumps({"run_dir": f"{kept}/{where}"}))
        prefix.joinpath("virt", ".hypervisor.lock").touch()
        monkeypatch.chdir(prefix.parent.parent)
        lago(*command)
        assert sorted(kept.rglob("*")) == before

    @pytest.mark.parametrize("uuid", ["../../kept/file", "", "x" * 32, "5" * 31, "5" * 33, "A" * 32, f"{UUID}\n/x"])
    @pytest.mark.parametrize("command", [("status",), ("stop",), ("destroy", "--yes"), ("start",)])
    def test_a_uuid_that_is_none_is_refused(
        self, prefix: Path, kept: Path, uuid: str, command: tuple[str, ...], lago: Lago, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prefix.joinpath("uuid").write_text(uuid)
        prefix.joinpath("metadata").write_text(json.dumps({"template_store": str(kept)}))
        monkeypatch.chdir(prefix.parent.parent)
        _, err = lago.both(*command, code=2)
        assert f"{prefix}/uuid is damaged" in err
        assert kept.joinpath("file").exists()
        assert prefix.exists()

    def test_a_uuid_for_libvirt_that_is_none_is_refused(self, prefix: Path) -> None:
        prefix.joinpath("metadata").write_text(json.dumps({"libvirt_uuid": "../x"}))
        with pytest.raises(PrefixError, match="metadata is damaged"):
            assert Prefix(str(prefix)).libvirt_uuid

    def test_a_template_store_is_told_of_prefixes_only(self, tmp_path: Path) -> None:
        store = tmp_path / "store"
        store.joinpath(".users").mkdir(parents=True)
        for name in ("file.json", "file"):
            tmp_path.joinpath(name).touch()
        tmp_path.joinpath("uuid").write_text("../../file")
        with pytest.raises(PrefixError, match="is damaged"):
            Users(str(store)).register(str(tmp_path / "uuid"), ["r:a:1"])
        with pytest.raises(PrefixError, match="is damaged"):
            Users(str(store)).unregister("../../file")
        assert tmp_path.joinpath("file.json").exists()
        assert tmp_path.joinpath("file").exists()

    @pytest.mark.programs
    @pytest.mark.parametrize("command", ["status", "start", "stop", "destroy"])
    def test_a_libvirt_that_is_a_program_is_not_run(
        self, prefix: Path, tmp_path: Path, command: str, lago: Lago, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = tmp_path / "script"
        script.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path))}/ran\n")
        script.chmod(0o755)
        url = f"qemu+ext:///system?command={quote(str(script))}"
        prefix.joinpath("metadata").write_text(json.dumps({"libvirt_url": url}))
        monkeypatch.chdir(prefix.parent.parent)
        _, err = lago.both(command, *(["--yes"] if command == "destroy" else []), code=2)
        assert f"{prefix}/metadata names a libvirt by more than a host: {url}" in err
        assert not tmp_path.joinpath("ran").exists()
        assert prefix.exists()
        # Who asks for it has it.
        monkeypatch.setenv("LAGO_LIBVIRT_URL", url)
        monkeypatch.setenv("LAGO_LEASE_DIR", str(tmp_path / "leases"))
        assert "names a libvirt" not in lago.both(command, *(["--yes"] if command == "destroy" else []), code=2)[1]
        assert tmp_path.joinpath("ran").exists()


@pytest.mark.parametrize(
    "url",
    [
        "qemu+ext:///system",
        "QEMU+EXT:///system",
        "qemu+ssh://host/system?command=/x",
        "qemu+ssh://host/system?netcat=/x",
        "qemu+ssh://host/system?keyfile=/x",
        "qemu+tls://host/system?pkipath=/x",
        "qemu+unix:///system?socket=/x",
        "qemu+unix:///system?%73ocket=/x",
        "qemu+unix:///system#?;socket=/x",
        "qemu+ssh://-oProxyCommand=x/system",
        "qemu+ssh://-oProxyCommand=x@host/system",
        "qemu:///system\n",
        "qemu",
        "",
        None,
        ["qemu:///system"],
    ],
)
def test_a_libvirt_that_could_do_something_on_this_host_must_be_that_of_the_configuration(
    url: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HypervisorError, match="names a libvirt by more than a host") as raised:
        libvirt_url({"libvirt_url": url}, "/p/metadata")
    assert "set libvirt_url to it" in raised.value.hint
    if isinstance(url, str) and url:
        monkeypatch.setenv("LAGO_LIBVIRT_URL", url)
        assert libvirt_url({"libvirt_url": url}, "/p/metadata") == url


@pytest.mark.parametrize(
    "url",
    [
        "private",
        "qemu:///system",
        "qemu:///session",
        "qemu+ssh://root@big.example.org/system",
        "qemu+ssh://host:2222/system",
        "qemu+tcp://[fe80::1]:16509/system",
        "qemu+tls://host/system",
        "test:///default",
    ],
)
def test_a_libvirt_that_is_just_a_place_is_remembered(url: str) -> None:
    assert libvirt_url({"libvirt_url": url}, "/p/metadata") == url


class TestRuntimeDirectory:
    @pytest.fixture
    def run_base(self, runtime_dir: Path) -> Path:
        """Where directories for sockets are, not there yet."""
        return runtime_dir / "lago"

    def test_it_is_ours_alone(self, run_base: Path) -> None:
        before = os.umask(0)
        try:
            path = Path(Shared("qemu:///system", UUID).socket_dir())
        finally:
            os.umask(before)
        assert path == run_base / UUID[:12]
        assert {stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)} == {0o700}
        assert rundir.belongs(str(path), UUID)
        Shared("qemu:///system", UUID).end(0)
        assert not run_base.exists()

    @as_root
    @pytest.mark.parametrize("name", ["", UUID[:12]])
    def test_one_of_somebody_else_is_refused_and_nothing_removed(self, run_base: Path, name: str) -> None:
        run_base.joinpath(UUID[:12]).mkdir(mode=0o700, parents=True)
        run_base.chmod(0o700)
        run_base.joinpath(UUID[:12], "file").touch()
        os.chown(run_base / name, SOMEBODY, SOMEBODY)
        with pytest.raises(HypervisorError, match="belongs to another user"):
            Shared("qemu:///system", UUID).socket_dir()
        Shared("qemu:///system", UUID).end(0)
        assert run_base.joinpath(UUID[:12], "file").exists()

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o750, 0o701])
    @pytest.mark.parametrize("name", ["", UUID[:12]])
    def test_one_that_others_can_enter_is_refused(self, run_base: Path, name: str, mode: int) -> None:
        run_base.joinpath(UUID[:12]).mkdir(mode=0o700, parents=True)
        run_base.chmod(0o700)
        run_base.joinpath(name).chmod(mode)
        with pytest.raises(HypervisorError, match="is open to others") as raised:
            Shared("qemu:///system", UUID).socket_dir()
        assert raised.value.hint == f"chmod 700 {shlex.quote(str(run_base / name).rstrip('/'))}"

    @pytest.mark.parametrize("name", ["", UUID[:12]])
    def test_a_link_is_not_followed(self, run_base: Path, tmp_path: Path, name: str) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.joinpath(UUID[:12]).mkdir(mode=0o700, parents=True)
        elsewhere.chmod(0o700)
        elsewhere.joinpath(UUID[:12], "file").touch()
        if name:
            run_base.mkdir(mode=0o700)
        run_base.joinpath(name).symlink_to(elsewhere / name if name else elsewhere)
        with pytest.raises(HypervisorError, match="can't be used for sockets"):
            Shared("qemu:///system", UUID).socket_dir()
        Shared("qemu:///system", UUID).end(0)
        assert elsewhere.joinpath(UUID[:12], "file").exists()

    @as_root
    def test_the_runtime_directory_of_another_user_is_not_ours(self, run_base: Path) -> None:
        assert protocol.runtime_base() == str(run_base)
        os.chown(run_base.parent, SOMEBODY, SOMEBODY)
        assert protocol.runtime_base() == "/run/lago"

    def test_one_that_others_can_write_is_not_used_unless_it_is_sticky(self, run_base: Path) -> None:
        run_base.parent.chmod(0o777)
        assert protocol.runtime_base() != str(run_base)
        run_base.parent.chmod(0o1777)
        assert protocol.runtime_base() == str(run_base)


class TestPeer:
    def test_the_other_end_is_known_as_long_as_it_is_there(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            with protocol.connect(str(tmp_path / "s")) as client:
                pid, fd = protocol.peer(client)
                os.close(fd)
                assert pid == os.getpid()

    @pytest.mark.parametrize("dead", ["process", "connection"])
    def test_one_that_has_ended_is_nobody(self, tmp_path: Path, dead: str) -> None:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            os.write(theirs, b"x")
            listener.accept()[0].close()
            os.write(theirs, b"y")
            signal.pause()
        try:
            assert os.read(ours, 1) == b"x"
            with protocol.connect(str(tmp_path / "s")) as client:
                assert os.read(ours, 1) == b"y"
                if dead == "process":
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                with pytest.raises(OSError, match=r"No such process|the supervisor ended"):
                    protocol.peer(client)
        finally:
            if dead == "connection":
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            os.close(ours)
            os.close(theirs)
