"""What the DNS keys of networks must mean together with everything else."""

from __future__ import annotations

from collections.abc import Iterator

from ..topology.address import Address
from ..topology.names import machine_names, nic_names
from ..topology.spec import DnsRecord, EnvSpec
from .document import Mistake, quote
from .mistakes import expected
from .net_checks import addressed_nets, management


def on_management_nets(env: EnvSpec) -> Iterator[Mistake]:
    """Names are on nets that answer for them."""
    managing = management(env.nets.values())
    for net in addressed_nets(env):
        for key, value in {"dns_domain_name": net.dns_domain_name, "dns_records": net.dns_records}.items():
            if value and net.name not in managing and len(env.nets) > 1:
                message = (
                    "only management nets answer for names, so it has no effect here: "
                    f"move it to {' or '.join(sorted(managing))}, or add management: true"
                )
                yield Mistake(net.at / key, message, of_key=True)


def own_names(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a record has a name that nothing else has."""
    machines, nics = _machines(env), _nics(env)
    for net in addressed_nets(env):
        for name, record in net.dns_records.items():
            if name in machines or name in nics:
                message = "this is the name of a machine, or of one of its nics, already"
                yield Mistake(record.at, message, of_key=True)


def leads_somewhere(env: EnvSpec) -> Iterator[Mistake]:
    """Check that a record leads to an address in the end."""
    machines = _machines(env)
    known = {**_nics(env), **machines}
    records: dict[str, DnsRecord] = {}
    for net in addressed_nets(env):
        records |= net.dns_records
    for name, record in records.items():
        chain, target = [name], record.target
        while target in records and target not in chain:
            chain.append(target)
            target = records[target].target
        if target in chain:
            yield Mistake(record.at, f"names lead to each other in a circle: {' -> '.join([*chain, target])}")
        elif isinstance(target, Address) or ":" in target or known.get(target):
            continue
        elif target in known:
            yield Mistake(record.at, f"{target} has no address that could be told")
        elif len(chain) == 1:
            nearest = expected(target, machines) if machines else ""
            yield Mistake(record.at, f"{quote(target)} is neither an address nor a name of this environment{nearest}")


def _machines(env: EnvSpec) -> dict[str, bool]:
    """The names of machines in small letters, and whether there is an address behind each."""
    with_address = management(env.nets.values()) & {net.name for net in addressed_nets(env)}
    return {
        name.lower(): any(nic.net in with_address for nic in domain.nics)
        for vm, domain in env.domains.items()
        for name in machine_names(vm)
    }


def _nics(env: EnvSpec) -> dict[str, bool]:
    """The names of nics in small letters, and whether there is an address behind each."""
    with_address = {net.name for net in addressed_nets(env)}
    found = {}
    for vm, domain in env.domains.items():
        nets = [nic.net for nic in domain.nics if nic.net]
        for net, names in zip(nets, nic_names(vm, nets), strict=True):
            found.update(dict.fromkeys(map(str.lower, names), net in with_address))
    return found
