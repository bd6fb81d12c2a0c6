"""The way out of nat networks: a web server and a name server on the host's loopback, asked by a guest."""

from __future__ import annotations

import contextlib
import http.server
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import Prefix
from lago.constants import HOST_LOOPBACK
from lago.host.programs import run

from .box import ONE, Box

PAGE = b"this is the host\n"
_OWN = "198.51.100.9"
_METADATA = "169.254.169.254"


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Port of a web server on the loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prepared(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine that is up at once, by a snapshot, with the way out that a test wants."""
    made = Box(tmp_path_factory.mktemp("box"))
    made.write(ONE)
    made.lago("init")
    made.lago("start")
    made.lago("snapshot", "up")
    made.lago("stop")
    yield made
    made.close()


@contextlib.contextmanager
def _started(box: Box, **env: str) -> Iterator[str]:
    """Gives what is said to people when the hypervisor starts."""
    box.env.update(env)
    said = box.lago("revert", "up").err
    try:
        yield said
    finally:
        box.lago("stop")
        for name in env:
            del box.env[name]


def _fetch(box: Box, port: int, patience: int = 60) -> str:
    return box.lago(
        "shell", "vm0", "-c", f"timeout {patience} wget -q -O - http://{HOST_LOOPBACK}:{port}/", code=None
    ).out


@pytest.mark.parametrize("program", [pytest.param("slirp4netns", marks=pytest.mark.slow), "pasta"])
def test_a_guest_fetches_from_the_hosts_loopback_only_where_allowed(prepared: Box, port: int, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    with _started(prepared, LAGO_EGRESS=program, LAGO_EGRESS_HOST_LOOPBACK="1"):
        assert _fetch(prepared, port) == PAGE.decode()
    with _started(prepared, LAGO_EGRESS=program) as said:
        assert "WARNING: guests" not in said
        assert _fetch(prepared, port, 3) == ""
        assert prepared.lago("nsexec", "--", "ip", "-4", "route", "show", "default").out != ""


@contextlib.contextmanager
def _host_of_its_own(box: Box) -> Iterator[None]:
    """Lago runs where the host has an address, and a cloud its metadata service: in a network namespace."""
    # pasta looks for the device of the default route.
    links = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up"
    addresses = f"ip address add {_OWN}/24 dev v0 && ip address add {_METADATA} dev lo"
    route = f"ip route add default via {_OWN.rpartition('.')[0]}.1"
    server = f"exec {shlex.quote(sys.executable)} -m http.server --directory {shlex.quote(str(box.place))} 8099"
    script = f"{links} && {addresses} && {route} && echo ready && {server} >/dev/null 2>&1"
    with subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        try:
            assert host.stdout.readline() == "ready\n"
            box.wrap = ["nsenter", f"--target={host.pid}", "--net", "--"]
            yield
        finally:
            box.wrap = ()
            host.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a network namespace")
@pytest.mark.parametrize("program", ["slirp4netns", "pasta"])
def test_guests_reach_neither_the_host_nor_a_clouds_metadata_unless_that_is_set(prepared: Box, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    (prepared.place / "page").write_bytes(PAGE)

    def fetched(address: str) -> str:
        command = f"timeout 20 wget -q -O - http://{address}:8099/page"
        return prepared.lago("shell", "vm0", "-c", command, code=None).out

    with _host_of_its_own(prepared):
        with _started(prepared, LAGO_EGRESS=program, LAGO_EGRESS_HOST="1"):
            assert [fetched(_OWN), fetched(_METADATA)] == [PAGE.decode()] * 2
        with _started(prepared, LAGO_EGRESS=program):
            assert [fetched(_OWN), fetched(_METADATA)] == ["", ""]


@pytest.mark.parametrize("program", [pytest.param("slirp4netns", marks=pytest.mark.slow), "pasta"])
def test_a_way_out_may_close_what_it_inherits(prepared: Box, tmp_path: Path, program: str) -> None:
    real = shutil.which(program)
    if real is None:
        pytest.skip(f"{program} is not installed")
    # As pasta does by itself since 2024.
    closing = tmp_path / program
    closing.write_text(
        f"#!{sys.executable}\nimport os, signal, sys\nos.closerange(3, 1024)\n"
        "for number in signal.SIGPIPE, signal.SIGXFSZ:\n    signal.signal(number, signal.SIG_DFL)\n"
        f"os.execv({real!r}, sys.argv)\n"
    )
    closing.chmod(0o755)
    with _started(prepared, LAGO_EGRESS=program, PATH=f"{tmp_path}:{os.environ['PATH']}") as said:
        assert "WARNING: guests" not in said
        assert prepared.lago("nsexec", "--", "ip", "-4", "route", "show", "default").out != ""


def test_a_way_out_that_ends_at_once_is_told_with_its_words(prepared: Box, tmp_path: Path) -> None:
    program = tmp_path / "pasta"
    program.write_text("#!/bin/sh\necho 'no such luck' >&2\necho 'today' >&2\nexit 1\n")
    program.chmod(0o755)
    env = {"LAGO_EGRESS": "pasta", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    try:
        done = prepared.lago("start", env=env)
        assert "WARNING: guests can't reach the outside: pasta ended: no such luck; today (egress.log)\n" in done.err
        assert prepared.shell("vm0", "hostname") == "vm0\n"
        log = prepared.place / ".lago" / "default" / "logs" / "egress.log"
        assert log.read_text().endswith("no such luck\ntoday\n")
        assert "the way out of guests ended" in log.with_name("hypervisor.log").read_text()
    finally:
        prepared.lago("stop")


def test_packets_are_forwarded_whether_or_not_libvirt_sees_to_it(prepared: Box) -> None:
    env = Prefix(str(prepared.prefix)).virt_env
    try:
        # It has no net yet.
        env.hypervisor.ensure([])
        forwarding = env.hypervisor.command(["cat", "/proc/sys/net/ipv4/ip_forward"])
        assert run(forwarding).out == b"1\n"
    finally:
        env.stop()
        env.close()


def test_without_egress_there_is_no_way_out(prepared: Box, port: int) -> None:
    with _started(prepared, LAGO_EGRESS="none", LAGO_EGRESS_HOST_LOOPBACK="1"):
        assert _fetch(prepared, port, 3) == ""
        assert prepared.lago("nsexec", "--", "ip", "-4", "route", "show", "default").out == ""
        assert prepared.shell("vm0", "hostname") == "vm0\n"


def test_a_program_that_is_not_installed_is_named(prepared: Box, tmp_path: Path) -> None:
    for directory in os.get_exec_path():
        for program in Path(directory).glob("*") if os.path.isdir(directory) else ():
            if program.name != "pasta" and not (tmp_path / program.name).exists():
                (tmp_path / program.name).symlink_to(program)
    done = prepared.lago("--egress", "pasta", "start", code=None, env={"PATH": str(tmp_path)})
    if Path("/usr/sbin/pasta").exists():
        pytest.skip("it is where it is found always")
    assert (done.code, "hint: apt-get install passt" in done.err) == (2, True), done


def _answer(question: bytes) -> bytes:
    """A name server's answer to a question for any name: 192.0.2.7."""
    end = question.index(b"\0", 12) + 5
    address = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + bytes([192, 0, 2, 7])
    return question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + question[12:end] + address


@contextlib.contextmanager
def _name_server() -> Iterator[str]:
    """The address of a name server on the host's loopback, asked as the host's own."""
    address = f"127.53.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        ended = threading.Event()

        def serve() -> None:
            server.settimeout(0.2)
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    question, client = server.recvfrom(4096)
                    if question[-4:-2] == b"\0\1" or b"\0\1\0\1" in question:
                        server.sendto(_answer(question), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("program", ["slirp4netns", "pasta"])
def test_names_are_resolved_as_the_host_does(prepared: Box, tmp_path: Path, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root can be a name server")
    resolv_conf = tmp_path / "resolv.conf"
    with _name_server() as address:
        resolv_conf.write_text(f"nameserver {address}\n")
        # The host's file stays as it is: Lago runs where it reads as ours.
        place = os.path.realpath("/etc/resolv.conf")
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        prepared.wrap = ["unshare", "--mount", "--", "sh", "-c", script, "sh", str(resolv_conf), place]
        try:
            with _started(prepared, LAGO_EGRESS=program):
                assert "192.0.2.7" in prepared.shell("vm0", "nslookup -type=a some.where.example")
        finally:
            prepared.wrap = ()
