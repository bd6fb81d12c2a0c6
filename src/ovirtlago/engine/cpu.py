"""The processors of clusters, which must be ones that their hosts have."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from lago.errors import LagoError
from lago.log import LOG
from lago.utils import near

from ..machines import machine_of
from .contract import Engine

if TYPE_CHECKING:
    from ovirtsdk4.services import SystemService

    from lago.virt import VM

MAP: Final = "ovirt-cpu-map"
"""Key in the metadata of a machine: the path of a file with another table than ours, in the same form."""

_TABLE: Final = os.path.join(os.path.dirname(__file__), "..", "data", "cpu_families.yaml")


def get_ovirt_cpu_family(host: VM) -> str | None:
    """Return what oVirt calls the processor of a machine; None if its init file names no model (`cpu_model`).

    Args:
        host: the machine; its metadata may name a table of one's own (`ovirt-cpu-map`).

    Raises:
        LagoError: the table does not have the model, or is none.
    """
    vendor, model = host.cpu_vendor, host.cpu_model
    if model is None:
        return None
    path = host.metadata.get(MAP, _TABLE)
    families = _table(path).get(str(vendor))
    if not isinstance(families, Mapping) or model not in families:
        raise LagoError(
            f"{host.name()}: {path} does not say what oVirt calls the processor {model} of {vendor}",
            hint=near(model, families) if isinstance(families, Mapping) else f"add it, and name the file by {MAP}",
        )
    return str(families[model])


def _table(path: str) -> Mapping[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            data = yaml.safe_load(file)
    except OSError as error:
        raise LagoError(f"{path} can't be read: {error.strerror}", hint=f"correct {MAP}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LagoError(f"{path} is no YAML", details=str(error), hint=f"correct {MAP}") from None
    if not isinstance(data, Mapping):
        raise LagoError(f"{path} is no table of processors", hint="{VENDOR: {MODEL: NAME IN OVIRT}}")
    return data


def align(engine: Engine, machines: Collection[VM]) -> None:
    """Give each cluster of an engine the processor of its hosts.

    Clusters whose hosts have a processor that the init file does not name stay as they are.

    Args:
        engine: whose clusters they are.
        machines: those of the environment, with the hosts among them.

    Raises:
        LagoError: the hosts of a cluster have several processors, or one is unknown.
        EngineError: the engine refuses.
    """
    from .events import refusals

    with refusals(engine):
        _align(machines, engine.get_api().system_service())


def _align(machines: Collection[VM], system: SystemService) -> None:
    from ovirtsdk4.types import Cluster, Cpu

    families: dict[str, set[str]] = {}
    for host in system.hosts_service().list():
        machine = machine_of(machines, host.address, host.name)
        family = get_ovirt_cpu_family(machine) if machine is not None else None
        if family is not None:
            families.setdefault(host.cluster.id, set()).add(family)
    clusters = system.clusters_service()
    for cluster in clusters.list():
        wanted = families.get(cluster.id, set())
        if len(wanted) > 1:
            raise LagoError(
                f"hosts of the cluster {cluster.name} have different processors: {', '.join(sorted(wanted))}",
                hint="give them the same cpu_model",
            )
        for family in wanted - {cluster.cpu.type if cluster.cpu else None}:
            LOG.info("cluster %s: its processor is now %s", cluster.name, family)
            clusters.cluster_service(cluster.id).update(Cluster(cpu=Cpu(type=family)))
