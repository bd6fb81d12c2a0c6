"""What the keys of an init file must mean together, as a list of rules.

A rule takes the specs that were read, complains, and changes nothing. What could not be read is as if it were absent,
so a rule passes over what is empty; and what one rule refuses, the others don't rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..topology.spec import EnvSpec
from . import disk_checks, dns_checks, machine_checks, net_checks
from .document import Fault
from .faults import Faults

RULES: Final[tuple[Callable[[EnvSpec], Iterator[Fault]], ...]] = (
    net_checks.known_nets,
    net_checks.one_management_net,
    disk_checks.what_is_on_them,
    disk_checks.only_cds_are_hd,
    disk_checks.room,
    disk_checks.told_apart,
    machine_checks.appliances,
    machine_checks.processors,
    machine_checks.firmware,
    machine_checks.services,
    machine_checks.scripts,
    machine_checks.tags,
    machine_checks.own_names,
    machine_checks.own_files,
    net_checks.bare_bridges,
    net_checks.gateways,
    net_checks.dhcp_ranges,
    net_checks.no_address_on_bridges,
    net_checks.private_addresses,
    net_checks.own_subnets,
    net_checks.own_addresses,
    dns_checks.on_management_nets,
    dns_checks.own_names,
    dns_checks.leads_somewhere,
)


def check(env: EnvSpec, faults: Faults) -> None:
    """Apply every rule, one after the other."""
    for rule in RULES:
        # What a rule says may depend on faults of those before it, but not on its own.
        found = [fault for fault in rule(env) if fault.unless is None or not faults.below(fault.unless.path)]
        for fault in found:
            faults.add(fault)
