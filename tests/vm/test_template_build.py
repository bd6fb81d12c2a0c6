"""Templates that are built on this host: by root and by an ordinary user, at once, killed, and then booted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import bootstrap, templates
from lago.disks import qemu_img
from lago.host.ssh_option import quote
from lago.paths import Paths
from lago.templates import TemplateStore
from lago.templates.build import mirrors
from lago.topology.model import Disk, Domain, TemplateImage

from ..users import User

BUILD = ("-m", "lago", "--out-format", "json", "template", "build")


def _version(name: str) -> str:
    return templates.default_repository().get_by_name(name).get_version().name


def _build(store: Path, name: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "LAGO_TEMPLATE_STORE": str(store)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *BUILD, name], env=environment, stdout=pipe, stderr=pipe)


def _contents(store: Path, identity: str) -> dict[str, bytes]:
    names = ("hash", "kernel", "kernel-efi", "initrd", "metadata")
    return {name: (store / f"{identity}.{name}").read_bytes() for name in names}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a `mini` that two processes wanted at the same time."""
    store = tmp_path_factory.mktemp("store")
    both = [_build(store, "mini"), _build(store, "mini")]
    results = [(*process.communicate(), process.returncode) for process in both]
    assert [code for _, _, code in results] == [0, 0], results
    assert results[0][0] == results[1][0]
    assert sum(b"Pack image: Success" in err for _, err, _ in results) == 1
    return store


def test_two_at_once_build_once_and_leave_nothing_else(built: Path) -> None:
    assert TemplateStore(str(built)).list() == [_version("mini")]
    assert not [path.name for path in built.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_user_builds_the_same_bytes_as_root(built: Path, throwaway_user: User) -> None:
    store = throwaway_user.home / "own-store"
    done = throwaway_user.run(["python", *BUILD, "mini"], env={"LAGO_TEMPLATE_STORE": str(store)})
    assert done.returncode == 0, done.stderr
    identity = _version("mini")
    assert json.loads(done.stdout)[identity]["path"] == str(store / identity)
    assert _contents(store, identity) == _contents(built, identity)


def _using(directory: Path) -> list[str]:
    """Processes that have the directory in their arguments, and mounts in any namespace below it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # Spaces are written as octal numbers there (proc(5)).
            mounts = (process / "mountinfo").read_text().replace("\\040", " ")
            if str(directory) in command or str(directory) in mounts:
                found.append(command)
    return found


@pytest.mark.parametrize(
    ("name", "sign"),
    [("mini", "spool/*"), pytest.param("debian12", "system.tar", marks=pytest.mark.slow)],
)
def test_a_killed_build_leaves_nothing_running(tmp_path: Path, name: str, sign: str) -> None:
    process = _build(tmp_path, name)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(f".*.part/image.work/{sign}")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # Let it get into the middle of things.
    time.sleep(0.1 if name == "mini" else 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 5
    while (left := _using(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert TemplateStore(str(tmp_path)).list() == []
    if name == "mini":
        again = _build(tmp_path, name)
        _, err = again.communicate()
        assert again.returncode == 0, err
        assert TemplateStore(str(tmp_path)).list() == [_version("mini")]
        assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.fixture
def one_try(tmp_path: Path) -> dict[str, str]:
    """An environment in which the host's apt is set up to ask a mirror once; it asks four times, later and later."""
    path = tmp_path / "apt.conf"
    path.write_text('Acquire::Retries "0";\n')
    # Apt looks for relative names elsewhere, and there is no spelling for a quote.
    return {**os.environ, "APT_CONFIG": str(path)}


def test_a_mirror_that_does_not_answer_is_an_error(tmp_path: Path, one_try: dict[str, str]) -> None:
    store = tmp_path / "store"
    environment = {
        **one_try,
        "LAGO_TEMPLATE_STORE": str(store),
        "LAGO_DEBIAN_MIRROR": "http://127.0.0.1:9/debian",
    }
    done = subprocess.run([sys.executable, *BUILD, "mini"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot fetch the lists of Debian packages" in done.stderr
    assert "127.0.0.1:9" in done.stderr
    assert not TemplateStore(str(store)).list()


def test_a_mirror_does_where_the_hosts_security_updates_cannot_be_reached(
    tmp_path: Path, one_try: dict[str, str]
) -> None:
    host = mirrors.sources("bookworm")
    uri = host.split("URIs: ")[1].split()[0]
    key = next(line for line in host.splitlines() if line.startswith("Signed-By:"))
    etc, work = tmp_path / "etc", tmp_path / "work"
    etc.mkdir()
    (etc / "debian.sources").write_text(
        f"Types: deb\nURIs: {uri}\nSuites: bookworm\nComponents: main\n{key}\n\n"
        f"Types: deb\nURIs: http://127.0.0.1:9/security\nSuites: bookworm-security\nComponents: main\n{key}\n"
    )
    code = """
import logging, sys
from lago.templates.build.apt import Apt
logging.basicConfig()
apt = Apt(sys.argv[1], "bookworm")
apt.update()
print(open(apt.sources_file).read(), apt.depends("cpio"))
"""
    script = 'mount --bind "$1" /etc/apt/sources.list.d && shift && exec "$@"'
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    argv = ["unshare", *users, "--mount", "--", "sh", "-c", script, "sh", str(etc)]
    argv += [sys.executable, "-c", code, str(work)]
    environment = {**one_try, "LAGO_DEBIAN_MIRROR": uri}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("security" in done.stdout, "'libc6'" in done.stdout) == (False, True)
    assert "security updates of Debian are left out" in done.stderr
    assert "127.0.0.1:9" in done.stderr


class Guest:
    """A machine under bare QEMU, its disk and seed kept in `place`."""

    def __init__(self, image: TemplateImage, place: Path, memory: int) -> None:
        self._image = image
        self.place = place
        self._memory = memory
        (place / "images").mkdir()
        self._key = place / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)
        disk = Disk(
            name="root", type="template", dev="vda", format="qcow2", path="images/r", serial="1", template=image
        )
        domain = Domain(name="guest1", memory=memory, vcpu=1, nics=(), disks=(disk,), mgmt_net=None)
        qemu_img.create(disk, str(place))
        paths, public = Paths(str(place)), self._key.with_suffix(".pub").read_text()
        bootstrap.prepare(domain, paths, public)
        self._additions = bootstrap.additions(domain, paths, public)
        self.port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run it, without a reboot: what asks for one ends it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        metadata = self._image.metadata
        argv = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(self._memory)]
        argv += ["-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{self.place}/console"]
        argv += ["-monitor", f"unix:{self.place}/monitor,server=on,wait=off"]
        argv += ["-kernel", metadata["kernel"], "-initrd", metadata["initrd"], "-append", metadata["cmdline"]]
        argv += ["-drive", f"file={self.place}/images/r,if=virtio,format=qcow2"]
        for disk in self._additions.disks:
            argv += ["-drive", f"file={disk.path},if=virtio,format={disk.format},readonly=on"]
        for string in self._additions.oem_strings:
            argv += ["-smbios", f"type=11,value={string}"]
        argv += ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=n"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def options(self) -> list[str]:
        """What ssh and scp need to know."""
        settings = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=30"]
        return [
            "-F",
            "/dev/null",
            f"-oIdentityFile={quote(str(self._key))}",
            *(word for s in settings for word in ("-o", s)),
        ]

    def ssh(self, command: str) -> str:
        """Output of a command, asked for until the machine is up."""
        deadline = time.monotonic() + 240
        while True:
            argv = ["ssh", *self.options(), "-p", str(self.port), "root@127.0.0.1", command]
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode != 255:
                assert done.returncode == 0, done.stderr
                return done.stdout
            assert time.monotonic() < deadline, done.stderr + (self.place / "console").read_text(errors="replace")
            time.sleep(0.5)

    def press_power_button(self) -> None:
        """As a person would, or libvirt's shutdown."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.place / "monitor"))
            for command in (b"system_powerdown\n", b""):
                answer = b""
                while not answer.endswith(b"(qemu) "):
                    more = monitor.recv(4096)
                    if not more:
                        raise ConnectionError("it has ended")
                    answer += more
                monitor.sendall(command)


def _image(store: Path, name: str) -> TemplateImage:
    version = templates.default_repository().get_by_name(name).get_version()
    return TemplateStore(str(store)).ensure(version)


@pytest.fixture(scope="module")
def first_boot(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Guest, subprocess.Popen[bytes]]]:
    """A machine made of that `mini`, and its QEMU."""
    guest = Guest(_image(built, "mini"), tmp_path_factory.mktemp("guest"), 128)
    with guest.running() as process:
        yield guest, process


def test_nobody_has_a_password(first_boot: tuple[Guest, subprocess.Popen[bytes]]) -> None:
    guest, _ = first_boot
    guest.ssh("true")
    argv = ["ssh", *guest.options(), "-i", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    done = subprocess.run(
        ["ssh", *guest.options()[:2], *argv[4:], "-p", str(guest.port), "root@127.0.0.1", "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_mini_has_its_name_keeps_files_and_goes_down_when_told(
    first_boot: tuple[Guest, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    guest, process = first_boot
    place = guest.place
    assert guest.ssh("hostname") == "guest1\n"
    assert "default via 10.0.2.2 dev eth0" in guest.ssh("ip route")
    assert "nameserver 10.0.2.3" in guest.ssh("cat /etc/resolv.conf")
    assert guest.ssh("bash -c 'echo ${BASH_VERSION%%.*}'") == "5\n"
    (tmp_path / "file").write_text("copied")
    for protocol in ([], ["-O"]):
        argv = ["scp", "-q", *protocol, *guest.options(), "-P", str(guest.port), str(tmp_path / "file")]
        subprocess.run([*argv, "root@127.0.0.1:/root/"], check=True, stdin=subprocess.DEVNULL)
    host_key = guest.ssh("sync; cat /root/file >/root/other; cat /etc/dropbear/*key | sha256sum")
    guest.ssh("reboot")
    assert process.wait(240) == 0
    with guest.running() as process:
        assert guest.ssh("cat /root/other") == "copied"
        assert guest.ssh("cat /etc/dropbear/*key | sha256sum") == host_key
        # The button is looked after a moment later than ssh.
        for _ in range(50):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                guest.press_power_button()
                process.wait(2)
                break
        assert process.wait(60) == 0
    assert "lago-init: poweroff" in (place / "console").read_text(errors="replace")
    subprocess.run(["qemu-img", "check", "-q", str(place / "images" / "r")], check=True)
