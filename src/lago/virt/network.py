"""Networks of an environment."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import libvirt

from ..errors import LagoError
from ..topology import Net, bridge_name, libvirt_net_name
from . import xml as formats
from .refusals import create, refusals

if TYPE_CHECKING:
    from .env import VirtEnv


def subnets(connection: libvirt.virConnect) -> set[str]:
    """All networks that libvirt knows, as `address/mask`."""
    described = (ET.fromstring(net.XMLDesc()) for net in connection.listAllNetworks())  # noqa: S314 - libvirt's own
    ips = (ip.attrib for root in described for ip in root.iter("ip") if "address" in ip.attrib)
    return {f"{ip['address']}/{ip.get('prefix') or ip.get('netmask', '24')}" for ip in ips}


class Network:
    """A network; `spec` is its resolved value."""

    def __init__(self, env: VirtEnv, spec: Net) -> None:
        self._env = env
        self.spec = spec

    def name(self) -> str:
        """Its name in the init file."""
        return self.spec.name

    def gw(self) -> str:
        """Its gateway's address, which is also the host's on it."""
        return self.spec.gw

    def is_management(self) -> bool:
        """Whether machines are reached over it."""
        return self.spec.management

    def resolve(self, name: str) -> str:
        """The address of a name on this net. Raises LagoError if it has none."""
        try:
            return self.spec.mapping[name]
        except KeyError:
            raise LagoError(
                f"net {self.name()} has no name {name}", hint=f"known: {', '.join(self.spec.mapping)}"
            ) from None

    def libvirt_name(self) -> str:
        """What libvirt calls it."""
        return libvirt_net_name(self._env.uuid, self.name())

    def _find(self) -> libvirt.virNetwork | None:
        try:
            return self._env.libvirt_con.networkLookupByName(self.libvirt_name())
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
                return None
            raise

    def alive(self) -> bool:
        """Whether it is up."""
        return self._env.live and (found := self._find()) is not None and bool(found.isActive())

    def start(self) -> None:
        """Bring it up, unless it is."""
        with refusals(f"net {self.name()} does not start"):
            found = self._find() or self._env.libvirt_con.networkDefineXML(self._xml())
            if not found.isActive():
                create(found)

    def _xml(self) -> str:
        macs = {
            nic.ip: nic.mac
            for vm in self._env.get_vms().values()
            for nic in vm.spec.nics
            if nic.net == self.name() and nic.ip
        }
        # A management net answers for the names of all nets; its own come first.
        nets = [self, *(net for net in self._env.get_nets().values() if net is not self)]
        records: dict[str, str] = {}
        for net in nets:
            for name, address in net.spec.mapping.items():
                records.setdefault(name, address)
        return formats.network_xml(
            self.spec,
            name=self.libvirt_name(),
            uuid=formats.object_uuid(self._env.uuid, self.libvirt_name()),
            bridge=bridge_name(self._env.uuid, self.name()),
            macs=macs,
            records=records,
            forwarders=self._env.forwarders,
            filtered=self._env.hypervisor.shared,
        )

    def stop(self) -> None:
        """Take it down and forget it, if it is there."""
        found = self._find() if self._env.live else None
        if found is not None:
            with refusals(f"net {self.name()} does not stop"):
                if found.isActive():
                    found.destroy()
                found.undefine()

    def leases(self) -> set[str]:
        """Addresses that machines have asked for and got."""
        with refusals(f"the leases of net {self.name()} can't be asked"):
            found = self._find()
            return {lease["ipaddr"] for lease in found.DHCPLeases()} if found is not None else set()
