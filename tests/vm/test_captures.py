"""Packets of nets, as other programs read them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dpkt
import pytest

from lago import sdk
from lago.errors import LagoError
from lago.journal import reading

from ..users import User
from .box import MINI, Box, wait_for

TWO_NETS = f"""\
domains:
  web: {MINI % "{net: lan}, {net: back.1}"}
  db: {MINI % "{net: lan}, {net: back.1}"}
nets: {{lan: {{management: true}}, back.1: {{type: bridge}}}}
"""
PING = "ping -4 -c 3 -W 5 db >/dev/null && echo pinged"


@pytest.fixture(scope="module")
def running(module_box: Box) -> Box:
    """Two machines that run."""
    module_box.up_warm(TWO_NETS)
    return module_box


@pytest.fixture(autouse=True)
def _ended(running: Box) -> Iterator[None]:
    yield
    running.up_warm(TWO_NETS)
    running.lago("capture", "stop")


def captured(box: Box, *words: str) -> list[dict[str, Any]]:
    """What `lago capture` says."""
    found: list[dict[str, Any]] = json.loads(box.lago("-f", "json", "capture", *words).out)
    return found


def frames(path: str | Path) -> list[dpkt.ethernet.Ethernet]:
    """The packets of a file, read by dpkt."""
    with open(path, "rb") as file:
        return [dpkt.ethernet.Ethernet(data) for _, data in dpkt.pcapng.Reader(file)]


def pings(path: str | Path) -> list[tuple[int, int]]:
    """Type and sequence number of each ICMP echo and its reply in a file."""
    return [
        (frame.data.data.type, frame.data.data.data.seq)
        for frame in frames(path)
        if isinstance(frame.data, dpkt.ip.IP) and isinstance(frame.data.data, dpkt.icmp.ICMP)
    ]


def _has_three(path: str) -> bool:
    return pings(path) == THREE


THREE = [(8, 0), (0, 0), (8, 1), (0, 1), (8, 2), (0, 2)]


def told(path: str | Path) -> str:
    """What Wireshark's capinfos says of a file."""
    return subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True).stdout


def test_a_ping_is_in_the_file_at_once_with_the_names_of_who_sent_it(running: Box) -> None:
    [started] = captured(running, "start", "lan", "--filter", "icmp")
    assert (started["net"], started["running"], started["filter"]) == ("lan", True, "icmp")
    [path] = started["files"]
    assert Path(path).parent == running.prefix / "captures"
    assert re.fullmatch(r"lan-\d{8}-\d{6}\.pcapng", Path(path).name)
    assert running.shell("web", PING) == "pinged\n"
    # The program that captures is not stopped before, and nobody waits for it.
    assert pings(path) == THREE
    text = told(path)
    assert "Name = lan\n" in text
    macs = re.findall(r"Comment = (web|db) eth0: ([0-9a-f:]{17}), (192\.168\.\d+\.\d+)", text)
    assert [(name, ip) for name, _, ip in macs] == [("web", macs[0][2]), ("db", macs[1][2])]
    assert {mac for _, mac, _ in macs} == {frame.src.hex(":") for frame in frames(path)}
    for name in ("web", "db"):
        assert re.search(rf"Name = {name}:eth0\n(?:(?!Interface #).*\n)*?\s+Number of packets = 3\n", text), text
    [stopped] = captured(running, "stop")
    assert (stopped["files"], stopped["running"], stopped["packets"], stopped["dropped"]) == ([path], False, 6, 0)
    assert pings(path) == THREE


def test_dumpcap_captures_as_well(running: Box) -> None:
    settings = {"LAGO_CAPTURE_PROGRAM": "dumpcap"}
    done = running.lago("capture", "start", "back.1", "--filter", "tcp prt 80", env=settings, code=2)
    assert "'tcp prt 80' is no filter of packets" in done.err
    path = running.lago("capture", "start", "back.1", env=settings).out.strip()
    [found] = captured(running, "list", "back.1")
    assert found["program"] == "dumpcap"
    running.shell("web", "ip addr add 10.1.1.1/24 dev eth1; ip link set eth1 up")
    running.shell("db", "ip addr add 10.1.1.2/24 dev eth1; ip link set eth1 up")
    running.shell("web", "ping -c 3 -W 5 10.1.1.2")
    # It writes a little later.
    assert wait_for(lambda: pings(path) == THREE), pings(path)
    [stopped] = captured(running, "stop", "back.1")
    assert stopped["dropped"] == 0
    assert "Name = back.1\n" in told(path)


def test_mistakes_are_told_before_anything_is_captured(running: Box) -> None:
    before = captured(running, "list")
    for words, said in [
        (("lam",), "there is no net lam\nhint: did you mean lan?"),
        (("--filter", "tcp prt 80"), "'tcp prt 80' is no filter of packets"),
        (("--filter", "-w /tmp/x"), "'-w /tmp/x' is no filter of packets"),
        (("--filter", "tcp\n"), "has control characters"),
        (("--snaplen", "1"), "of a packet 64 to 262144 bytes can be kept, not 1"),
    ]:
        assert said in running.lago("capture", "start", *words, code=2).err
    unknown = running.lago("capture", "start", env={"LAGO_CAPTURE_PROGRAM": "snoop"}, code=2).err
    assert "capture_program = snoop: expected tcpdump or dumpcap" in unknown
    assert captured(running, "list") == before
    assert "no net" in running.lago("capture", "stop", "lam", code=2).err


def test_all_nets_are_captured_once_each(running: Box) -> None:
    started = captured(running, "start")
    assert [one["net"] for one in started] == ["lan", "back.1"]
    again = running.lago("capture", "start", "lan", code=2)
    assert "net lan is being captured already\nhint: lago capture stop lan" in again.err
    assert sorted(one["net"] for one in captured(running, "list") if one["running"]) == ["back.1", "lan"]
    stopped = captured(running, "stop", "lan")
    assert [one["net"] for one in stopped] == ["lan"]
    assert [one["net"] for one in captured(running, "list") if one["running"]] == ["back.1"]
    # Whoever did not see the end of it has its files all the same.
    assert captured(running, "stop", "lan") == stopped


def test_it_goes_on_when_who_began_it_is_killed(running: Box) -> None:
    program = textwrap.dedent(
        """\
        import sys
        import lago.sdk
        with lago.sdk.load_env(".lago").capture("lan", filter="icmp") as captured:
            print(captured.paths[0], flush=True)
            sys.stdin.read()
        """
    )
    argv = [sys.executable, "-c", program]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, cwd=running.place, env=running.environment(), **pipes) as process:  # type: ignore[call-overload]
        path = process.stdout.readline().strip()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert running.shell("web", PING) == "pinged\n"
    assert [one["files"] for one in captured(running, "list") if one["running"]] == [[path]]
    [stopped] = captured(running, "stop", "lan")
    assert (stopped["packets"], pings(path)) == (6, THREE)


def test_a_block_has_its_packets_and_the_journal_its_time(running: Box) -> None:
    with sdk.load_env(running.place / ".lago") as env:
        with env.capture(["lan"], filter="icmp", snaplen=64) as capturing:
            env.get_vms()["web"].ssh(PING)
            [one] = env.captures()[-1:]
            assert one.running
        [path] = capturing.paths
        with pytest.raises(LagoError, match="there is no net x"):
            env.capture("x")
        [capture] = capturing.captures
        assert (capture.running, capture.packets) == (False, 6)
    assert pings(path) == THREE
    assert max(len(bytes(frame)) for frame in frames(path)) <= 64
    entries = list(reading.entries(str(running.prefix)))
    [begun] = [one for one in entries if one["kind"] == "capture" and one["file"] == f"captures/{Path(path).name}"]
    [ended] = [one for one in entries if one["kind"] == "end" and one["id"] == begun["id"]]
    assert (begun["net"], ended["outcome"]) == ("lan", "ok")
    assert begun["t"] < ended["t"]


@pytest.mark.slow
def test_it_goes_on_through_a_revert_and_forks_begin_with_none(running: Box) -> None:
    [started] = captured(running, "start", "lan", "--filter", "icmp")
    [path] = started["files"]
    running.shell("web", PING)
    running.lago("revert", "warm")
    running.shell("web", PING)
    assert pings(path) == THREE * 2
    with sdk.load_env(running.place / ".lago") as env, env.fork() as fork:
        assert fork.captures() == []
        with fork.capture("lan", filter="icmp") as other:
            fork.get_vms()["web"].ssh(PING)
        assert pings(other.paths[0]) == THREE
    assert pings(path) == THREE * 2


def test_a_guest_that_floods_fills_no_more_than_the_ring(running: Box) -> None:
    settings = {"LAGO_CAPTURE_SIZE": "1", "LAGO_CAPTURE_FILES": "3"}
    [begun] = json.loads(running.lago("-f", "json", "capture", "start", "lan", env=settings).out)
    # What it says comes over this net, and more than all files together hold.
    assert len(running.shell("web", "head -c 5000000 /dev/zero")) == 5_000_000
    [stopped] = captured(running, "stop", "lan")
    assert len(stopped["files"]) == 3
    assert stopped["files"][-1] == begun["files"][0]
    assert stopped["bytes"] > 2 << 20
    for path in stopped["files"]:
        assert os.stat(path).st_size <= 1 << 20
        assert "Name = web:eth0\n" in told(path)
    assert sum(len(frames(path)) for path in stopped["files"]) < stopped["packets"]


def test_it_ends_with_the_environment_and_its_files_are_whole(running: Box) -> None:
    [lan, back] = captured(running, "start")
    running.shell("web", PING)
    running.lago("stop")
    found = {one["net"]: one for one in captured(running, "list") if one["files"] in (lan["files"], back["files"])}
    assert {name: (one["running"], one["error"]) for name, one in found.items()} == {
        "lan": (False, None),
        "back.1": (False, None),
    }
    assert [one for one in pings(lan["files"][0]) if one in THREE] == THREE
    assert "the environment is not running" in running.lago("capture", "start", code=2).err
    # As does one whose hypervisor is killed.
    running.up_warm(TWO_NETS)
    [lan] = captured(running, "start", "lan")
    running.shell("web", PING)
    pid = running.supervisor()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: not captured(running, "list", "lan")[-1]["running"])
    assert pings(lan["files"][0])[-6:] == THREE
    told(lan["files"][0])


@pytest.mark.slow
def test_an_ordinary_user_captures(mini: Path, throwaway_user: User) -> None:
    box = Box.of_user(throwaway_user, mini, "packets")
    try:
        box.up(TWO_NETS)
        for program in ("tcpdump", "dumpcap"):
            settings = {"LAGO_CAPTURE_PROGRAM": program}
            path = box.lago("capture", "start", "lan", "--filter", "icmp", env=settings).out.strip()
            box.shell("web", PING)
            assert wait_for(partial(_has_three, path))
            assert Path(path).stat().st_uid == throwaway_user.uid
            box.lago("capture", "stop")
    finally:
        box.close()
