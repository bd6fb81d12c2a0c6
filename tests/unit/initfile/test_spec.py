"""What an init file says, and every way of saying it wrong."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from lago import config
from lago.errors import InitFileError
from lago.initfile import document, parse
from lago.topology import spec

GOLDEN = Path(__file__).parents[2] / "golden" / "bad"
BAD = sorted(path for path in GOLDEN.iterdir() if path.suffix in (".yaml", ".json"))
ODD = sorted(GOLDEN.with_name("odd").glob("*.yaml"))


def parsed(text: str) -> spec.EnvSpec:
    return parse.parse(document.loads(text, "LagoInitFile"))


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(InitFileError) as caught:
        parsed(text)
    return caught.value.mistakes


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_a_bad_file_is_refused_with_this_message(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(path, tmp_path / "LagoInitFile")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InitFileError) as caught:
        parse.parse(document.read("LagoInitFile"))
    message = caught.value.render() + "\n"
    expected = path.with_suffix(".txt")
    if not expected.exists():
        expected.write_text(message)
        pytest.fail(f"{expected} was missing; it is written now: read it")
    assert message == expected.read_text()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("path", ODD, ids=lambda path: path.name)
def test_an_odd_file_is_read_with_these_warnings_which_strict_makes_mistakes(
    path: Path, strict: bool, caplog: pytest.LogCaptureFixture
) -> None:
    odd = document.loads(path.read_text(), "LagoInitFile")
    config.set_command_line({"strict": strict})
    if strict:
        with pytest.raises(InitFileError) as caught:
            parse.parse(odd)
        found = "".join(f"{line}\n" for line in caught.value.mistakes)
        assert not caplog.messages
    else:
        with caplog.at_level(logging.WARNING, logger="lago"):
            parse.parse(odd)
        found = "".join(f"{line}\n" for line in caplog.messages)
    expected = path.with_suffix(".txt")
    if not expected.exists():
        expected.write_text(found)
        pytest.fail(f"{expected} was missing; it is written now: read it")
    assert found == expected.read_text()


def test_mistakes_stand_in_the_order_of_the_file() -> None:
    lines = mistakes("nets: {a: {gw: x}}\ndomains:\n  -B: {vcpu: 0}\n  a: {memory: 1}\n")
    assert [line.split(":")[1] for line in lines] == ["1", "3", "3", "4"]


@pytest.mark.parametrize(
    ("disks", "place", "says"),
    [
        (["{size: 1M}"] * 201, 200, "a machine has no room for more than 200 disks, give the rest to another one"),
        (["{size: 1M}"] * 800, 200, "a machine has no room for more than 200 disks, give the rest to another one"),
        (["{path: a.iso}"] * 27, 26, "more than 26 CDs and disks called sdX, give the rest to another one"),
        (["{size: 1M, dev: sdb}", *["{path: a.iso}"] * 800], 26, "more than 26 CDs and disks called sdX"),
    ],
)
def test_more_disks_than_a_machine_has_room_for_are_a_mistake(disks: list[str], place: int, says: str) -> None:
    with pytest.raises(InitFileError) as raised:
        parsed(f"domains: {{vm0: {{disks: [{', '.join(disks)}]}}}}")
    [mistake] = raised.value.mistakes
    assert f"domains.vm0.disks[{place}]: " in mistake
    assert says in mistake


def test_as_many_disks_as_a_machine_has_room_for_are_none() -> None:
    disks = ["{size: 1M}"] * 200 + ["{path: a.iso}"] * 26
    devs = [disk.dev for disk in parsed(f"domains: {{vm0: {{disks: [{', '.join(disks)}]}}}}").domains["vm0"].disks]
    assert (devs[25:28], devs[199:201], devs[-1]) == (["vdz", "vdaa", "vdab"], ["vdgr", "sda"], "sdz")


def test_defaults_of_a_machine_and_its_disks() -> None:
    env = parsed("{domains: {vm0: {disks: [{template_name: mini}, {size: 1k}, {size: 2M}]}}}".replace("1k", "1024K"))
    vm = env.domains["vm0"]
    assert (vm.memory, vm.vcpu, vm.nics, vm.groups, vm.artifacts, vm.metadata) == (1024, 2, (), (), (), {})
    assert [(d.name, d.type, d.dev, d.format, d.size) for d in vm.disks] == [
        ("root", "template", "vda", "qcow2", None),
        ("disk1", "empty", "vdb", "qcow2", 1 << 20),
        ("disk2", "empty", "vdc", "qcow2", 2 << 20),
    ]


@pytest.mark.parametrize(
    ("text", "mib"), [("512", 512), ('"512"', 512), ("512M", 512), ("2G", 2048), ("1.5g", 1536), ("65536K", 64)]
)
def test_memory_is_in_mib_or_has_a_unit(text: str, mib: int) -> None:
    assert parsed(f"domains: {{vm0: {{memory: {text}}}}}").domains["vm0"].memory == mib


def test_devices_that_are_not_named_are_the_next_free_ones() -> None:
    disks = ", ".join(["{size: 1M, dev: vda}", *["{size: 1M}"] * 27])
    devs = [disk.dev for disk in parsed(f"domains: {{vm0: {{disks: [{disks}]}}}}").domains["vm0"].disks]
    assert devs[:3] == ["vda", "vdb", "vdc"]
    assert devs[25:] == ["vdz", "vdaa", "vdab"]


def test_a_disk_of_a_template_is_always_qcow2() -> None:
    env = parsed("domains: {vm0: {disks: [{template_name: mini, format: raw}]}}")
    assert env.domains["vm0"].disks[0].format == "qcow2"


def test_the_first_net_by_name_is_for_management_when_none_is_marked() -> None:
    env = parsed("{domains: {}, nets: {b: {}, a: {}}}")
    assert [(net.name, net.management) for net in env.nets.values()] == [("b", False), ("a", True)]


def test_templates_are_listed_once_each() -> None:
    disks = "[{template_name: b}, {template_name: a, template_version: '2'}, {template_name: b}, {size: 1G}]"
    assert parsed(f"domains: {{vm0: {{disks: {disks}}}}}").templates() == (("b", None), ("a", "2"))


def test_keys_that_begin_with_x_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    text = "{x-note: [1, 2], domains: {vm0: {x-note: 1, nics: [{net: lab, x-y: }]}}, nets: {lab: {x-z: {}}}}"
    assert list(parsed(text).domains) == ["vm0"]
    assert not caplog.records


def test_a_key_that_only_holds_anchors_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="lago"):
        env = parsed("base: &base {memory: 64, nics: [{net: lab}]}\ndomains: {vm0: *base}\nnets: {lab: {}}\n")
    assert env.domains["vm0"].memory == 64
    assert caplog.messages == ["LagoInitFile:1:1: base: only its anchors are used; call it x-base to say so"]


def test_a_misspelt_key_that_uses_anchors_is_a_mistake() -> None:
    assert mistakes("x-base: &base {memory: 64}\ndomians: {vm0: *base}\ndomains: {}\n") == (
        "LagoInitFile:2:1: domians: unknown key, did you mean domains?",
    )


def test_the_rest_of_a_machine_with_a_bad_name_is_checked_too() -> None:
    assert [line.split(": ")[1] for line in mistakes("domains: {VM-: {vcpu: 0, memry: 1}}")] == [
        "domains.VM-",
        "domains.VM-.vcpu",
        "domains.VM-.memry",
    ]


def test_a_wrong_net_of_one_nic_is_not_told_as_a_missing_management_net_too() -> None:
    assert len(mistakes("{domains: {vm0: {nics: [{net: lba}]}}, nets: {lab: {}}}")) == 1


def test_machines_behind_one_anchor_are_distinct_values() -> None:
    env = parsed("{domains: {vm0: &vm {metadata: {a: [1]}}, vm1: *vm}}")
    assert env.domains["vm0"].metadata is not env.domains["vm1"].metadata


@pytest.mark.parametrize("text", ["123456", "0123", "1e3", "1.10", "yes", "No", "0x1F", "1_000", "+7", "12:30", "true"])
@pytest.mark.parametrize("key", ["root-password", "ssh-password"])
def test_a_password_without_quotes_is_what_the_file_spells(key: str, text: str) -> None:
    vms = parsed(f"prototypes: {{p: {{{key}: {text}}}}}\ndomains: {{a: {{{key}: {text}}}, b: {{based-on: p}}}}").domains
    assert [getattr(vm, key.replace("-", "_")) for vm in vms.values()] == [text, text]
    assert getattr(parsed(json.dumps({"domains": {"a": {key: text}}})).domains["a"], key.replace("-", "_")) == text


@pytest.mark.parametrize("text", ["", "~", "null", "[1]", "{a: 1}", '""'])
def test_what_is_no_password_is_refused(text: str) -> None:
    [mistake] = mistakes(f"domains: {{a: {{ssh-password: {text}}}}}")
    assert "domains.a.ssh-password: expected text such as" in mistake


def test_a_comment_that_is_a_section_is_a_name() -> None:
    env = parsed("domains: {comment: {nics: [{net: comment}]}}\nnets: {comment: {comment: of all}}")
    assert list(env.domains) == ["comment"]
    assert list(env.nets) == ["comment"]
