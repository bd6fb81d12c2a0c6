"""Delays without the kernel's help: QEMU holds all packets of a nic and lets them go together, again and again.

Its `filter-buffer` does so both ways. A packet waits for half of the interval on average, and the answer to it, which
comes soon after it was let go, for nearly all of one; so the interval is two thirds of what a round trip is to take
longer. https://www.qemu.org/docs/master/system/qemu-manpage.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import libvirt

from ...errors import HypervisorError
from ...host.parallel import in_parallel
from ...virt.connection import unless_gone
from ...virt.migration import ask
from .model import Fault
from .places import Port, group
from .values import spell_seconds

if TYPE_CHECKING:
    from ...virt import VM, VirtEnv

BY: Final = "QEMU's filter-buffer"
"""How `means` of a fault that is done so begins."""

_OURS: Final = "lago-delay-"


def told(delay: float) -> str:
    """What is said of a delay that is done so."""
    interval = _interval(delay)
    least, most = (spell_seconds(round(value, 3)) for value in (interval, 2 * interval))
    return f"{BY}: round trips take {least} to {most} longer, also those of Lago's own way in"


def _interval(delay: float) -> float:
    return delay * 2 / 3


def possible(vm: VM) -> bool:
    """Whether QEMU has the packets of a machine in its hands; with vhost the kernel has."""
    pid = vm.env.hypervisor.process(vm.libvirt_name())
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return True
    return not any(b"vhost" in word for last, word in pairwise(words) if last == b"-netdev")


def hold(env: VirtEnv, changed: Iterable[Fault], now: Sequence[Fault], there: Sequence[Port]) -> None:
    """See that QEMU delays what faults say, and nothing else.

    Args:
        changed: faults that may hold no longer, or not yet.

    Raises:
        HypervisorError: QEMU refuses.
    """
    names = {vm for one in [*changed, *now] if one.means.startswith(BY) for vm in _delays(env, [one])}
    if not names:
        return
    delays = _delays(env, now)
    here = {name: [port for port in there if port.vm == name] for name in names}
    running = [name for name, ports in here.items() if ports]
    in_parallel(lambda name: _hold(env.get_vm(name), here[name], delays.get(name, {})), running, what="delay packets")


def _delays(env: VirtEnv, faults: Iterable[Fault]) -> dict[str, dict[str, float]]:
    """Seconds by nic by machine."""
    found: dict[str, dict[str, float]] = {}
    for fault in faults:
        if not fault.means.startswith(BY):
            continue
        for target in fault.targets:
            for vm, nic in group(env, target):
                nics = found.setdefault(vm, {})
                nics[nic.name] = nics.get(nic.name, 0.0) + fault.settings["delay"]
    return found


def _hold(vm: VM, ports: Iterable[Port], delays: Mapping[str, float]) -> None:
    wanted = {}
    for port in ports:
        if port.nic in delays:
            interval = max(1, round(_interval(delays[port.nic]) * 1e6))
            wanted[f"{_OURS}{port.alias}-{interval}"] = {
                "qom-type": "filter-buffer",
                "netdev": f"host{port.alias}",
                "queue": "all",
                "interval": interval,
            }
    domain = vm.domain()
    try:
        with unless_gone():
            objects = ask(domain, "qom-list", {"path": "/objects"})
            has = {one["name"] for one in objects if one["name"].startswith(_OURS)}
            for name in has - set(wanted):
                ask(domain, "object-del", {"id": name})
            for name in set(wanted) - has:
                ask(domain, "object-add", {"id": name, **wanted[name]})
    except libvirt.libvirtError as error:
        raise HypervisorError(f"QEMU does not delay the packets of {vm.name()}: {error}") from error
