"""Disks of a machine that stands still, which get a new image in place of the one that they are written to.

The new one has the path of the old one, and QEMU's nodes have the names of before, so that libvirt needn't know. The
device reads from a hole meanwhile: it is led there and back by a mirror that copies nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import libvirt

from ..errors import HypervisorError
from ..host.files import beside
from .jobs import Jobs
from .migration import ask

_HOLE: Final = "lago-hole"
_OUT: Final = "lago-out"
_IN: Final = "lago-in"


class Swap(NamedTuple):
    """A disk whose image can be replaced.

    Attributes:
        path: the image.
        format_node: QEMU's name of what reads its format.
        file_node: QEMU's name of the file below that.
        backing_node: QEMU's name of what the image lies over.
        size: what the guest sees of it, in bytes.
        discard: whether a guest can give space back.
    """

    path: str
    format_node: str
    file_node: str
    backing_node: str
    size: int
    discard: bool


class Nodes:
    """The nodes of images that QEMU has of a machine now. Raises HypervisorError, libvirtError."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        self._nodes = {one["node-name"]: one for one in ask(domain, "query-named-block-nodes", {"flat": True})}
        graph = ask(domain, "x-debug-query-block-graph", {})
        names = {one["id"]: one.get("name", "") for one in graph["nodes"]}
        self._edges = [(names[one["parent"]], one["name"], names[one["child"]]) for one in graph["edges"]]

    def swap(self, path: str, below: str, *, discard: bool) -> Swap:
        """How to replace an image that lies over another. Raises HypervisorError if QEMU has them otherwise, OSError.

        Args:
            path: the image.
            below: what it must lie over, and nothing between.
            discard: whether a guest can give space back.
        """
        files = [name for name, node in self._nodes.items() if (node["drv"], node["file"]) == ("file", path)]
        formats = [parent for parent, kind, child in self._edges if kind == "file" and child in files]
        if len(files) != 1 or len(formats) != 1 or self._nodes[formats[0]]["drv"] != "qcow2":
            raise HypervisorError(f"QEMU has {path} as {' and '.join([*files, *formats]) or 'nothing'}")
        backing = self._child(formats[0], "backing")
        if backing is None or not os.path.samefile(self._file(backing), below):
            raise HypervisorError(f"{path} does not lie over {below}")
        sizes = {self._nodes[name]["image"]["virtual-size"] for name in (formats[0], backing)}
        if len(sizes) > 1:
            raise HypervisorError(f"{path} has another size than {below}")
        return Swap(path, formats[0], files[0], backing, sizes.pop(), discard)

    def _child(self, node: str, kind: str) -> str | None:
        return next((child for parent, name, child in self._edges if (parent, name) == (node, kind)), None)

    def _file(self, node: str) -> str:
        """The file of a node; what reads a format has another one for it."""
        return str(self._nodes[self._child(node, "file") or node]["file"])


def swap(domain: libvirt.virDomain, jobs: Jobs, disks: Iterable[tuple[Swap, str]]) -> None:
    """Replace images by others, of the same size over the same ones, which get a second name thereby.

    Raises:
        HypervisorError: QEMU refuses; the machine is good for nothing then.
        OSError: a file can't be linked.
        libvirtError: libvirt refuses, or the machine has ended.
    """
    for disk, fresh in disks:
        hole = {"driver": "null-co", "node-name": _HOLE, "size": disk.size, "read-zeroes": True}
        ask(domain, "blockdev-add", hole)
        _lead(domain, jobs, _OUT, disk.format_node, _HOLE)
        for node in (disk.format_node, disk.file_node):
            ask(domain, "blockdev-del", {"node-name": node})
        _replace(disk.path, fresh)
        for arguments in _nodes(disk):
            ask(domain, "blockdev-add", arguments)
        _lead(domain, jobs, _IN, _HOLE, disk.format_node)
        ask(domain, "blockdev-del", {"node-name": _HOLE})


def _replace(path: str, fresh: str) -> None:
    temporary = beside(path)
    os.link(fresh, temporary)
    os.replace(temporary, path)


def _nodes(disk: Swap) -> list[dict[str, Any]]:
    """What libvirt says for our description of a disk (`domain_xml`)."""
    cache = {"direct": False, "no-flush": False}
    file = {"driver": "file", "filename": disk.path, "auto-read-only": True, "discard": "unmap", "cache": cache}
    image = {
        "driver": "qcow2",
        "file": disk.file_node,
        "backing": disk.backing_node,
        "read-only": False,
        "cache": cache,
    }
    if disk.discard:
        image["discard"] = "unmap"
    return [{**file, "node-name": disk.file_node}, {**image, "node-name": disk.format_node}]


def _lead(domain: libvirt.virDomain, jobs: Jobs, job: str, source: str, target: str) -> None:
    """Have the device use another node."""
    ask(domain, "blockdev-mirror", {"job-id": job, "device": source, "target": target, "sync": "none"})
    jobs.wait(job, "ready")
    ask(domain, "job-complete", {"id": job})
    jobs.end(job)
