"""Packets as capturing programs say them, and the files that are made of them."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import resource
import shlex
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import dpkt
import pytest

from lago.environment.captures import MOST, model, pcapng, recorder, ring
from lago.host import beside
from lago.host.locks import end_holders, lock_file, lock_if_free
from lago.journal import reading
from lago.journal.writing import Journal
from lago.paths import Paths

MACS = ["54:52:c0:a8:c8:02", "54:52:c0:a8:c8:03"]
START = 1_800_000_000


def pcap(packets: list[bytes], order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    """What a capturing program says of packets, one a second."""
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, MOST, 1)
    records = [
        struct.pack(f"{order}4I", START + at, 7, len(data), len(data) + 1) + data for at, data in enumerate(packets)
    ]
    return head + b"".join(records)


def frame(sender: str = MACS[0], size: int = 60) -> bytes:
    data = bytes.fromhex("ff" * 6 + sender.replace(":", "") + "88b5")
    return data + random.Random(size).randbytes(size - len(data))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_packets_are_read_in_whatever_pieces_they_come(order: str, magic: int, unit: int, piece: int) -> None:
    packets = [frame(size=60 + at) for at in range(5)]
    data = pcap(packets, order, magic)
    reader = pcapng.Reader()
    found = [one for at in range(0, len(data), piece) for one in reader.feed(data[at : at + piece])]
    assert (reader.begun, reader.link_type) == (True, 1)
    assert [one.data for one in found] == packets
    assert [one.length for one in found] == [61 + at for at in range(5)]
    assert [one.nanoseconds for one in found] == [(START + at) * 10**9 + 7 * unit for at in range(5)]


@pytest.mark.parametrize("data", [b"x" * 24, pcap([])[:24] + struct.pack("<4I", 1, 1, MOST + 1, 1)])
def test_what_is_no_pcap_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="pcap"):
        pcapng.Reader().feed(data)


def a_file(comment: str = "net lan\nweb") -> bytes:
    """A file with a packet of each of two interfaces."""
    packets = [pcapng.Packet(START * 10**9 + at, 100, frame(MACS[at])) for at in range(2)]
    return b"".join(
        [
            pcapng.section("Lago 1", comment),
            pcapng.interface("lan", link_type=1, most=MOST, filter_="icmp"),
            pcapng.interface("web:eth0", link_type=1, most=MOST, mac=MACS[1], description="of web", comment=comment),
            pcapng.names({"192.168.200.2": ["web"], "fd8f::2": ["web", "ü"]}),
            *(pcapng.packet(one, at) for at, one in enumerate(packets)),
            pcapng.statistics(0, START * 10**9, 2, 0),
        ]
    )


@pytest.mark.programs
@pytest.mark.parametrize("comment", ["net lan\nweb", "", "ü" * 40_000, '\x1b[1m"<&'])
def test_a_file_is_read_by_others(tmp_path: Path, comment: str) -> None:
    (tmp_path / "x.pcapng").write_bytes(a_file(comment))
    assert [data for _, data in dpkt.pcapng.Reader(io.BytesIO(a_file(comment)))] == [frame(MACS[0]), frame(MACS[1])]
    done = subprocess.run(["capinfos", str(tmp_path / "x.pcapng")], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for line in (
        "Number of packets:   2",
        "Name = lan",
        "Filter string = icmp",
        "Name = web:eth0",
        "Description = of web",
        "Number of resolved IPv4 addresses in file: 1",
        "Number of resolved IPv6 addresses in file: 2",
    ):
        assert line in done.stdout


def test_blocks_are_told_from_what_is_torn() -> None:
    data = a_file()
    assert [kind for kind, _ in pcapng.blocks(data)] == [0x0A0D0D0A, 1, 1, 4, 6, 6, 5]
    for end in range(1, len(data), 13):
        if end in ends(data):
            continue
        with pytest.raises(ValueError, match="no whole block"):
            list(pcapng.blocks(data[:end]))


def ends(data: bytes) -> set[int]:
    found, at = set(), 0
    for _, body in pcapng.blocks(data):
        at += len(body) + 12
        found.add(at)
    return found


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_ring_has_no_more_files_than_wanted_and_none_is_larger(tmp_path: Path, number: int) -> None:
    path = str(tmp_path / "lan-1.pcapng")
    for stranger in ("lan-1.x.pcapng", "lan-10.pcapng", "xlan-1.pcapng"):
        (tmp_path / stranger).write_bytes(b"")
    head = pcapng.section("Lago 1", "")
    kept = ring.Ring(path, head, 4096, number)
    blocks = [pcapng.packet(pcapng.Packet(at, 1, bytes([at % 256]) * (at % 900)), 0) for at in range(200)]
    for at in range(0, 200, 7):
        kept.write(blocks[at : at + 7])
    kept.close()
    found = ring.files(path)
    assert found == [ring.former(path, at) for at in reversed(range(number))]
    assert max(os.stat(one).st_size for one in found) <= 4096
    bodies = []
    for one in found:
        first, *rest = pcapng.blocks(Path(one).read_bytes())
        assert first[0] == 0x0A0D0D0A
        bodies += [body for _, body in rest]
    # The newest, in their order, and none is missing among them.
    assert bodies == [body for block in blocks[-len(bodies) :] for _, body in pcapng.blocks(block)]


def test_where_the_disk_is_full_the_file_stays_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "lan.pcapng")
    kept = ring.Ring(path, pcapng.section("Lago 1", ""), 1 << 20, 2)
    block = pcapng.packet(pcapng.Packet(1, 1, b"x" * 100), 0)
    kept.write([block] * 3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(path).st_size + 1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            kept.write([block] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert raised.value.errno == errno.EFBIG
    assert len(list(pcapng.blocks(Path(path).read_bytes()))) == 4
    kept.write([block])
    assert len(list(pcapng.blocks(Path(path).read_bytes()))) == 5


def settings(tmp_path: Path, script: str) -> dict[str, Any]:
    path = tmp_path / "captures" / "lan-1.pcapng"
    path.parent.mkdir(exist_ok=True)
    own = {"name": "lan", "description": "", "comment": "", "mac": ""}
    return {
        "argv": ["sh", "-c", script],
        "prefix": str(tmp_path),
        "file": str(path),
        "state": model.state_of(str(path)),
        "size": 1 << 20,
        "files": 2,
        "snaplen": MOST,
        "filter": "",
        "version": "1",
        "span": "x1",
        "comment": "net lan",
        "interfaces": [own, *({**own, "name": f"vm{at}:eth0", "mac": mac} for at, mac in enumerate(MACS))],
        "names": {},
        "facts": {"net": "lan", "since": 1.0, "filter": "", "program": "sh", "owner": ""},
    }


def record(tmp_path: Path, script: str) -> tuple[dict[str, Any], Paths]:
    """Have a recorder listen to a script, as far as it says that it has begun, or why not."""
    paths = Paths(str(tmp_path))
    os.makedirs(paths.virt(), exist_ok=True)
    lock = lock_if_free(paths.capture_lock("lan"))
    assert lock is not None
    read, write = os.pipe()
    argv = beside.argv(recorder.__name__, json.dumps(settings(tmp_path, script)), str(write))
    subprocess.run(argv, pass_fds=[lock, write], check=True)
    os.close(write)
    os.close(lock)
    with open(read, "rb") as file:
        answer: dict[str, Any] = json.loads(file.read1())
    return answer, paths


def saying(tmp_path: Path, packets: list[bytes], then: str) -> str:
    """A script that says packets as tcpdump does."""
    (tmp_path / "said").write_bytes(pcap(packets))
    return f"cat {shlex.quote(str(tmp_path / 'said'))}; echo 'listening on br0' >&2; {then}"


@pytest.mark.programs
def test_a_recorder_goes_on_until_it_is_asked_to_end(tmp_path: Path) -> None:
    packets = [frame(MACS[1]), frame(MACS[0]), frame("00:00:00:00:00:01")]
    # The one that captures is below one that entered the namespaces.
    then = "sh -c 'trap \"echo 3 packets dropped by kernel >&2; exit\" TERM; while :; do sleep 0.1; done'; exit 0"
    Journal(str(tmp_path)).event("note", text="before")
    answer, paths = record(tmp_path, saying(tmp_path, packets, then))
    assert answer == {"ok": True}
    [running] = model.load(paths)
    assert (running.running, running.net, running.until) == (True, "lan", None)
    end_holders(paths.capture_lock("lan"), 60)
    [ended] = model.load(paths)
    assert (ended.running, ended.packets, ended.dropped, ended.error) == (False, 3, 3, None)
    numbers = [
        struct.unpack_from("<I", body)[0]
        for kind, body in pcapng.blocks(Path(ended.files[0]).read_bytes())
        if kind == 6
    ]
    assert numbers == [2, 1, 0]
    [end] = [one for one in reading.entries(str(tmp_path)) if one["kind"] == "end"]
    assert (end["id"], end["outcome"], end["packets"], end["dropped"]) == ("x1", "ok", 3, 3)


@pytest.mark.programs
def test_a_recorder_ends_with_what_captures(tmp_path: Path) -> None:
    answer, paths = record(tmp_path, saying(tmp_path, [frame()], "kill -9 $$"))
    assert answer == {"ok": True}
    with lock_file(paths.capture_lock("lan"), what="the net", timeout=60):
        pass
    [ended] = model.load(paths)
    assert (ended.running, ended.packets, ended.dropped, ended.error) == (False, 1, None, None)
    assert len(list(pcapng.blocks(Path(ended.files[0]).read_bytes()))) == 6


@pytest.mark.programs
def test_a_program_that_can_not_capture_leaves_no_file(tmp_path: Path) -> None:
    # tcpdump writes the begin of its file, and fails then.
    (tmp_path / "said").write_bytes(pcap([]))
    answer, paths = record(tmp_path, f"cat {shlex.quote(str(tmp_path / 'said'))}; echo 'no permission' >&2; exit 1")
    assert answer == {"error": "no permission"}
    assert model.load(paths) == []
    assert os.listdir(paths.captures()) == []


def test_what_is_no_record_of_a_capture_is_none(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    assert model.load(paths) == []
    os.makedirs(paths.captures())
    good = {"net": "lan", "since": 5.0, "filter": "", "program": "tcpdump", "owner": ""}
    for name, data in [
        ("good", good),
        ("net", {**good, "net": "../x"}),
        ("filter", {**good, "filter": "\x1b[2J"}),
        ("since", {**good, "since": "x"}),
        ("list", []),
    ]:
        Path(paths.captures(f"{name}.json")).write_text(json.dumps(data))
        Path(paths.captures(f"{name}.pcapng")).write_bytes(a_file())
    Path(paths.captures("gone.json")).write_text(json.dumps(good))
    Path(paths.captures("torn.json")).write_text("{")
    [one] = model.load(paths)
    assert one.files == [paths.captures("good.pcapng")]
    assert (one.running, one.size) == (False, len(a_file()))
