"""What an init file says and nothing else decides: it is a part of what the user wants, and of the decision.

It stands apart from `spec`, so that whoever only reads a prefix does not pay for the rest of what an init file has.
"""

# Types of attributes stay types, and are not made text: `state` reads values by them.

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..constants import DEFAULT_MEMORY_MIB, DEFAULT_VCPU
from .place import NOWHERE, Place


def key_of(attribute: dataclasses.Field[Any]) -> str:
    """Return the key of an attribute in an init file, and in the state on disk."""
    key: str = attribute.metadata.get("key", attribute.name)
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpRange:
    """Dynamic addresses of a net, as last octets, both included."""

    start: int
    end: int
    at: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def octets(self) -> range:
        """The last octets in it; none if it was not read completely."""
        return range(self.start, self.end + 1) if self.start else range(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A directory of the host that the guest can mount as `tag`."""

    path: str
    tag: str
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFile:
    """A file that a guest shall have; `mode` is in octal digits."""

    content: str
    mode: str | None = None

    @property
    def permissions(self) -> str:
        """Its mode in four digits, that of readable files if none is given."""
        return (self.mode or "644").rjust(4, "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an init file says of a machine and nothing else decides. `memory` is in MiB.

    Attributes:
        cpu_custom: the content of libvirt's <cpu>: `@name` is an attribute, `#text` the text.
        bootstrap: how it learns its name and keys; without it as its template says.
        cloud_init: more for its user-data.
        files: by path in the guest.
        boot: what it boots from; without it the template's kernel, if there is one.
        deploy_after: the machines whose deploy scripts have ended before its own begin.
        artifact_commands: what is run on it when artifacts are collected, by the name of the file for its output.
    """

    name: str
    memory: int = DEFAULT_MEMORY_MIB
    vcpu: int = DEFAULT_VCPU
    cpu_model: str | None = None
    cpu_custom: Mapping[str, Any] | None = None
    machine: str = "q35"
    firmware: Literal["bios", "uefi"] = "bios"
    secure_boot: bool = False
    tpm: bool = False
    boot: Literal["kernel", "disk"] | None = None
    shares: tuple[Share, ...] = ()
    bootstrap: Literal["credentials", "cloud-init", "virt-sysprep", "none"] | None = None
    cloud_init: Mapping[str, Any] = field(default_factory=dict, metadata={"key": "cloud-init"})
    files: Mapping[str, GuestFile] = field(default_factory=dict)
    distro: str | None = None
    root_password: str | None = field(default=None, metadata={"key": "root-password"})
    ssh_user: str | None = field(default=None, metadata={"key": "ssh-user"})
    ssh_password: str | None = field(default=None, metadata={"key": "ssh-password"})
    boot_time_sec: int | None = None
    service_provider: str | None = None
    vm_type: str | None = field(default=None, metadata={"key": "vm-type"})
    vm_provider: str | None = field(default=None, metadata={"key": "vm-provider"})
    metadata: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    deploy_after: tuple[str, ...] = field(default=(), metadata={"key": "deploy-after"})
    artifacts: tuple[str, ...] = ()
    artifact_commands: Mapping[str, str] = field(default_factory=dict, metadata={"key": "artifact-commands"})
    skip_export: bool = field(default=False, metadata={"key": "skip-export"})
