"""What the keys of an init file must mean together, as a list of rules.

A rule takes the specs that were read, complains, and changes nothing. What could not be read is as if it were absent,
so a rule passes over what is empty; and what one rule refuses, the others don't rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ..topology.spec import EnvSpec
from . import disk_checks, dns_checks, machine_checks, net_checks
from .document import Mistake
from .mistakes import Mistakes

Rule = Callable[[EnvSpec], Iterator[Mistake]]

RULES: Final[tuple[Rule, ...]] = (
    net_checks.known_nets,
    net_checks.one_management_net,
    disk_checks.what_is_on_them,
    disk_checks.only_cds_are_hd,
    disk_checks.room,
    disk_checks.told_apart,
    machine_checks.appliances,
    machine_checks.processors,
    machine_checks.firmware,
    machine_checks.scripts,
    machine_checks.deploy_order,
    machine_checks.command_names,
    machine_checks.tags,
    machine_checks.some,
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


def check(env: EnvSpec, mistakes: Mistakes, rules: Iterable[Rule] = RULES) -> None:
    """Apply every rule, one after the other."""
    for rule in rules:
        # What a rule says may depend on mistakes of those before it, but not on its own.
        found = [mistake for mistake in rule(env) if mistake.unless is None or not mistakes.below(mistake.unless.path)]
        for mistake in found:
            mistakes.add(mistake)
