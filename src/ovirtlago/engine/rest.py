"""An environment at rest, such that its disks and memory can be held fast, and awake again.

To rest: storage domains, hosts, the service of the engine, those of the hosts. Awake: the reverse.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from lago.log import task
from lago.utils import RollbackContext, in_parallel

from ..constants import ENGINE_SERVICE, HOST_SERVICES
from ..errors import EngineError
from .contract import Engine

if TYPE_CHECKING:
    from ..machines import HostVM


def deactivate(engine: Engine) -> None:
    """Put the storage domains and hosts of an engine into maintenance.

    Raises:
        EngineError: virtual machines run on the hosts, or something does not get to rest in time.
    """
    from . import hosts, storage, vms

    if running := vms.running(engine):
        raise EngineError(f"there are virtual machines that run: {', '.join(running)}", hint="lago ovirt stop-vms")
    with task("Deactivate storage domains"):
        storage.deactivate(engine)
    with task("Deactivate hosts"):
        hosts.deactivate(engine)


def end_all(engine: Engine) -> None:
    """Stop the virtual machines of an engine that answers, and deactivate.

    Raises:
        EngineError: it does not answer at once, or something does not get to rest in time.
    """
    from . import vms

    engine.get_api(wait=False)
    with task("Stop virtual machines"):
        vms.stop(engine)
    deactivate(engine)


def activate(engine: Engine) -> None:
    """Activate the hosts of an engine and its storage domains.

    Raises:
        EngineError: something does not get there in time.
    """
    from . import hosts, storage

    with task("Activate hosts"):
        hosts.activate(engine)
    with task("Activate storage domains"):
        storage.activate(engine)


def wake_services(engine: Engine, hosts: Collection[HostVM]) -> None:
    """See that the services of hosts run, then the engine's, and that it answers.

    Args:
        engine: its machine runs.
        hosts: the machines of hosts, which run too. Services that they don't have are left out.

    Raises:
        VMError: a service does not start.
        EngineError: the engine does not answer in time.
    """
    in_parallel(_wake_host, hosts, what="start services of hosts", cancel=engine.env.cancelled.set)
    with task(f"Start {ENGINE_SERVICE} on {engine.name()}"):
        engine.service(ENGINE_SERVICE).start()
    engine.get_api()


def _wake_host(host: HostVM) -> None:
    with task(f"Start services of {host.name()}"):
        for name in reversed(HOST_SERVICES):
            service = host.service(name)
            if service.exists():
                service.start()


def _rest_host(host: HostVM) -> None:
    with task(f"Stop services of {host.name()}"):
        for name in HOST_SERVICES:
            service = host.service(name)
            if service.exists():
                service.stop()


@contextlib.contextmanager
def at_rest(engine: Engine | None, hosts: Collection[HostVM], *, restore: bool) -> Iterator[None]:
    """Context manager: the environment is at rest while the block lasts, and awake after it.

    Args:
        engine: an engine that works; without one there is nothing to put to rest.
        hosts: the machines of its hosts, which run.
        restore: wake it at the end; if something fails it is woken in any case.

    Raises:
        EngineError: something does not get to rest, or does not wake, in time.
        VMError: a service does not stop or start.
    """
    with RollbackContext() as undo:
        if engine is not None:
            with task("Put the environment to rest"):
                undo.prependDefer(activate, engine)
                deactivate(engine)
                engine.disconnect()
                undo.prependDefer(wake_services, engine, hosts)
                with task(f"Stop {ENGINE_SERVICE} on {engine.name()}"):
                    engine.service(ENGINE_SERVICE).stop()
                in_parallel(_rest_host, hosts, what="stop services of hosts", cancel=engine.env.cancelled.set)
        yield
        if not restore:
            undo.clear()
