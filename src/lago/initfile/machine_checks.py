"""What the keys of machines must mean together; others know their disks, and networks."""

from __future__ import annotations

from collections.abc import Iterator

from ..constants import DEPLOY_SCRIPTS, OVIRT_SCRIPTS
from ..topology.names import nic_names, same, usable
from ..topology.spec import EnvSpec
from .document import Fault, quoted


def appliances(env: EnvSpec) -> Iterator[Fault]:
    """An appliance comes from somewhere, and nothing else does."""
    for domain in env.domains.values():
        at = domain.at
        if domain.type and not domain.ova:
            message = "url is missing, write url: file:///path/to/APPLIANCE.ova"
            yield Fault(at, message, of_key=True, unless=at / "url")
        elif domain.ova and not domain.type:
            yield Fault(at / "url", "only an appliance has one, write type: ova", of_key=True, unless=at / "type")


def processors(env: EnvSpec) -> Iterator[Fault]:
    """A processor is described in one way."""
    for domain in env.domains.values():
        if domain.cpu_model and domain.cpu_custom:
            yield Fault(domain.at / "cpu_custom", "cpu_model is given too, remove one of them", of_key=True)


def firmware(env: EnvSpec) -> Iterator[Fault]:
    """Secure boot has what it needs."""
    for domain in env.domains.values():
        if domain.secure_boot and domain.firmware != "uefi":
            yield Fault(domain.at / "secure_boot", "it needs firmware: uefi, add that", of_key=True)
        if domain.secure_boot and domain.machine == "pc":
            yield Fault(domain.at / "machine", "secure_boot needs the machine q35, remove it")


def services(env: EnvSpec) -> Iterator[Fault]:
    """What manages services is said under one name."""
    for domain in env.domains.values():
        if domain.service_class and domain.service_provider:
            yield Fault(domain.at / "service_class", "service_provider is given too, remove this", of_key=True)


def scripts(env: EnvSpec) -> Iterator[Fault]:
    """Scripts are lists of paths."""
    for domain in env.domains.values():
        for key in (DEPLOY_SCRIPTS, OVIRT_SCRIPTS):
            at, listed = domain.at / "metadata" / key, domain.metadata.get(key)
            if isinstance(listed, list):
                for index, script in enumerate(listed):
                    if not isinstance(script, str) or not script:
                        yield Fault(at / index, expected="the path of a script")
            elif listed is not None:
                yield Fault(at, expected="a list of scripts such as [setup.sh]")


def tags(env: EnvSpec) -> Iterator[Fault]:
    """Shares of a machine have different tags."""
    for domain in env.domains.values():
        seen: set[str] = set()
        for share in domain.shares:
            if share.tag and share.tag in seen:
                message = f"{quoted(share.tag)} is the tag of another share, choose another"
                yield Fault(share.at / "tag", message)
            seen.add(share.tag)


def own_names(env: EnvSpec) -> Iterator[Fault]:
    """The name of a machine is no other's, nor one that another gets for a nic, in DNS or as a host name."""
    owners: dict[str, str] = {}
    for name in filter(usable, env.domains):
        other = owners.setdefault(same(name), name)
        if other != name:
            case = (
                "they differ in case only" if other.lower() == name.lower() else "their guests' host names are the same"
            )
            message = f"{name} and {other} can't be told apart, {case}: choose another name"
            yield Fault(env.domains[name].at, message, of_key=True)
    for name, domain in env.domains.items():
        nets = [nic.net for nic in domain.nics if nic.net]
        for net, aliases in zip(nets, nic_names(name, nets), strict=True):
            for alias in dict.fromkeys(owners.get(same(alias)) for alias in aliases):
                if alias is not None:
                    message = f"this is also the name of {name} on the net {net}, choose another"
                    yield Fault(env.domains[alias].at, message, of_key=True)


def own_files(env: EnvSpec) -> Iterator[Fault]:
    """Two disks are not the same file, as `b_c` of the machine a and `c` of the machine a_b would be."""
    owners: dict[str, tuple[str, str]] = {}
    for name, domain in env.domains.items():
        for disk in domain.disks:
            vm, other = owners.setdefault(f"{name}_{disk.name}", (name, disk.name))
            if vm != name:
                message = f"its disk {disk.name} would be the same file as the disk {other} of {vm}, rename one of them"
                yield Fault(domain.at, message, of_key=True)
