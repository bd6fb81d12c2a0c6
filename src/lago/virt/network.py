"""Networks of an environment."""

from __future__ import annotations

import contextlib
import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping

import libvirt

from ..errors import HypervisorError, LagoError
from ..topology import state
from ..topology.model import Domain, Net
from ..topology.names import bridge_name, libvirt_net_name
from . import domain_xml, network_xml
from .connection import ENDED, create, look_up, refusals
from .session import Session


def subnets(connection: libvirt.virConnect) -> set[str]:
    """IPv4 subnets of all nets that libvirt knows, as `address/mask`."""
    described = (ET.fromstring(net.XMLDesc()) for net in connection.listAllNetworks())  # noqa: S314 - libvirt's own
    ips = (ip.attrib for root in described for ip in root.iter("ip") if "address" in ip.attrib)
    return {
        f"{ip['address']}/{ip.get('prefix') or ip.get('netmask', '24')}" for ip in ips if ip.get("family") != "ipv6"
    }


class Network:
    """A net.

    Args:
        env: the environment that it is in.
        spec: its description, with everything decided.
    """

    def __init__(self, env: Session, spec: Net) -> None:
        self._env = env
        self._name = spec.name
        self.spec = spec

    @property
    def spec(self) -> Net:
        """Description of it as it is decided now; it may be replaced."""
        return self._env.nets[self._name]

    @spec.setter
    def spec(self, spec: Net) -> None:
        self._env.nets[self._name] = spec

    def name(self) -> str:
        """Name that it has in the init file."""
        return self._name

    def gw(self) -> str | None:
        """Address of its gateway, which is also the host's on it; None for a bridge net."""
        return str(self.spec.gw) if self.spec.gw else None

    def is_management(self) -> bool:
        """Whether machines are reached over it."""
        return self.spec.management

    def resolve(self, name: str) -> str:
        """Address of a name on this net.

        Args:
            name: a machine, a nic, or an extra DNS record of the init file.

        Raises:
            LagoError: it has no such name.
        """
        known = {**self.spec.dns_records, **self.spec.mapping}
        try:
            return known[name]
        except KeyError:
            raise LagoError(f"net {self.name()} has no name {name}", hint=f"known: {', '.join(known)}") from None

    def mapping(self) -> Mapping[str, str]:
        """Addresses by name."""
        return self.spec.mapping

    def add_mapping(self, name: str, ip: str, save: bool = True) -> None:
        """Add a name to those of this net; DNS knows it when the net is started next.

        Args:
            name: what stands for the address; it may stand for another one already.
            ip: its IPv4 address.
            save: write the net to the prefix, so that it lasts.
        """
        self.spec = dataclasses.replace(self.spec, mapping={**self.spec.mapping, name: ip})
        if save:
            self.save()

    def add_mappings(self, mappings: Mapping[str, str]) -> None:
        """Add names to those of this net, and write it to the prefix; DNS knows them when the net is started next.

        Args:
            mappings: IPv4 addresses by name.
        """
        for name, ip in mappings.items():
            self.add_mapping(name, ip, save=False)
        self.save()

    def save(self) -> None:
        """Write it to the prefix."""
        state.save_net(self._env.paths, self.spec)

    def libvirt_name(self) -> str:
        """Name that libvirt knows it by."""
        return libvirt_net_name(self._env.uuid, self.name())

    def bridge_name(self) -> str:
        """Name of its device on the host."""
        return bridge_name(self._env.uuid, self.name(), isolated=self.spec.type == "isolated")

    def _find(self) -> libvirt.virNetwork | None:
        with self._asked():
            return look_up(self._env.libvirt_con.networkLookupByName, self.libvirt_name(), libvirt.VIR_ERR_NO_NETWORK)

    def _asked(self) -> contextlib.AbstractContextManager[None]:
        return refusals(f"libvirt can't be asked for the net {self.name()}", ENDED)

    def alive(self) -> bool:
        """Whether it is up."""
        with self._asked():
            return self._env.live and (found := self._find()) is not None and bool(found.isActive())

    def start(self) -> None:
        """Bring it up, unless it is. Raises HypervisorError if libvirt refuses."""
        try:
            with refusals(f"net {self.name()} does not start"):
                found = self._find() or self._env.libvirt_con.networkDefineXML(self._xml())
                if not found.isActive():
                    create(found)
        except HypervisorError as error:
            raise self._explain(error) from error.__cause__

    def _explain(self, error: HypervisorError) -> HypervisorError:
        if "accept_ra" not in error.what:
            return error
        # The host has its own IPv6 route from a router, and forgets it when it becomes a router itself.
        return HypervisorError(
            error.what,
            details="the host got its IPv6 route from a router, and would lose it when it forwards IPv6 packets itself",
            hint=f"write ipv6: false for the net {self.name()}, or sysctl -w net.ipv6.conf.DEVICE.accept_ra=2 for the "
            "host's device",
        )

    def _xml(self) -> str:
        env = self._env
        nics = [nic for domain in env.domains.values() for nic in domain.nics if nic.net == self.name()]
        options = network_xml.NetworkOptions(
            filtered=env.hypervisor.shared, forwarders=tuple(env.forwarders), own_bridge=self._has_own_bridge()
        )
        return network_xml.network_xml(
            self.spec,
            name=self.libvirt_name(),
            uuid=domain_xml.object_uuid(env.uuid, self.libvirt_name()),
            bridge=self.bridge_name(),
            nics=nics,
            records=self.records(),
            options=options,
        )

    def records(self) -> dict[str, list[str]]:
        """Names by address that its name server answers for; none unless it is a management net."""
        env = self._env
        return _records(self.spec, env.nets.values(), env.domains.values()) if self.is_management() else {}

    def _has_own_bridge(self) -> bool:
        return False

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


def _records(own: Net, nets: Iterable[Net], domains: Iterable[Domain]) -> dict[str, list[str]]:
    """Return names by address. A management net answers for the names of all nets; its own come first."""
    addresses: dict[str, str] = {}
    for net in [own, *(net for net in nets if net.name != own.name)]:
        for name, address in [*net.mapping.items(), *net.dns_records.items()]:
            addresses.setdefault(name, address)
    ip6 = {str(nic.ip): nic.ip6 for domain in domains for nic in domain.nics if nic.ip and nic.ip6}
    records: dict[str, list[str]] = {}
    for name, address in addresses.items():
        for one in (address, ip6.get(address)):
            if one:
                records.setdefault(one, []).append(name)
    return records


class NATNetwork(Network):
    """A net whose guests reach the world."""


class IsolatedNetwork(Network):
    """A net whose guests reach each other and nobody else; it has addresses and names all the same."""


class BridgeNetwork(Network):
    """A bare switch: no addresses, no names.

    On the shared libvirt of this host it is a Linux bridge of ours, so that other things can be plugged in; elsewhere
    libvirt makes it.
    """

    def _has_own_bridge(self) -> bool:
        return self._env.hypervisor.shared and self._env.hypervisor.local

    def start(self) -> None:
        """Bring it up, unless it is. Raises HypervisorError if libvirt refuses."""
        if not self._has_own_bridge():
            super().start()
            return
        from .. import brctl

        made = not brctl.exists(self.bridge_name())
        if made:
            brctl.create(self.bridge_name(), False)
        try:
            super().start()
        except BaseException:
            if made:
                brctl.destroy(self.bridge_name())
            raise

    def stop(self) -> None:
        """Take it down and forget it, if it is there."""
        super().stop()
        if self._has_own_bridge():
            from .. import brctl

            if brctl.exists(self.bridge_name()):
                brctl.destroy(self.bridge_name())


_CLASSES = {"nat": NATNetwork, "isolated": IsolatedNetwork, "bridge": BridgeNetwork}


def make(env: Session, spec: Net) -> Network:
    """Make a net of the class for its type."""
    return _CLASSES[spec.type](env, spec)
