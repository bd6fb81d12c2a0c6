"""What the DNS keys of networks must mean together with everything else."""

from __future__ import annotations

from typing import Any

from ..topology.names import machine_names, nic_names
from .faults import At, did_you_mean, quoted
from .values import octets

Table = dict[str, Any]


def check_dns(top: At, env: Table) -> None:
    """Names are on management nets, lead somewhere, and are not taken."""
    machines, nics = _names(env)
    records: dict[str, tuple[At, str]] = {}
    for name, net in env["nets"].items():
        at = top["nets"][name]
        for key in ("dns_domain_name", "dns_records"):
            if net[key] and name not in env["management"] and len(env["nets"]) > 1:
                at[key].fault(
                    "only management nets answer for names, so it has no effect here: "
                    f"move it to {' or '.join(sorted(env['management']))}, or add management: true",
                    of_key=True,
                )
        net["dns_records"] = {key.lower(): target for key, target in (net["dns_records"] or {}).items()}
        given = at["dns_records"].value
        spelled = {key.lower(): key for key in given} if isinstance(given, dict) else {}
        for record, target in net["dns_records"].items():
            place = at["dns_records"][spelled[record]]
            if record in machines or record in nics:
                place.fault("this is the name of a machine, or of one of its nics, already", of_key=True)
            records[record] = (place, target)
    _aliases(records, machines, nics)


def _names(env: Table) -> tuple[dict[str, bool], dict[str, bool]]:
    """The names of machines, and those of their nics, in small letters; whether there is an address behind each."""
    machines, nics = {}, {}
    for vm, domain in env["domains"].items():
        nets = [nic["net"] for nic in domain["nics"] if nic and nic["net"]]
        known = [net for net in nets if net in env["nets"]]
        addressed = {net for net in known if env["nets"][net]["type"] != "bridge"}
        for name in machine_names(vm):
            machines[name.lower()] = bool(addressed & env["management"])
        for net, names in zip(nets, nic_names(vm, nets), strict=True):
            nics.update(dict.fromkeys(map(str.lower, names), net in addressed))
    return machines, nics


def _aliases(records: dict[str, tuple[At, str]], machines: dict[str, bool], nics: dict[str, bool]) -> None:
    known = {**nics, **machines}
    for name, (at, target) in records.items():
        chain = [name]
        while target in records and target not in chain:
            chain.append(target)
            target = records[target][1]
        if target in chain:
            at.fault(f"names lead to each other in a circle: {' -> '.join([*chain, target])}")
        elif octets(target) or ":" in target or known.get(target):
            continue
        elif target in known:
            at.fault(f"{target} has no address that could be told")
        elif len(chain) == 1:
            at.fault(
                f"{quoted(target)} is neither an address nor a name of this environment{did_you_mean(target, machines)}"
                if machines
                else f"{quoted(target)} is neither an address nor a name of this environment"
            )
