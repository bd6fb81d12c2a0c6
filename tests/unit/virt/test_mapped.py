"""Descriptions of machines that map saved files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lago.virt import mapped

PLAIN = """\
<domain type="qemu" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>one</name>
  <memoryBacking><source type="file"/><access mode="shared"/></memoryBacking>
  <cpu mode="maximum"/>
  <qemu:commandline><qemu:arg value="-old"/></qemu:commandline>
</domain>
"""
CELLS = PLAIN.replace(
    '<cpu mode="maximum"/>',
    '<cpu><numa><cell id="0" cpus="0" memory="66560" unit="KiB"/><cell id="1" cpus="1" memory="65536" unit="KiB"/>'
    "</numa></cpu>",
)


@pytest.fixture
def memory(tmp_path: Path) -> str:
    (tmp_path / "memory").write_bytes(b"x" * 8192)
    return str(tmp_path / "memory")


def words(root: ET.Element) -> list[str]:
    """QEMU's arguments."""
    return [element.get("value", "") for element in root.iter() if element.tag.endswith("}arg")]


def test_a_machine_maps_a_file_by_arguments_of_its_own(memory: str) -> None:
    root = ET.fromstring(PLAIN)
    mapped.describe(root, memory)
    option, backend, *rest = words(root)
    assert option == "-object"
    found = json.loads(backend)
    assert (found["id"], found["mem-path"], found["size"], found["share"]) == (mapped.NAME, memory, 8192, False)
    assert rest == ["-machine", f"memory-backend={mapped.NAME}", "-incoming", "defer"]
    assert root.find("memoryBacking") is None


def test_cells_are_libvirts_and_private(memory: str) -> None:
    root = ET.fromstring(CELLS)
    assert mapped.cells(root) == [66560 << 10, 65536 << 10]
    mapped.describe(root, memory)
    assert words(root) == ["-incoming", "defer"]
    assert [access.get("mode") for access in root.iterfind("memoryBacking/access")] == ["private"]


@pytest.mark.parametrize("text", [PLAIN, CELLS])
def test_what_is_copied_is_in_files_that_others_can_write_to(memory: str, text: str) -> None:
    root = ET.fromstring(text)
    mapped.describe(root, memory)
    mapped.describe(root, None)
    assert words(root) == ["-incoming", "defer"]
    assert [access.get("mode") for access in root.iterfind("memoryBacking/access")] == ["shared"]


@pytest.mark.parametrize(
    ("block", "main"),
    [("lago.ram", True), ("pc.ram", True), ("ram-node1", True), ("pc.bios", False), ("0000:00:01.0/vga.vram", False)],
)
def test_memory_of_a_machine_is_told_from_other_memory(block: str, main: bool) -> None:
    assert mapped.is_main(block) == main
