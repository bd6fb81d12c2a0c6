"""What is asked of several machines at once, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import LagoError
from ..host.parallel import in_parallel
from . import reach
from .reach import Reach, Reachability
from .vm import VM


def run_on_all(
    vms: Iterable[VM], command: str | Sequence[str], *, timeout: float | None = None, json: bool = False
) -> dict[str, Any]:
    """Run a command on machines, side by side; see `lago.sdk.Env.run_on_all`."""
    todo = list(vms)
    said = in_parallel(
        lambda vm: vm.succeed(command, timeout=timeout, json=True) if json else vm.succeed(command, timeout=timeout),
        todo,
        what="run on all",
    )
    return {vm.name(): one for vm, one in zip(todo, said, strict=True)}


def wait_all(
    vms: Mapping[str, VM] | Iterable[VM], command: str | Sequence[str], timeout: float = 300.0
) -> dict[str, str]:
    """Run a command on machines, side by side, on each again and again until it succeeds there.

    Args:
        vms: the machines, such as `env.get_vms()` or a list of them.
        command: a list of words, which is quoted, or a text for the guest's shell.
        timeout: seconds after which it is not run again.

    Returns:
        What it said on each machine when it succeeded, by the machine's name.

    Raises:
        VMError: on one machine it has not succeeded by then; has what it said last.
        VMNotRunning, VMNotReady, SSHError: one can't be reached, or no longer.
        Errors: several of these.
    """
    todo = list(vms.values() if isinstance(vms, Mapping) else vms)
    said = in_parallel(lambda vm: vm.wait_until_succeeds(command, timeout), todo, what="wait for all")
    return {vm.name(): one for vm, one in zip(todo, said, strict=True)}


def reachability(vms: Iterable[VM], *, port: int | None, net: str | None, timeout: float) -> Reachability:
    """Ask machines which of each other they reach; see `lago.sdk.Env.reachability`."""
    reach.check(port, timeout)
    todo = list(vms)
    for vm in todo[:1] if net else ():
        vm.env.get_net(net)

    def row(vm: VM) -> dict[str, Reach]:
        others = [other for other in todo if other is not vm]
        try:
            return reach.ask(vm, others, port, net, timeout)
        except LagoError as error:
            return {other.name(): Reach(why=str(error)) for other in others}

    rows = in_parallel(row, todo, what="ask whom they reach")
    return Reachability({vm.name(): one for vm, one in zip(todo, rows, strict=True)})
