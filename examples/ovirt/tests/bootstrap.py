"""A data center with a cluster of all hosts, and storage by NFS and iSCSI. To be run once, when the engine works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lab
import pytest
from ovirtsdk4 import types

from lago.host.parallel import in_parallel
from ovirtlago import OvirtPrefix
from ovirtlago.engine.cpu import get_ovirt_cpu_family
from ovirtlago.virt import HostVM

pytestmark = pytest.mark.ovirt_sequence


def test_add_data_center(engine: Any) -> None:
    engine.data_centers_service().add(types.DataCenter(name=lab.DATA_CENTER, local=False))


def test_add_cluster(engine: Any, ovirt_prefix: OvirtPrefix) -> None:
    families = {get_ovirt_cpu_family(host) for host in ovirt_prefix.virt_env.host_vms()}
    # Where the init file names no processor, the engine takes that of the first host.
    cpu = types.Cpu(architecture=types.Architecture.X86_64, type=families.pop()) if families != {None} else None
    assert not families - {None}, "hosts of a cluster have the same processor"
    engine.clusters_service().add(
        types.Cluster(name=lab.CLUSTER, cpu=cpu, data_center=types.DataCenter(name=lab.DATA_CENTER))
    )


def test_add_hosts(engine: Any, ovirt_prefix: OvirtPrefix) -> None:
    hosts = engine.hosts_service()

    def add(vm: HostVM) -> None:
        host = types.Host(
            name=vm.name(),
            address=vm.ip(),
            root_password=vm.root_password(),
            cluster=types.Cluster(name=lab.CLUSTER),
        )
        lab.becomes(hosts.host_service(hosts.add(host).id), types.HostStatus.UP)

    in_parallel(add, ovirt_prefix.virt_env.host_vms(), what="add hosts")


def test_add_master_storage(engine: Any, ovirt_prefix: OvirtPrefix) -> None:
    _add_storage(engine, _nfs(ovirt_prefix, lab.MASTER, types.StorageDomainType.DATA, lab.SHARE))
    centres = engine.data_centers_service()
    lab.becomes(centres.data_center_service(lab.named(centres, lab.DATA_CENTER).id), types.DataCenterStatus.UP)


def test_add_other_storage(engine: Any, ovirt_prefix: OvirtPrefix) -> None:
    makers: list[Callable[[], types.StorageDomain]] = [
        lambda: _iscsi(engine, ovirt_prefix),
        lambda: _nfs(ovirt_prefix, "iso", types.StorageDomainType.ISO, lab.ISO_SHARE),
    ]
    in_parallel(lambda make: _add_storage(engine, make()), makers, what="add storage")


def _first_host(prefix: OvirtPrefix) -> str:
    return prefix.virt_env.host_vms()[0].name()


def _nfs(prefix: OvirtPrefix, name: str, kind: Any, path: str) -> types.StorageDomain:
    storage = types.HostStorage(
        type=types.StorageType.NFS,
        address=prefix.virt_env.get_vm(lab.STORAGE).ip(),
        path=path,
        nfs_version=types.NfsVersion.V4_2 if kind == types.StorageDomainType.DATA else types.NfsVersion.V3,
    )
    return types.StorageDomain(name=name, type=kind, host=types.Host(name=_first_host(prefix)), storage=storage)


def _iscsi(engine: Any, prefix: OvirtPrefix) -> types.StorageDomain:
    address = prefix.virt_env.get_vm(lab.STORAGE).ip()
    host = lab.named(engine.hosts_service(), _first_host(prefix))
    service = engine.hosts_service().host_service(host.id)
    service.iscsi_login(iscsi=types.IscsiDetails(address=address, port=3260, target=lab.TARGET))
    luns = [
        types.LogicalUnit(id=lun.id, address=address, port=3260, target=lab.TARGET)
        for storage in service.storage_service().list()
        for lun in storage.logical_units or ()
        if lun.target == lab.TARGET
    ]
    assert luns, f"{host.name} sees no LUN of {lab.TARGET}"
    storage = types.HostStorage(
        type=types.StorageType.ISCSI, override_luns=True, volume_group=types.VolumeGroup(logical_units=luns)
    )
    return types.StorageDomain(
        name="iscsi", type=types.StorageDomainType.DATA, host=types.Host(name=host.name), storage=storage
    )


def _add_storage(engine: Any, domain: types.StorageDomain) -> None:
    """Make a storage domain, attach it to the data center, and wait until it is active there."""
    added = engine.storage_domains_service().add(domain)
    centres = engine.data_centers_service()
    attached = centres.data_center_service(lab.named(centres, lab.DATA_CENTER).id).storage_domains_service()
    attached.add(types.StorageDomain(id=added.id))
    lab.becomes(attached.storage_domain_service(added.id), types.StorageDomainStatus.ACTIVE)
