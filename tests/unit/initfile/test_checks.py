"""Specs know their place, and rules are functions of them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import pytest

from lago.errors import InitFileError
from lago.initfile import checks, document, net_checks, parse
from lago.initfile.document import Mistake
from lago.initfile.keys import DISK, DOMAIN, ENVIRONMENT, NET, NIC
from lago.initfile.mistakes import At, Mistakes
from lago.initfile.sections import ListOf, MappingOf, Section
from lago.topology.address import Address
from lago.topology.given import Machine, key_of
from lago.topology.place import Place
from lago.topology.spec import DomainSpec, EnvSpec, NetSpec, NicSpec


def read(text: str) -> EnvSpec:
    """What a file says, right or wrong."""
    found = document.loads(text, "F")
    env: EnvSpec = ENVIRONMENT.read(At(found, Mistakes(found), (), found.data))
    return env


def test_a_spec_knows_its_place_and_what_stands_there() -> None:
    env = read("{domains: {vm0: {vcpu: 1, memory: , nics: [{}, {net: lab}]}}, nets: {lab: {gw: x}}}")
    assert env.domains["vm0"].at == Place(("domains", "vm0"), frozenset({"vcpu", "nics"}))
    assert [nic.at.path for nic in env.domains["vm0"].nics] == [("domains", "vm0", "nics", n) for n in (0, 1)]
    assert "gw" in env.nets["lab"].at.keys
    assert (env.nets["lab"].at / "gw").path == ("nets", "lab", "gw")


def test_the_same_wish_at_two_places_is_equal() -> None:
    one = parse.parse(document.loads("domains: {vm0: {nics: [{net: lab}]}}\nnets: {lab: {}}", "F"))
    other = parse.parse(document.loads("# later\nnets: {lab: }\ndomains: {vm0: {nics: [{net: lab}], vcpu: 2}}", "F"))
    assert one == other
    assert one.domains["vm0"].at != other.domains["vm0"].at
    assert "Place" not in repr(one)


def test_a_rule_needs_specs_alone() -> None:
    def nic(number: int) -> NicSpec:
        return NicSpec(net="lab", ip=Address("192.168.200.7"), at=Place(("n", number)))

    env = EnvSpec(
        domains={name: DomainSpec(name=name, nics=(nic(number),)) for number, name in enumerate(("a", "b"))},
        nets={"lab": NetSpec(name="lab")},
    )
    assert list(net_checks.own_addresses(env)) == [
        Mistake(Place(("n", 1, "ip")), "192.168.200.7 is the address of a already, choose another")
    ]


def test_rules_leave_specs_as_they_are() -> None:
    env = read(
        """
        domains:
          vm0: {service_class: systemd, disks: [{}, {size: 1G, path: x}], nics: [{net: wire, ip: 8.8.8.8}, {net: no}]}
          VM0: {nics: [{net: lab, ip: 192.168.200.1}], type: ova}
        nets:
          wire: {type: bridge, gw: 10.0.0.1}
          lab: {gw: 8.8.8.1, dhcp: {start: 9, end: 3}, dns_records: {WWW: nowhere}}
        """
    )
    before = copy.deepcopy(env)
    told = [mistake for rule in checks.RULES for mistake in rule(env)]
    assert len(told) > 8
    assert dataclasses.astuple(env) == dataclasses.astuple(before)


def test_a_mistake_that_may_come_of_another_waits_for_that() -> None:
    def lines(nics: str) -> list[str]:
        with pytest.raises(InitFileError) as caught:
            parse.parse(document.loads(f"domains: {{vm0: {{nics: {nics}}}}}\nnets: {{a: {{}}, b: {{}}}}", "F"))
        return [line.partition(": ")[2] for line in caught.value.mistakes]

    [alone] = lines("[{net: b}]")
    assert alone.startswith("domains.vm0.nics: no nic is on the management net")
    assert lines("[{net: b}, {net: bb}]") == [
        'domains.vm0.nics[1].net: unknown net "bb", did you mean "b"? (nets: a, b)',
    ]


def test_what_is_wrong_of_one_nic_hides_nothing_of_the_others() -> None:
    with pytest.raises(InitFileError) as caught:
        parse.parse(
            document.loads(
                """
domains:
  vm0:
    nics:
      - {net: lab, ip: nonsense}
      - {net: 7}
      - {ip: 192.168.200.9}
      - {net: lab, ip: 192.168.200.8}
      - {net: lab, ip: 192.168.200.8}
nets: {lab: {}}
""",
                "F",
            )
        )
    assert [line.split(": ")[1] for line in caught.value.mistakes] == [
        "domains.vm0.nics[0].ip",
        "domains.vm0.nics[1].net",
        "domains.vm0.nics[2]",
        "domains.vm0.nics[4].ip",
    ]


def sections(section: Section) -> Iterator[Section]:
    yield section
    for field in section.fields.values():
        reader = field.reader
        while isinstance(reader, MappingOf | ListOf):
            reader = reader.item
        if isinstance(reader, Section) and reader.spec is not section.spec:
            yield from sections(reader)


def test_every_key_has_its_attribute() -> None:
    elsewhere = {"based_on", "prototypes"}
    found = list(sections(ENVIRONMENT))
    assert {DOMAIN.spec, DISK.spec, NIC.spec, NET.spec} <= {section.spec for section in found}
    for section in found:
        attributes = {one.name for one in dataclasses.fields(section.spec)}
        keys = {field.attribute or key.replace("-", "_") for key, field in section.fields.items()}
        assert keys - attributes <= elsewhere, section.spec


def test_the_state_on_disk_has_the_keys_of_an_init_file() -> None:
    keys = {key: field.attribute or key.replace("-", "_") for key, field in DOMAIN.fields.items()}
    for one in dataclasses.fields(Machine):
        assert one.name == "name" or keys[key_of(one)] == one.name


def test_a_long_chain_of_prototypes_is_refused_with_its_place() -> None:
    chain = "".join(f"  p{n}: {{based-on: p{n + 1}}}\n" for n in range(3000))
    text = f"domains: {{vm0: {{based-on: p0}}}}\nprototypes:\n{chain}  p3000: {{}}\n"
    findings = [str(one) for one in parse.examine(document.loads(text, "x")).findings]
    assert "x:102:19: prototypes.p99.based-on: more than 100 prototypes are based on each other" in findings
