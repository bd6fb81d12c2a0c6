"""Whatever strangers write, it is taken or refused: no traceback, no wait, and no file elsewhere.

How many examples there are is said by `tests/properties.py`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lago import config
from lago.cli.journal import for_people
from lago.disks import image_header, ova
from lago.environment import facts
from lago.environment.capsule import about, description
from lago.environment.capsule import archive as capsules
from lago.environment.snapshots.index import Index
from lago.errors import LagoError, TemplateError, printable
from lago.guest import console_log, transfer
from lago.guest.ssh import Guest
from lago.host import archive, shape
from lago.initfile import document, parse
from lago.initfile.keys import DISK, DOMAIN, ENVIRONMENT, NET, NIC
from lago.journal import kinds, reading
from lago.paths import Paths
from lago.subnet_lease import SubnetStore
from lago.templates import TemplateRepository, checksums
from lago.templates.lockfile import LockFile
from lago.templates.metadata import check_metadata
from lago.topology import state
from lago.topology.model import Domain
from lago.topology.variables import fill_in_address
from lago.virt import clock, stuck

T = TypeVar("T")

ODD = st.sampled_from(
    [
        *("", "..", "../../etc/passwd", "/etc/shadow", "\0", "\n", "\x1b[2J", "\u202e", "$HOME", "${X}", "%s", "[/]"),
        *("-o", "--", "0x1", "NaN", "1e999", "9" * 400, "\udc80", "http://x/", "file:///", "ftp://x", "a" * 5000, "*"),
        *("a:b:c", "lago", "{}"),
    ]
)
TEXT = st.one_of(ODD, st.text(max_size=20))
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.sampled_from([0, -1, 1 << 63, 1 << 70, 10**400])
)


def like(*keys: str) -> st.SearchStrategy[Any]:
    """JSON whose objects often have keys that are known."""
    names = st.one_of(st.sampled_from(keys), TEXT)

    def more(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5))

    return st.recursive(PLAIN, more, max_leaves=15)


SMALL = like("name", "path")


def broken(text: str, draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """A text with something put in, or left out, somewhere."""
    begin: int = draw(st.integers(0, len(text)))
    end: int = draw(st.integers(begin, min(len(text), begin + 30)))
    new: str = draw(TEXT)
    return text[:begin] + new + text[end:]


def deep(value: dict[str, Any], draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """A document with something else at one of its places."""
    copy = json.loads(json.dumps(value))
    at: Any = copy
    while True:
        if not at or not isinstance(at, dict | list):
            return copy
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key] or draw(st.integers(0, 3)) == 0:
            at[key] = draw(SMALL)
            return copy
        at = at[key]


def taken(read: Callable[[], T]) -> T | None:
    """What is read, or nothing if it is refused, which says why."""
    try:
        return read()
    except LagoError as error:
        refused = error.render()
    assert refused.strip()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", refused)
    return None


def dumped(value: Any) -> str:
    return json.dumps(value, default=str)


INIT_FILE = (
    "prototypes:\n  p: {memory: 512, disks: [{template_name: mini, name: root}]}\ndomains:\n"
    "  vm0: {based-on: p, nics: [{net: lan, ip: 192.168.200.2}], metadata: {deploy-scripts: [a]}}\n"
    "  vm1: {disks: [{type: empty, size: 1G}, {url: 'http://x/$Y'}], shares: [{path: .}], nics: [{net: lan}]}\n"
    "nets:\n  lan: {management: true, gw: 192.168.200.1, dhcp: {start: 100, end: 200}, dns_records: {a: vm0}}\n"
)
KEYS = sorted({*ENVIRONMENT.fields, *DOMAIN.fields, *NET.fields, *DISK.fields, *NIC.fields})


ANY_INIT_FILE = like(*KEYS)
DATA = yaml.safe_load(INIT_FILE)


def examined(text: str) -> None:
    found = taken(lambda: document.loads(text, "LagoInitFile"))
    if found is not None:
        for finding in parse.examine(found).findings:
            assert str(finding)
        taken(lambda: parse.parse(found))


@given(st.data())
def test_texts_of_init_files(data: st.DataObject) -> None:
    examined(broken(INIT_FILE, data.draw))


@given(st.data())
def test_init_files(data: st.DataObject) -> None:
    value = data.draw(st.one_of(ANY_INIT_FILE, st.just(deep(DATA, data.draw))))
    examined(dumped(value))


METADATA = ("kernel", "initrd", "ssh-user", "default-user", "minimum-memory", "format", "distro", "guest-agent")


@given(like(*METADATA, "cmdline"))
def test_metadata(raw: Any) -> None:
    found = taken(lambda: check_metadata(raw, "x", "y"))
    if found is not None:
        assert not {"kernel", "initrd", "kernel-efi"} & {*found}
        assert all(isinstance(found[key], str) for key in ("ssh-user", "distro", "cmdline", "format") if key in found)
        assert "\n" not in "".join(str(found.get(key, "")) for key in ("ssh-user", "default-user", "cmdline"))


DOCUMENT: dict[str, Any] = {
    "name": "team",
    "sources": {
        "a": {"type": "http", "args": {"baseurl": "http://127.0.0.1:9/"}},
        "b": {"type": "file", "args": {"root": "/nowhere"}},
        "c": {"type": "cloud", "args": {"baseurl": "http://127.0.0.1:9/", "checksums": "SUMS"}},
    },
    "templates": {
        name: {"metadata": {"distro": "x"}, "versions": {"1": {"source": source, "handle": "h", "timestamp": 1}}}
        for name, source in (("one", "a"), ("two", "b"), ("three", "c"))
    },
}


ANY_DOCUMENT = like("name", "sources", "templates", "versions")


def in_a_file(text: str, read: Callable[[str], T], name: str = "file") -> T:
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, name)
        Path(path).write_text(text, encoding="utf-8", errors="surrogatepass")
        return read(path)


def asked(path: str) -> None:
    found = taken(lambda: TemplateRepository.from_url(path))
    if found is None:
        return
    assert re.fullmatch(rf"[^:.{shape.CONTROL}][^:{shape.CONTROL}]*", found.name)
    for name in found.names():
        if (template := taken(lambda name=name: found.get_by_name(name))) is not None:  # type: ignore[misc]
            for version in template.versions.values():
                assert version.base.count(":") == 2
                assert version.timestamp() == version.timestamp()


@given(st.data())
def test_repository_documents(data: st.DataObject) -> None:
    in_a_file(dumped(deep(DOCUMENT, data.draw)), asked)
    in_a_file(broken(json.dumps(DOCUMENT), data.draw), asked)
    in_a_file(dumped(data.draw(ANY_DOCUMENT)), asked)


LOCK = {"images": {"mini": {"image": "lago:mini:1", "sha256": "0" * 64}}, "version": 1}


@given(st.data())
def test_lock_files(data: st.DataObject) -> None:
    def locked(path: str) -> None:
        found = taken(lambda: LockFile(path.removesuffix(".lock")))
        if found is not None and (one := found.wanted("mini", None)) is not None:
            assert one.image.count(":") == 2

    for text in (dumped(deep(LOCK, data.draw)), broken(json.dumps(LOCK), data.draw), dumped(data.draw(SMALL))):
        in_a_file(text, locked, "x.lock")


@given(st.text(), st.sampled_from(["x", "*", "[", "x*"]))
def test_checksum_files(text: str, pattern: str) -> None:
    lines = text + "\n" + "a" * 64 + "  x\nSHA256 (y) = " + "b" * 64
    found = taken(lambda: checksums.find(lines, pattern, "SUMS"))
    assert found is None or len(found[1]) in (40, 64, 96, 128)


OVF = """<?xml version="1.0"?>
<Envelope xmlns:ovf="http://x" xmlns:rasd="http://y"><References><File ovf:id="f" ovf:href="disk"/></References>
<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f"/></DiskSection><VirtualSystem><VirtualHardwareSection>
<Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
<Item><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
<Item><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>ovf:/disk/d</rasd:HostResource></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>"""


@given(st.data())
def test_descriptions_of_appliances(data: st.DataObject) -> None:
    text = broken(broken(OVF, data.draw), data.draw).encode(errors="surrogatepass")
    found = taken(lambda: ova.parse(text, "x.ova"))
    if found is not None:
        assert "/" not in found.disk
        assert found.memory >= 1


@given(st.binary(max_size=300), st.sampled_from([b"QFI\xfb\0\0\0\3", b"KDMV", b"conectix", b"", b"# Disk\nversion=1"]))
def test_beginnings_of_images(data: bytes, magic: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(magic + data)
        file.flush()
        with contextlib.suppress(ValueError):
            assert image_header.read(file.name).format
        image_header.is_archive(file.name)
        image_header.looks_like_disk(file.name)


INDEX = {
    "snapshots": [
        {"name": "a", "created": 1.5, "vms": {"vm0": {"disks": {"root": "images/x"}, "memory": "m"}}, "parent": None}
    ],
    "current": "a",
    "tops": {"vm0": {"root": "images/y"}},
    "layers": {"images/y": ["images/x", "qcow2"]},
    "busy": False,
    "serial": 3,
}


@given(st.data())
def test_files_of_an_environment(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        paths = Paths(directory)
        os.mkdir(paths.virt())
        for path, good in (
            (paths.snapshot_index(), INDEX),
            (paths.metadata(), {"libvirt_url": "private", "template_store": "/x"}),
            (paths.virt("env"), {"nets": ["lan"], "vms": ["vm0"]}),
            (paths.virt("net-lan"), {"name": "lan", "type": "nat", "management": True, "gw": "192.168.200.1"}),
            (paths.virt("vm-vm0"), {"name": "vm0", "memory": 512, "nics": [], "disks": [], "metadata": {}}),
        ):
            Path(path).write_text(dumped(deep(good, data.draw)))
        taken(lambda: Index.load(paths))
        taken(lambda: facts.load(paths))
        found = taken(lambda: state.load(paths))
        if found is not None:
            assert all("/" not in name for name in (*found.domains, *found.nets))


@given(st.one_of(st.text(), st.builds(dumped, like("return", "error"))))
def test_answers_of_agents(answer: str) -> None:
    assert isinstance(clock.seconds(answer), float)


@given(st.binary(max_size=2000))
def test_words_on_consoles(said: bytes) -> None:
    text = console_log.text(said)
    stuck.stuck(text)
    stuck.lines(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printable(text))


def journal_line(kind: str, raw: Any) -> bytes:
    """A line whose keys have whatever values."""
    return dumped({"t": 1, "kind": kind, "id": raw, "vm": raw, "vms": raw, "text": raw}).encode(errors="replace")


JOURNAL_LINES = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda raw: dumped(raw).encode(errors="replace"), like("t", "kind", "id", "vm", "text", "outcome")),
    st.builds(journal_line, st.sampled_from([*kinds.KINDS, "x"]), PLAIN),
    st.sampled_from([b'{"t":1,"kind":"note","text":"a"}', b"[" * 40_000, b"9" * 20_000, b"x" * 70_000]),
)


@given(st.lists(JOURNAL_LINES, max_size=8))
def test_journals(lines: list[bytes]) -> None:
    show = for_people()
    with tempfile.TemporaryDirectory() as place:
        Path(place, "journal.jsonl").write_bytes(b"\n".join(lines))
        found = list(reading.entries(place))
        spans = reading.spans(found)
    assert len(spans) <= len(found)
    for one in found:
        assert isinstance(one["t"], float)
        assert isinstance(one["kind"], str)
        shown = show(one)
        assert shown is None or "\n" not in shown
    assert all(span.seconds is None or span.seconds >= 0 for span in spans)


@given(TEXT, st.sampled_from(["http://x/{}", "{}", "file:///{}", "$A/{}"]))
def test_addresses(text: str, form: str) -> None:
    variables = {"A": "http://a", "SECRET": "s3cret", "HOME": "/h", "X": "s3cret"}
    found = taken(lambda: fill_in_address(form.format(text), variables))
    if found is not None and found.startswith("http://x/"):
        assert "s3cret" not in found


class Answering(Guest):
    """A guest that answers whatever it is asked with a file, which its `key` names."""

    def session(self, _command: str, attempt: Callable[[list[str]], int]) -> int:
        """Have the client get the answer."""
        return attempt(["cat", self.key])

    def check(self, code: int, details: str = "") -> None:
        """There is no connection that could be lost."""


KINDS = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, b"S"]


def stream(entries: list[tuple[str, bytes, str, int]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for name, kind, to, mode in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, to, mode
            info.size = 5 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"their"))
    return file.getvalue()


@pytest.mark.programs
def test_streams_of_guests(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    (mine / "file").write_text("mine")
    os.chmod(mine / "file", 0o600)
    up = "/.." * 12
    elsewhere = (f".{up}{mine}/file", str(mine / "file"))
    names = st.sampled_from(["./x", "./x/y", "x", "./l", "./l/file", "..", "./x/../y", "./x/l/file", *elsewhere])
    links = st.sampled_from([str(mine), str(mine / "file"), "../../../mine", f"..{up}{mine}", ".", "x", "l", "/"])
    entry = st.tuples(names, st.sampled_from(KINDS), links, st.sampled_from([0o644, 0o4755, 0o000, 0o777, 0o2770]))
    told = st.sampled_from(["/x", "/l", "/l/file", f"{up}{mine}/file", "", "/", "x", "/x/y", "//x", "/./x"])
    number = 400 if request.config.getoption("--slow") else 15

    @settings(max_examples=number)
    @given(st.lists(entry, max_size=6), told, st.binary(max_size=10), st.booleans())
    def nothing_is_taken(entries: list[tuple[str, bytes, str, int]], name: str, more: bytes, cut: bool) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
            place, target = Path(directory), Path(directory) / "target"
            target.mkdir()
            sent = stream(entries)
            answer = place / "answer"
            answer.write_bytes(os.fsencode(name) + b"\0" + (sent[:700] if cut else sent) + more)
            guest = Answering("vm0", "root", "", str(answer), "", list)
            taken(lambda: transfer.fetch(guest, {"/x": "got"}, str(target)))
            assert sorted(os.listdir(place)) == ["answer", "target"]
            assert {*os.listdir(target)} <= {"got"}
            assert not (target / "got").is_symlink()
            os.system(f"chmod -R u+rwx {shlex.quote(directory)}")
        assert sorted(os.listdir(tmp_path)) == ["mine"]
        assert ((mine / "file").read_text(), (mine / "file").stat().st_mode & 0o7777) == ("mine", 0o600)
        assert (os.listdir(mine), mine.stat().st_mode & 0o7777) == (["file"], 0o700)

    nothing_is_taken()


@given(st.lists(st.tuples(TEXT, st.sampled_from(KINDS), TEXT, st.just(0o644)), max_size=4), st.data())
def test_archives(entries: list[tuple[str, bytes, str, int]], data: st.DataObject) -> None:
    sent = bytearray()
    with contextlib.suppress(ValueError, UnicodeEncodeError):
        # What no tar can hold.
        sent += stream(entries)
    for _ in range(data.draw(st.integers(0, 3))):
        if sent:
            sent[data.draw(st.integers(0, min(len(sent) - 1, 3000)))] = data.draw(st.integers(0, 255))
    sent = sent[: data.draw(st.integers(0, len(sent)))]
    with contextlib.suppress(ValueError):
        for member in archive.files(io.BytesIO(sent), 50):
            assert 0 <= member.place <= member.place + member.size <= len(sent)
            assert "\0" not in member.name


@given(st.one_of(st.text(), st.builds(dumped, like("uuid"))), TEXT)
def test_lease_files(text: str, uuid: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        uuids = Path(directory) / "uuid"
        uuids.write_text("0" * 32)
        for octet, said in ((200, text), (201, dumped([str(uuids), uuid])), (202, dumped([uuid, "0" * 32]))):
            path = Path(directory) / f"{octet}.lease"
            path.write_text(said, encoding="utf-8", errors="surrogatepass")
        store = SubnetStore(directory, 200, 203)
        taken(lambda: [lease.stale() for lease in store.list_leases()])
        taken(lambda: store.acquire(str(uuids)))
        assert uuids.read_text() == "0" * 32


@given(st.one_of(st.text(), st.builds("[lago]\n{} = {}\n".format, st.sampled_from(["accel", "log_limit"]), TEXT)))
def test_files_of_settings(text: str) -> None:
    def read(path: str) -> None:
        for (section, key), value in config._parse(path).items():
            assert section
            assert key
            taken(lambda key=key, value=value: config.read(value, key, int))  # type: ignore[misc]

    in_a_file(text, lambda path: taken(lambda: read(path)), "lago.conf")


def test_what_is_refused_of_metadata_says_why() -> None:
    with pytest.raises(TemplateError, match="its 'ssh-user' is"):
        check_metadata({"ssh-user": "x\nProxyCommand y"}, "x", "y")


CAPSULE = {
    "version": 1,
    "test": "test_x.py::test_y",
    "created": 1.0,
    "host": {"QEMU": "7.2"},
    "environments": {"default": {"machines": {"vm0": "down"}, "faults": ["cut vm0"]}},
}


@given(st.data())
def test_what_capsules_say_of_themselves(data: st.DataObject) -> None:
    raw = data.draw(st.one_of(like(*CAPSULE), st.just(deep(CAPSULE, data.draw))))
    with contextlib.suppress(ValueError):
        found = about.read(raw)
        assert all(re.fullmatch(about.NAME, name) for name in found.environments)
        assert "\n" not in found.test


@given(st.binary(max_size=600), st.integers(0, 4000), st.booleans())
def test_archives_of_capsules(odd: bytes, at: int, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "file").write_bytes(b"content" * 100)
        with capsules.appearing(str(place / "sound")) as file:
            capsules.write(file, {"version": 1}, {"default/file": str(place / "file")}, lambda _: None)
        data = (place / "sound").read_bytes()
        if packed:
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
        broken_ = data[:at] + odd + data[at + len(odd) :]
        broken_ = zstandard.compress(broken_) if packed else broken_
        (place / "new").mkdir()

        def unpack() -> None:
            reader = capsules.Reader(io.BytesIO(broken_), "x")
            reader.unpack(lambda name: str(place / "new" / name.replace("/", "-")), 1 << 20, lambda _: None)

        taken(unpack)
        assert sorted(os.listdir(place)) == ["file", "new", "sound"]


XML = (
    "<domain type='qemu'><name>00000000-vm0</name><memory>1</memory><os><type>hvm</type></os><devices>"
    "<disk type='file'><source file='/x/images/y'/><target dev='vda'/></disk></devices></domain>"
)


@given(st.data())
def test_descriptions_of_machines_in_capsules(data: st.DataObject) -> None:
    text = broken(XML, data.draw).encode(errors="surrogatepass")
    length = data.draw(st.one_of(st.just(len(text)), st.integers(-9, 1 << 40)))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "state")
        path.write_bytes(b"%d\n" % length + text)
        machine = Domain(name="vm0", nics=(), disks=(), mgmt_net=None)
        with contextlib.suppress(ValueError):
            description.rewrite(str(path), "0" * 32, machine, Paths(directory), {}, "true")
            assert b"/x/images" not in path.read_bytes()
        assert os.listdir(directory) == ["state"]
