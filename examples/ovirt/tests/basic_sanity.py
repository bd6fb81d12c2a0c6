"""Life of virtual machines: disks, snapshots, templates, migration, hotplug. Begins with the clean snapshot."""

from __future__ import annotations

from typing import Any

import lab
import pytest
from ovirtsdk4 import types

from ovirtlago import testlib

pytestmark = [pytest.mark.ovirt_sequence, pytest.mark.usefixtures("clean")]

BLANK = "Blank"


@pytest.fixture
def vms(engine: Any) -> Any:
    """All virtual machines."""
    return engine.vms_service()


def _service(vms: Any, name: str) -> Any:
    return vms.vm_service(lab.named(vms, name).id)


def test_add_blank_vm(vms: Any) -> None:
    vm = types.Vm(
        name="vm0",
        cluster=types.Cluster(name=lab.CLUSTER),
        template=types.Template(name=BLANK),
        memory=lab.GIB // 4,
        os=types.OperatingSystem(boot=types.Boot(devices=[types.BootDevice.HD])),
    )
    lab.becomes(vms.vm_service(vms.add(vm).id), types.VmStatus.DOWN)


def test_add_nic(vms: Any) -> None:
    nics = _service(vms, "vm0").nics_service()
    nics.add(types.Nic(name="eth0", interface=types.NicInterface.VIRTIO))
    assert [nic.name for nic in nics.list()] == ["eth0"]


def _add_disk(engine: Any, vm: Any, name: str) -> Any:
    disk = types.Disk(
        name=name,
        format=types.DiskFormat.COW,
        provisioned_size=10 * lab.GIB,
        storage_domains=[types.StorageDomain(name=lab.MASTER)],
    )
    attachments = vm.disk_attachments_service()
    added = attachments.add(
        types.DiskAttachment(disk=disk, interface=types.DiskInterface.VIRTIO, bootable=name == "disk0", active=True)
    )
    lab.becomes(engine.disks_service().disk_service(added.disk.id), types.DiskStatus.OK)
    return attachments.attachment_service(added.id)


def test_add_disk(engine: Any, vms: Any) -> None:
    _add_disk(engine, _service(vms, "vm0"), "disk0")


def _merge_snapshot(vm: Any) -> None:
    """Take a snapshot and remove it again, by which its images are merged."""
    snapshots = vm.snapshots_service()
    before = len(snapshots.list())
    added = snapshots.add(types.Snapshot(description="dead or alive", persist_memorystate=False))
    snapshot = snapshots.snapshot_service(added.id)
    testlib.assert_equals_within_long(lambda: snapshot.get().snapshot_status, types.SnapshotStatus.OK)
    snapshot.remove()
    lab.gone(snapshots, added.id)
    assert len(snapshots.list()) == before


def test_merge_snapshot_of_a_vm_that_is_down(vms: Any) -> None:
    _merge_snapshot(_service(vms, "vm0"))


def test_make_template_and_a_vm_of_it(engine: Any, vms: Any) -> None:
    templates = engine.templates_service()
    added = templates.add(types.Template(name="template0", vm=types.Vm(name="vm0")))
    lab.becomes(templates.template_service(added.id), types.TemplateStatus.OK)
    vm = types.Vm(name="vm1", cluster=types.Cluster(name=lab.CLUSTER), template=types.Template(name="template0"))
    lab.becomes(vms.vm_service(vms.add(vm).id), types.VmStatus.DOWN)


def test_run_vm(vms: Any) -> None:
    vm = _service(vms, "vm0")
    vm.start()
    lab.becomes(vm, types.VmStatus.UP)


def test_migrate_vm(engine: Any, vms: Any) -> None:
    vm = _service(vms, "vm0")
    before = vm.get().host.id
    others = [host for host in engine.hosts_service().list() if host.id != before]
    if not others:
        pytest.skip("there is one host only")
    vm.migrate(host=types.Host(id=others[0].id))
    testlib.assert_equals_within_long(lambda: (vm.get().status, vm.get().host.id), (types.VmStatus.UP, others[0].id))


@pytest.mark.host_capability("snapshot-live-merge")
@pytest.mark.continue_on_failure
def test_merge_snapshot_of_a_vm_that_runs(vms: Any) -> None:
    _merge_snapshot(_service(vms, "vm0"))


def test_hotplug_nic(vms: Any) -> None:
    nics = _service(vms, "vm0").nics_service()
    added = nics.add(types.Nic(name="eth1", interface=types.NicInterface.VIRTIO))
    nic = nics.nic_service(added.id)
    assert nic.get().plugged
    nic.deactivate()
    assert not nic.get().plugged
    nic.activate()
    assert nic.get().plugged


def test_hotplug_disk(engine: Any, vms: Any) -> None:
    attachment = _add_disk(engine, _service(vms, "vm0"), "disk1")
    assert attachment.get().active
    attachment.update(types.DiskAttachment(active=False))
    testlib.assert_true_within_short(lambda: not attachment.get().active)
