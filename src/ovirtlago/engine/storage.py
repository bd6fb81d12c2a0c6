"""Storage domains of data centres, into maintenance and back.

The master of a data centre keeps what is known of the others: it goes last and comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ovirtsdk4.types import DataCenter, DataCenterStatus, StorageDomain, StorageDomainStatus

from . import steps, waiting
from .contract import Engine, Step
from .events import refusals

if TYPE_CHECKING:
    from ovirtsdk4 import Connection
    from ovirtsdk4.services import AttachedStorageDomainService

_BUSY: Final = (
    StorageDomainStatus.ACTIVATING,
    StorageDomainStatus.DETACHING,
    StorageDomainStatus.LOCKED,
    StorageDomainStatus.PREPARING_FOR_MAINTENANCE,
)
"""A storage domain that is about to become something else."""


class _Attached(NamedTuple):
    """A storage domain of a data centre."""

    centre: DataCenter
    domain: StorageDomain

    @property
    def name(self) -> str:
        """What the engine calls it."""
        return str(self.domain.name)

    @property
    def title(self) -> str:
        """What it is called in an error."""
        return f"{self.name} of data center {self.centre.name}"

    def service(self, api: Connection) -> AttachedStorageDomainService:
        """Return what the SDK asks about it, by a connection."""
        centres = api.system_service().data_centers_service()
        attached = centres.data_center_service(self.centre.id).storage_domains_service()
        return attached.storage_domain_service(self.domain.id)


def deactivate(engine: Engine) -> None:
    """Put all storage domains of an engine into maintenance: masters last, the others before them, side by side.

    Raises:
        EngineError: one does not get there in time.
        Errors: several do not.
    """
    # Without hosts a data centre is not up, and nothing there can be, or needs to be, put to rest.
    found = [one for one in _list_attached(engine) if one.centre.status == DataCenterStatus.UP]
    for some in (_others(found), _masters(found)):
        _all_to(engine, some, StorageDomainStatus.MAINTENANCE, "deactivate")


def activate(engine: Engine) -> None:
    """Activate all storage domains of an engine: masters first, then the others, side by side.

    Errors are as of `deactivate`.
    """
    found = _list_attached(engine)
    for some in (_masters(found), _others(found)):
        _all_to(engine, some, StorageDomainStatus.ACTIVE, "activate")


def _list_attached(engine: Engine) -> list[_Attached]:
    centres = engine.get_api().system_service().data_centers_service()
    with refusals(engine):
        return [
            _Attached(centre, domain)
            for centre in centres.list()
            for domain in centres.data_center_service(centre.id).storage_domains_service().list()
        ]


def _masters(found: Iterable[_Attached]) -> list[_Attached]:
    return [one for one in found if one.domain.master]


def _others(found: Iterable[_Attached]) -> list[_Attached]:
    return [one for one in found if not one.domain.master]


def _all_to(engine: Engine, some: list[_Attached], wanted: StorageDomainStatus, action: str) -> None:
    def begin(attached: _Attached) -> Step | None:
        if attached.domain.status == wanted:
            return None
        return lambda api: steps.towards(attached.service(api), wanted, action, _BUSY)

    steps.each(engine, some, action, "storage domain", begin, waiting.long(engine), lambda attached: attached.title)
