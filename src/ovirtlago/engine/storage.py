"""Storage domains of data centres, into maintenance and back.

The master of a data centre keeps what is known of the others: it goes last and comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovirtsdk4.types import DataCenterStatus, StorageDomainStatus

from lago.host.parallel import in_parallel
from lago.log import task

from . import waiting
from .events import refusals

if TYPE_CHECKING:
    from .machine import EngineVM

_BUSY: Final = (
    StorageDomainStatus.ACTIVATING,
    StorageDomainStatus.DETACHING,
    StorageDomainStatus.LOCKED,
    StorageDomainStatus.PREPARING_FOR_MAINTENANCE,
)
"""A storage domain that is about to become something else."""


class _Attached(NamedTuple):
    """A storage domain of a data centre."""

    centre: Any
    domain: Any

    def service(self, api: Any) -> Any:
        centres = api.system_service().data_centers_service()
        attached = centres.data_center_service(self.centre.id).storage_domains_service()
        return attached.storage_domain_service(self.domain.id)


def deactivate(engine: EngineVM) -> None:
    """Put all storage domains into maintenance, side by side, then masters. Raises EngineError."""
    # Without hosts a data centre is not up, and nothing there can be, or needs to be, put to rest.
    found = [one for one in _attached(engine) if one.centre.status == DataCenterStatus.UP]
    for some in (_others(found), _masters(found)):
        _all_to(engine, some, StorageDomainStatus.MAINTENANCE, "deactivate")


def activate(engine: EngineVM) -> None:
    """Let all storage domains be active: masters, then the others, side by side. Raises EngineError."""
    found = _attached(engine)
    for some in (_masters(found), _others(found)):
        _all_to(engine, some, StorageDomainStatus.ACTIVE, "activate")


def _attached(engine: EngineVM) -> list[_Attached]:
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


def _all_to(engine: EngineVM, some: list[_Attached], wanted: StorageDomainStatus, action: str) -> None:
    def one(attached: _Attached) -> None:
        if attached.domain.status == wanted:
            return
        name = f"storage domain {attached.domain.name}"
        with task(f"{action.capitalize()} {name}"):
            waiting.wait_until(
                engine,
                f"{action} {name} of data center {attached.centre.name}",
                lambda api: waiting.towards(attached.service(api), wanted, action, _BUSY),
                waiting.long(engine),
            )

    in_parallel(one, some, what=f"{action} storage domains", cancel=engine.env.cancelled.set)
