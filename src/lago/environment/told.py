"""What a journal has of an environment: its machines and nets."""

from __future__ import annotations

from typing import Any

from ..topology.model import Domain, Net, Topology


def topology(found: Topology) -> dict[str, Any]:
    """Machines and nets by name, without what is nobody's business, such as passwords."""
    return {
        "vms": {name: _vm(vm) for name, vm in found.domains.items()},
        "nets": {name: _net(net) for name, net in found.nets.items()},
    }


def _vm(vm: Domain) -> dict[str, Any]:
    nics = [{"net": nic.net, "ip": None if nic.ip is None else str(nic.ip), "mac": nic.mac} for nic in vm.nics]
    return {
        "nics": nics,
        "groups": list(vm.groups),
        "template": vm.template.id if vm.template else None,
        "distro": vm.distro or vm.image.get("distro"),
    }


def _net(net: Net) -> dict[str, Any]:
    gateway, subnet = (None, None) if net.gw is None else (str(net.gw), net.gw.subnet)
    return {"type": net.type, "gw": gateway, "subnet": subnet, "management": net.management}
