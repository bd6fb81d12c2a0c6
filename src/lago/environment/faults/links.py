"""What libvirt itself does to the link of a nic: whether it is plugged, and how much passes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import libvirt

from ...errors import LagoError
from ...host.parallel import in_parallel
from ...virt.connection import refusals, unless_gone
from .model import Fault
from .places import Port, group

if TYPE_CHECKING:
    from ...virt import VirtEnv

_REMEDY: Final = "libvirt does it by the kernel's htb and sfq; as root: modprobe sch_htb; modprobe sch_sfq"
_KIB: Final = 8 * 1024


def means(fault: Fault) -> str:
    """How a libvirt that others use too does a fault. Raises LagoError if it can't."""
    if fault.kind == "cut":
        return "libvirt: the link is down"
    if fault.kind == "slow" and set(fault.settings) == {"rate"} and not any("/" in one for one in fault.targets):
        return "libvirt: the bandwidth of the nic"
    raise LagoError(
        f"on a libvirt that is shared with others, {fault.kind} can't be done: its packets are not ours to filter",
        details="what libvirt itself offers is cut, and slow with --rate alone for whole nics",
        hint="make the environment with libvirt_url = private, the default",
    )


def _unplugs(env: VirtEnv, fault: Fault) -> bool:
    return fault.kind == "cut" and (env.hypervisor.shared or bool(fault.settings.get("unplug")))


def plug(env: VirtEnv, now: Sequence[Fault], there: Sequence[Port]) -> None:
    """See that guests see a link or none, as faults say. Raises HypervisorError."""
    cut = {
        (vm, nic.name)
        for fault in now
        if _unplugs(env, fault)
        for target in fault.targets
        for vm, nic in group(env, target)
    }
    other = [port for port in there if port.plugged is ((port.vm, port.nic) in cut)]
    in_parallel(lambda port: _plug(env, port, plugged=not port.plugged), other, what="change links")


def _plug(env: VirtEnv, port: Port, *, plugged: bool) -> None:
    described = ET.fromstring(port.described)  # noqa: S314 - libvirt's own
    link = described.find("link")
    if link is None:
        link = ET.SubElement(described, "link")
    link.set("state", "up" if plugged else "down")
    with refusals(f"the link of {port.vm}:{port.nic} can't be changed"), unless_gone():
        domain = env.get_vm(port.vm).domain()
        domain.updateDeviceFlags(ET.tostring(described, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def narrow(env: VirtEnv, changed: Sequence[Fault], now: Sequence[Fault], there: Sequence[Port]) -> None:
    """See that nics have the bandwidth that faults say, where others share libvirt. Raises HypervisorError."""
    if not env.hypervisor.shared or not any(one.kind == "slow" for one in changed):
        return
    rates: dict[tuple[str, str], int] = {}
    for fault in now:
        for target in fault.targets if fault.kind == "slow" and "rate" in fault.settings else ():
            for vm, nic in group(env, target):
                key = (vm, nic.name)
                rates[key] = min(fault.settings["rate"], rates.get(key, fault.settings["rate"]))
    in_parallel(lambda port: _narrow(env, port, rates.get((port.vm, port.nic), 0)), there, what="change bandwidths")


def _narrow(env: VirtEnv, port: Port, rate: int) -> None:
    """Give a nic a bandwidth; libvirt counts in KiB a second, and 0 is none."""
    kib = max(1, rate // _KIB) if rate else 0
    wanted = {f"{way}.average": kib for way in ("inbound", "outbound")}
    with refusals(f"the bandwidth of {port.vm}:{port.nic} can't be changed", _REMEDY), unless_gone():
        env.get_vm(port.vm).domain().setInterfaceParameters(port.device, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)
