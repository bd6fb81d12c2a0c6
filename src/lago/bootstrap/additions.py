"""What a way to prepare guests adds to machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDisk:
    """A disk for the machine to read, by virtio and after all its own; `path` is absolute."""

    path: str
    format: str = "raw"
    readonly: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """What the definition of a machine needs besides the topology; `oem_strings` are of SMBIOS type 11."""

    disks: tuple[SeedDisk, ...] = ()
    oem_strings: tuple[str, ...] = ()
