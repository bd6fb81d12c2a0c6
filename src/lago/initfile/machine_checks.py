"""What the keys of machines must mean together; others know their disks, and networks."""

from __future__ import annotations

from collections.abc import Iterator

from ..constants import COLLECTED_LOGS, DEPLOY_SCRIPTS, OVIRT_SCRIPTS
from ..topology.names import nic_names, same, usable
from ..topology.place import Place
from ..topology.spec import EnvSpec
from . import placeholders
from .document import Mistake, quote
from .mistakes import expected


def appliances(env: EnvSpec) -> Iterator[Mistake]:
    """Check that an appliance comes from somewhere, and nothing else does."""
    for domain in env.domains.values():
        at = domain.at
        if domain.type and not domain.ova:
            message = "url is missing, write url: file:///path/to/APPLIANCE.ova"
            yield Mistake(at, message, of_key=True, unless=at / "url")
        elif domain.ova and not domain.type:
            yield Mistake(at / "url", "only an appliance has one, write type: ova", of_key=True, unless=at / "type")


def processors(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a processor is described in one way."""
    for domain in env.domains.values():
        if domain.cpu_model and domain.cpu_custom:
            yield Mistake(domain.at / "cpu_custom", "cpu_model is given too, remove one of them", of_key=True)


def firmware(env: EnvSpec) -> Iterator[Mistake]:
    """Check that secure boot has what it needs."""
    for domain in env.domains.values():
        if domain.secure_boot and domain.firmware != "uefi":
            yield Mistake(domain.at / "secure_boot", "it needs firmware: uefi, add that", of_key=True)
        if domain.secure_boot and domain.machine == "pc":
            yield Mistake(domain.at / "machine", "secure_boot needs the machine q35, remove it")


def scripts(env: EnvSpec) -> Iterator[Mistake]:
    """Check that scripts are lists of paths."""
    for domain in env.domains.values():
        for key in (DEPLOY_SCRIPTS, OVIRT_SCRIPTS):
            at, listed = domain.at / "metadata" / key, domain.metadata.get(key)
            if isinstance(listed, list):
                for index, script in enumerate(listed):
                    if isinstance(script, str) and (message := placeholders.told(script, variables=True)):
                        yield Mistake(at / index, message, alone=True)
                    elif not isinstance(script, str) or not script:
                        yield Mistake(at / index, expected="the path of a script")
            elif listed is not None:
                yield Mistake(at, expected="a list of scripts such as [setup.sh]")


def deploy_order(env: EnvSpec) -> Iterator[Mistake]:
    """Check that scripts come after those of other machines, and never after their own."""
    for name, domain in env.domains.items():
        at = domain.at / "deploy-after"
        for other in domain.deploy_after:
            if other not in env.domains:
                message = f"there is no machine {quote(other)}{expected(other, env.domains)}"
                yield Mistake(at, message, unless=Place(("domains", other)))
        if circle := _circle(env, name):
            yield Mistake(at, f"machines wait for each other in a circle: {' -> '.join(circle)}")


def _circle(env: EnvSpec, name: str) -> list[str]:
    """The shortest way from a machine to itself over those that its scripts come after; empty if there is none."""
    ways, seen = [[name]], {name}
    for way in ways:
        for other in env.domains[way[-1]].deploy_after:
            if other == name:
                return [*way, name]
            if other in env.domains and other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def command_names(env: EnvSpec) -> Iterator[Mistake]:
    """Check that what commands say is not collected to where logs are."""
    for domain in env.domains.values():
        for name in domain.artifact_commands:
            if name in COLLECTED_LOGS:
                message = "a log is collected under this name, choose another"
                yield Mistake(domain.at / "artifact-commands" / name, message, of_key=True)


def some(env: EnvSpec) -> Iterator[Mistake]:
    """There are machines."""
    if not env.domains:
        at = Place(("domains",))
        message = "there are no machines, so there is nothing to start"
        yield Mistake(at, message, of_key=True, unless=at, kind="warning")


def tags(env: EnvSpec) -> Iterator[Mistake]:
    """Check that shares of a machine have different tags."""
    for domain in env.domains.values():
        seen: set[str] = set()
        for share in domain.shares:
            if share.tag and share.tag in seen:
                message = f"{quote(share.tag)} is the tag of another share, choose another"
                yield Mistake(share.at / "tag", message)
            seen.add(share.tag)


def own_names(env: EnvSpec) -> Iterator[Mistake]:
    """Check that the name of a machine is no other's, nor one that another gets for a nic, in DNS or as a host name."""
    owners: dict[str, str] = {}
    for name in filter(usable, env.domains):
        other = owners.setdefault(same(name), name)
        if other != name:
            case = (
                "they differ in case only" if other.lower() == name.lower() else "their guests' host names are the same"
            )
            message = f"{name} and {other} can't be told apart, {case}: choose another name"
            yield Mistake(env.domains[name].at, message, of_key=True, other=env.domains[other].at)
    for name, domain in env.domains.items():
        nets = [nic.net for nic in domain.nics if nic.net]
        for net, aliases in zip(nets, nic_names(name, nets), strict=True):
            for alias in dict.fromkeys(owners.get(same(alias)) for alias in aliases):
                if alias is not None:
                    message = f"this is also the name of {name} on the net {net}, choose another"
                    yield Mistake(env.domains[alias].at, message, of_key=True)


def own_files(env: EnvSpec) -> Iterator[Mistake]:
    """Check that no two disks are the same file, as `b_c` of the machine a and `c` of the machine a_b would be."""
    owners: dict[str, tuple[str, str]] = {}
    for name, domain in env.domains.items():
        for disk in domain.disks:
            vm, other = owners.setdefault(f"{name}_{disk.name}", (name, disk.name))
            if vm != name:
                message = f"its disk {disk.name} would be the same file as the disk {other} of {vm}, rename one of them"
                yield Mistake(domain.at, message, of_key=True)
