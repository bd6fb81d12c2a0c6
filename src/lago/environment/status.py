"""What an environment has and what runs of it, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import config
from .snapshots.index import Snapshot, sizes

if TYPE_CHECKING:
    from ..paths import Paths
    from ..topology.model import Domain, Net, Topology
    from .faults.model import Fault


class Nic(NamedTuple):
    """An interface of a machine: the net that it is on, and its address there, if that is known."""

    net: str
    ip: str | None


class Machine(NamedTuple):
    """A machine.

    Attributes:
        host_name: what its guest is to call itself.
        state: in a word, `down` if libvirt does not know it.
        nics: its interfaces by name.
        root_password: of the init file, else of the configuration, as earlier releases told it.
        snapshots: names of those that it is in, oldest first.
    """

    host_name: str
    state: str
    nics: Mapping[str, Nic]
    distro: str | None
    metadata: Mapping[str, Any]
    root_password: str
    snapshots: tuple[str, ...]


class Network(NamedTuple):
    """A network; `state` is `up`, `down` or `unknown`."""

    state: str
    gateway: str | None
    management: bool


class Status(NamedTuple):
    """An environment.

    Attributes:
        path: of its prefix.
        snapshots: by name, oldest first, the bytes on disk that each takes beside those before it.
        paused: whether machines stand paused since they were forked, until one is used.
        faults: what is broken on purpose, oldest first.
    """

    path: str
    uuid: str
    machines: Mapping[str, Machine]
    networks: Mapping[str, Network]
    snapshots: Mapping[str, int]
    paused: bool = False
    faults: tuple[Fault, ...] = ()


def status(
    paths: Paths,
    uuid: str,
    topology: Topology,
    snapshots: Mapping[str, Snapshot],
    *,
    machines: Mapping[str, str],
    networks: Mapping[str, str],
    paused: bool,
    faults: Sequence[Fault] = (),
) -> Status:
    """Return what there is, with what is known of its state.

    Args:
        uuid: of the prefix.
        snapshots: by name, oldest first.
        machines: their states by name.
        networks: their states by name.
        paused: whether machines are meant to stand paused.
        faults: what is broken on purpose.
    """
    return Status(
        path=paths.prefix(),
        uuid=uuid,
        machines={name: _machine(vm, machines[name], snapshots) for name, vm in topology.domains.items()},
        networks={
            name: Network(networks[name], net.gw and str(net.gw), net.management) for name, net in topology.nets.items()
        },
        snapshots=sizes(paths, snapshots),
        paused=paused and "paused" in machines.values(),
        faults=tuple(faults),
    )


def _network(net: Net, state: str) -> Network:
    return Network(state, str(net.gw) if net.gw else None, net.management)


def _machine(vm: Domain, state: str, snapshots: Mapping[str, Snapshot]) -> Machine:
    return Machine(
        host_name=vm.host_name,
        state=state,
        nics={nic.name: Nic(nic.net, str(nic.ip) if nic.ip else None) for nic in vm.nics},
        distro=vm.distro or vm.image.get("distro"),
        metadata=dict(vm.metadata),
        root_password=vm.root_password or config.get("default_root_password"),
        snapshots=tuple(one.name for one in snapshots.values() if vm.name in one.vms),
    )
