"""What a way to prepare guests adds to machines."""

from __future__ import annotations

from typing import NamedTuple


class SeedDisk(NamedTuple):
    """A disk for the machine to read, by virtio and after all its own; `path` is absolute."""

    path: str
    format: str = "raw"
    readonly: bool = True


class Additions(NamedTuple):
    """What the definition of a machine needs besides the topology; `oem_strings` are of SMBIOS type 11."""

    disks: tuple[SeedDisk, ...] = ()
    oem_strings: tuple[str, ...] = ()
