"""An environment at rest, such that its disks and memory can be held fast, and awake again.

To rest: storage domains, hosts, the service of the engine, those of the hosts. Awake: the reverse.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lago.host.parallel import in_parallel
from lago.log import LOG, task
from lago.utils import RollbackContext

from ..constants import ENGINE_SERVICE, HOST_SERVICES
from ..errors import EngineError

if TYPE_CHECKING:
    from ..machines import HostVM
    from ..virt import OvirtVirtEnv
    from .machine import EngineVM


def working_engine(env: OvirtVirtEnv) -> EngineVM | None:
    """The engine, if its machine and those of all hosts run and it is set up; otherwise there is nothing to wake."""
    engine = env.engine_vm()
    states = env.states()
    machines = [*([engine] if engine else []), *env.host_vms()]
    if engine is None or any(states[vm.name()] != "running" for vm in machines):
        return None
    if not engine.is_set_up():
        LOG.info("the engine on %s is not set up", engine.name())
        return None
    return engine


def deactivate(engine: EngineVM) -> None:
    """Put storage domains and hosts into maintenance.

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


def end_all(engine: EngineVM) -> None:
    """Stop the virtual machines of an engine that answers, and deactivate. Raises EngineError."""
    from . import vms

    engine.get_api(wait=False)
    with task("Stop virtual machines"):
        vms.stop(engine)
    deactivate(engine)


def activate(engine: EngineVM) -> None:
    """Let hosts be up and storage domains active. Raises EngineError."""
    from . import hosts, storage

    with task("Activate hosts"):
        hosts.activate(engine)
    with task("Activate storage domains"):
        storage.activate(engine)


def wake_services(env: OvirtVirtEnv, engine: EngineVM) -> None:
    """See that the services of hosts run, then the engine's, and that it answers. Raises VMError, EngineError."""
    in_parallel(_wake_host, env.host_vms(), what="start services of hosts", cancel=env.cancelled.set)
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
def at_rest(env: OvirtVirtEnv, *, restore: bool) -> Iterator[None]:
    """The environment is at rest while the block lasts, and awake after it.

    Args:
        restore: wake it at the end; if something fails it is woken in any case.

    Raises:
        EngineError: something does not get to rest, or does not wake, in time.
        VMError: a service does not stop or start.
    """
    engine = working_engine(env)
    with RollbackContext() as undo:
        if engine is not None:
            with task("Put the environment to rest"):
                undo.prependDefer(activate, engine)
                deactivate(engine)
                engine.disconnect()
                undo.prependDefer(wake_services, env, engine)
                with task(f"Stop {ENGINE_SERVICE} on {engine.name()}"):
                    engine.service(ENGINE_SERVICE).stop()
                in_parallel(_rest_host, env.host_vms(), what="stop services of hosts", cancel=env.cancelled.set)
        yield
        if not restore:
            undo.clear()
