"""ISO images, uploaded to a storage domain by the engine's image transfers.

The engine makes an empty disk, opens it for a while at an address of its own or of a host's, takes what is PUT there,
and closes it again. What fails is cancelled and the disk removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import ovirtsdk4
import pycurl
from ovirtsdk4 import types

from lago.errors import LagoError
from lago.log import LOG, task
from lago.utils import near

from ..errors import EngineError
from ..machines import machine_of
from . import identity, waiting
from .contract import Engine, Machine
from .events import complaint, last_event
from .transport import Transport

if TYPE_CHECKING:
    from ovirtsdk4 import Connection
    from ovirtsdk4.services import ImageTransferService

    from lago.virt import VM

_STALLED: Final = 60
_SECTOR: Final = 512
_Phase = types.ImageTransferPhase
_OVER: Final = (
    _Phase.CANCELLED,
    _Phase.CANCELLED_SYSTEM,
    _Phase.CANCELLED_USER,
    _Phase.FINISHED_CLEANUP,
    _Phase.FINISHED_FAILURE,
    _Phase.PAUSED_SYSTEM,
)
"""Phases of a transfer from which nothing comes any more."""


def add(
    engine: Engine, machines: Collection[VM], path: str, domain: str | None, on_bytes: Callable[[int], object]
) -> str:
    """Upload an ISO image to a storage domain of an engine.

    Args:
        engine: makes a disk of it.
        machines: all of the environment; the engine may want the image at one of them.
        path: the file.
        domain: name of the storage domain; None: the first one for data that is active.
        on_bytes: hears how many bytes have just gone.

    Returns:
        The identifier of the disk.

    Raises:
        LagoError: there is no such file, or no such storage domain.
        EngineError: the engine does not take it.
    """
    size = _size(path)
    disks = engine.get_api().system_service().disks_service()
    with task(f"Upload {path}"):
        try:
            disk = disks.add(_disk(os.path.basename(path), size, _place(engine, domain)))
            try:
                _wait_for_disk(engine, disk.id)
                _transfer(engine, machines, disk.id, path, size, on_bytes)
                _wait_for_disk(engine, disk.id)
            except BaseException:
                _remove(engine, disk.id)
                raise
        except ovirtsdk4.Error as error:
            raise EngineError(f"{path} can't be uploaded: {complaint(error)}", details=last_event(engine)) from error
    return str(disk.id)


def _size(path: str) -> int:
    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise LagoError(f"{path} can't be read: {error.strerror}") from None
    if not size or size % _SECTOR:
        raise LagoError(f"{path} is no ISO image: its size is {size} bytes", hint=f"it is a multiple of {_SECTOR}")
    return size


def _place(engine: Engine, wanted: str | None) -> types.StorageDomain:
    found = engine.get_api().system_service().storage_domains_service().list()
    if wanted is not None:
        for one in found:
            if one.name == wanted:
                return one
        raise LagoError(f"the engine has no storage domain {wanted}", hint=near(wanted, [one.name for one in found]))
    for one in found:
        # Outside of a data centre a domain says no status when it is fine.
        if one.type == types.StorageDomainType.DATA and one.status in (None, types.StorageDomainStatus.ACTIVE):
            return one
    raise LagoError("the engine has no storage domain for data that is active", hint="lago ovirt status")


def _disk(name: str, size: int, domain: types.StorageDomain) -> types.Disk:
    return types.Disk(
        name=name,
        content_type=types.DiskContentType.ISO,
        format=types.DiskFormat.RAW,
        provisioned_size=size,
        initial_size=size,
        sparse=False,
        storage_domains=[types.StorageDomain(id=domain.id)],
    )


def _wait_for_disk(engine: Engine, disk: str) -> None:
    def step(api: Connection) -> str:
        status = api.system_service().disks_service().disk_service(disk).get().status
        return "" if status == types.DiskStatus.OK else f"it is {status}"

    waiting.wait_until(engine, f"disk {disk}", step, waiting.short(engine))


def _transfer(
    engine: Engine, machines: Collection[VM], disk: str, path: str, size: int, on_bytes: Callable[[int], object]
) -> None:
    wanted = types.ImageTransfer(disk=types.Disk(id=disk), direction=types.ImageTransferDirection.UPLOAD)
    transfers = engine.get_api().system_service().image_transfers_service()
    transfer = transfers.add(wanted)
    try:
        opened = _wait_for_transfer(engine, transfer, _Phase.TRANSFERRING)
        _put(engine, machines, opened.proxy_url or opened.transfer_url, path, size, on_bytes)
    except BaseException:
        try:
            _service(engine.get_api(), transfer.id).cancel()
        except (ovirtsdk4.Error, LagoError) as error:
            LOG.warning("the upload to disk %s can't be cancelled: %s", disk, error)
        raise
    _service(engine.get_api(), transfer.id).finalize()
    _wait_for_transfer(engine, transfer, _Phase.FINISHED_SUCCESS)


def _service(api: Connection, transfer: str) -> ImageTransferService:
    return api.system_service().image_transfers_service().image_transfer_service(transfer)


def _wait_for_transfer(
    engine: Engine, transfer: types.ImageTransfer, wanted: types.ImageTransferPhase
) -> types.ImageTransfer:
    found = transfer

    def step(api: Connection) -> str:
        nonlocal found
        try:
            found = _service(api, transfer.id).get()
        except ovirtsdk4.NotFoundError:
            # The engine forgets transfers that are finished.
            if wanted == _Phase.FINISHED_SUCCESS:
                return ""
            raise
        phase = found.phase
        if phase in _OVER:
            raise EngineError(f"the image transfer ended: {phase}", details=last_event(engine))
        return "" if phase == wanted else f"it is {phase}"

    waiting.wait_until(engine, f"image transfer {transfer.id}", step, waiting.short(engine))
    return found


def _put(
    engine: Engine, machines: Collection[VM], url: str, path: str, size: int, on_bytes: Callable[[int], object]
) -> None:
    who = engine.identity()
    host = urlsplit(url).hostname or ""
    machine: Machine | None = engine if host == who.fqdn else machine_of(machines, host)
    if machine is None:
        raise EngineError(f"the engine wants the image at {url}, and no machine of the environment has that name")
    patience = _STALLED * engine.env.accel.time_factor
    ca_file = None if engine.insecure() else identity.fetch_ca(engine, who, patience)
    transport = Transport(machine.dial, ca_file, patience)
    with open(path, "rb") as file:
        try:
            response = transport.upload(url, file, size, on_bytes)
        except pycurl.error as error:
            raise EngineError(
                f"the upload to {host} broke off: {transport.failure or error.args[1]}", details=last_event(engine)
            ) from None
    if response.code not in (200, 204):
        raise EngineError(
            f"{host} does not take the image: status {response.code}",
            details=response.body.decode(errors="replace"),
        )


def _remove(engine: Engine, disk: str) -> None:
    def step(api: Connection) -> str:
        # While a transfer is being cancelled its disk is locked.
        try:
            api.system_service().disks_service().disk_service(disk).remove()
        except ovirtsdk4.NotFoundError:
            return ""
        return "it is being removed"

    try:
        waiting.wait_until(engine, f"removal of disk {disk}", step, waiting.short(engine))
    except LagoError as error:
        LOG.warning("%s", error)
