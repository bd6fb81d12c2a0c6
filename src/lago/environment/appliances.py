"""Machines of an init file that are appliances: `type: ova`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace

from ..disks import ova
from ..host.fetch import fetch
from ..host.parallel import in_parallel
from ..log import task
from ..paths import Paths
from ..topology.spec import OVA_DISK, DiskSpec, DomainSpec, EnvSpec
from ..topology.variables import fill_in_address


def unpack(wanted: EnvSpec, paths: Paths, variables: Mapping[str, str]) -> EnvSpec:
    """Fetch all appliances, write their disks into the prefix, and say of each machine what its appliance says.

    Args:
        variables: what may stand in addresses as `$NAME`.

    Raises:
        LagoError: an appliance can't be had.
        DiskError: it is none that can be used.
    """
    todo = [domain for domain in wanted.domains.values() if domain.ova]
    done = in_parallel(lambda domain: _unpack(domain, paths, variables), todo, what="unpack appliances")
    return replace(wanted, domains={**wanted.domains, **{domain.name: domain for domain in done}})


def _unpack(domain: DomainSpec, paths: Paths, variables: Mapping[str, str]) -> DomainSpec:
    # Where `topology` looks for it.
    image = paths.images(f"{domain.name}_{OVA_DISK['name']}.qcow2")
    url = fill_in_address(str(domain.ova), variables)
    with task(f"Get appliance of {domain.name}"), tempfile.TemporaryDirectory(dir=paths.images()) as work:
        archive = os.path.join(work, "ova")
        fetch(url, archive)
        found = ova.unpack(archive, image, url)
    # As earlier releases had it.
    metadata = {"root-partition": "/dev/sda1"}
    disk = DiskSpec(type="file", format="qcow2", name=OVA_DISK["name"], dev=OVA_DISK["dev"], metadata=metadata)
    return replace(
        domain,
        memory=found.memory if "memory" in domain.from_ova else domain.memory,
        vcpu=found.vcpu if "vcpu" in domain.from_ova else domain.vcpu,
        disks=(disk, *domain.disks),
    )
