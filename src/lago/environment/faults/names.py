"""Names that the environment's name server answers wrongly for.

Its file of names is written again, which it reads when it gets a signal (dnsmasq(8), SIGHUP). Libvirt would do that
too, but refuses a name that has two addresses, as those of machines do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ...errors import HypervisorError, LagoError
from ...host.programs import run
from .model import Fault

if TYPE_CHECKING:
    from ...virt import VirtEnv
    from ...virt.network import Network

_DIRECTORY: Final = "/var/lib/libvirt/dnsmasq"
_RELOAD: Final = (
    f'cat > "{_DIRECTORY}/$1.addnhosts.new" && mv "{_DIRECTORY}/$1.addnhosts.new" "{_DIRECTORY}/$1.addnhosts" && '
    'kill -HUP "$(cat "/run/libvirt/network/$1.pid")"'
)

Records = Mapping[str, Sequence[str]]
"""Names by address."""


def check(env: VirtEnv, fault: Fault) -> None:
    """Raise LagoError if there is no name server to break, or the fault says nothing, or both of two things."""
    if not env.nets_up() & {net.name() for net in env.get_nets().values() if net.is_management()}:
        raise LagoError("no management net is up, so nobody answers for names", hint="lago start")
    if bool(fault.settings.get("fail")) == bool(fault.settings.get("answer")):
        raise LagoError("dns takes --fail, or --answer", hint="lago fault dns --answer db=192.168.200.99")


def wrong(records: Records, faults: Iterable[Fault]) -> dict[str, list[str]]:
    """The records as faults say that they are; an answer takes the place of all that a name has."""
    found = {address: list(names) for address, names in records.items()}
    for fault in faults:
        for answer in fault.settings.get("answer", ()):
            name, _, address = answer.partition("=")
            for names in found.values():
                names[:] = [one for one in names if one.lower() != name]
            found.setdefault(address, []).append(name)
    return {address: names for address, names in found.items() if names}


def answer(env: VirtEnv, changed: Iterable[Fault], now: Sequence[Fault]) -> None:
    """See that name servers answer as faults say. Raises HypervisorError if one can't be told."""
    if not any(one.settings.get("answer") for one in changed if one.kind == "dns"):
        return
    ours = [one for one in now if one.kind == "dns"]
    up = env.nets_up()
    for net in env.get_nets().values():
        if net.is_management() and net.name() in up:
            _tell(env, net, wrong(net.records(), ours))


def _tell(env: VirtEnv, net: Network, records: Records) -> None:
    lines = "".join(f"{address}\t{' '.join(names)}\n" for address, names in records.items())
    command = env.hypervisor.command(["sh", "-c", _RELOAD, "sh", net.libvirt_name()])
    if done := run(command, input_data=lines.encode(), check=False):
        raise HypervisorError(f"the name server of net {net.name()} can't be told", details=done.complaint)
