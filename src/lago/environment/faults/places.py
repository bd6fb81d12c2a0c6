"""What the words of network faults mean: the nics of machines, as libvirt has them now."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import LagoError, VMError, VMNotRunning
from ...host.parallel import in_parallel
from ...host.suggest import near
from .model import NET

if TYPE_CHECKING:
    from ...topology.model import Nic
    from ...virt import VM, VirtEnv


@dataclass(frozen=True, slots=True)
class Port:
    """A nic of a machine that runs.

    Attributes:
        device: its end on the host.
        alias: libvirt's name for it, such as `net0`.
        described: what libvirt has of it, as XML.
        plugged: whether the guest sees a link.
    """

    vm: str
    nic: str
    net: str
    device: str
    alias: str
    described: str
    plugged: bool


def nics(env: VirtEnv, word: str) -> list[tuple[str, Nic]]:
    """The nics that a word means: of a machine, one of a machine by its name or net, or all on a net.

    Raises:
        LagoError: there is no such machine, nic or net.
    """
    name, colon, which = word.partition(":")
    if name == NET and colon:
        env.get_net(which)
        return [(vm.name(), nic) for vm in env.get_vms().values() for nic in vm.nics() if nic.net == which]
    vm = env.get_vm(name)
    found = [nic for nic in vm.nics() if not colon or which in (nic.name, nic.net)]
    if not found:
        known = [*(nic.name for nic in vm.nics()), *vm.nets()]
        what = f"has no nic {which}" if colon else "has no nic"
        raise LagoError(f"{name} {what}", hint=near(which, known))
    return [(name, nic) for nic in found]


def group(env: VirtEnv, words: str) -> list[tuple[str, Nic]]:
    """The nics of what stands between commas. Raises LagoError, also if something is named twice."""
    parts = words.split(",")
    found = [one for part in parts for one in nics(env, part)]
    once(parts)
    return found


def once(parts: Sequence[str]) -> None:
    """Raise LagoError if a word is there twice."""
    twice = [one for one in dict.fromkeys(parts) if parts.count(one) > 1]
    if twice:
        raise LagoError(f"{twice[0]} is named twice", hint="name each once")


def disjoint(groups: Iterable[Iterable[tuple[str, Nic]]], what: str) -> None:
    """Raise LagoError if a nic is in two groups."""
    seen: set[tuple[str, str]] = set()
    for some in groups:
        keys = {(vm, nic.name) for vm, nic in some}
        if both := sorted(keys & seen):
            raise LagoError(f"{both[0][0]} is in two groups of a {what}", hint="a machine is in one group, or in none")
        seen |= keys


_asked: ContextVar[Mapping[str, str] | None] = ContextVar("asked", default=None)


@contextlib.contextmanager
def asked_once(env: VirtEnv) -> Iterator[None]:
    """Context manager: the states of machines are asked once, as nobody else changes them."""
    token = _asked.set(env.states())
    try:
        yield
    finally:
        _asked.reset(token)


def states(env: VirtEnv) -> Mapping[str, str]:
    """State of every machine in a word, by its name."""
    known = _asked.get()
    return env.states() if known is None else known


def must_run(env: VirtEnv, names: Iterable[str]) -> None:
    """Raise VMNotRunning or VMError if one of these machines does not run, or libvirt does not run it."""
    found = states(env)
    for name in dict.fromkeys(names):
        vm = env.get_vm(name)
        if vm.provider is not None:
            raise VMError(f"a plugin runs {name}, so nothing of it can be broken from here")
        if found[name] == "down":
            raise VMNotRunning(f"{name} is down, so nothing of it can be broken", hint=f"lago start {name}")


def ports(env: VirtEnv) -> list[Port]:
    """All nics of machines that run. Raises HypervisorError."""
    found = states(env)
    vms = [vm for vm in env.get_vms().values() if vm.provider is None and found[vm.name()] != "down"]
    return [port for some in in_parallel(_of_machine, vms, what="look at nics") for port in some]


def _of_machine(vm: VM) -> list[Port]:
    domain = vm.found()
    if domain is None or not domain.isActive():
        return []
    root = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own
    by_mac = {nic.mac.lower(): nic for nic in vm.nics()}
    found = []
    for one in root.iter("interface"):
        mac, target, alias, link = (one.find(tag) for tag in ("mac", "target", "alias", "link"))
        if mac is None or target is None or (nic := by_mac.get(mac.get("address", "").lower())) is None:
            continue
        found.append(
            Port(
                vm.name(),
                nic.name,
                nic.net,
                target.get("dev", ""),
                alias.get("name", "") if alias is not None else "",
                ET.tostring(one, encoding="unicode"),
                link is None or link.get("state") != "down",
            )
        )
    return found
