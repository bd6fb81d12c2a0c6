"""What is refused of an init file of somebody else's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.errors import HypervisorError, LagoError
from lago.hypervisor import libvirt_url
from lago.templates import TemplateRepository, own_repository
from lago.topology.variables import fill_in_address

from ..conftest import Lago, make_prefix

pytestmark = pytest.mark.programs

EMPTY = "{type: empty, size: 1M, format: raw}"


def init_file(machine: str, net: str = "{}") -> str:
    return f"domains:\n  vm0: {{{machine}, nics: [{{net: lan}}]}}\nnets:\n  lan: {net}\n"


@pytest.fixture
def place(lago: Lago, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an init file, with an image below it and one outside."""
    assert lago
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    here = tmp_path / "here"
    (here / "below").mkdir(parents=True)
    for path in (here / "below" / "image", tmp_path / "outside"):
        path.write_bytes(bytes(512 * 8))
    (here / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(here / "pipe")
    (here / "script").write_text("#!/bin/bash\n")
    monkeypatch.chdir(here)
    return here


REFUSED = {
    "a file outside": ("disks: [{type: file, path: ../outside, format: raw}]", "is outside of"),
    "a file outside by its whole path": ("disks: [{type: file, path: /etc/hosts, format: raw}]", "is outside of"),
    "a file outside by a variable": ("disks: [{type: file, path: $SOMEWHERE/outside, format: raw}]", "is outside of"),
    "a file outside by a link": ("disks: [{type: file, path: link, format: raw}]", "is outside of"),
    "a file outside by its address": ("disks: [{url: 'file:///etc/hosts', format: raw}]", "is outside of"),
    "a file outside by a quoted address": ("disks: [{url: 'file:///%65tc/hosts', format: raw}]", "is outside of"),
    "an image to lie over": (
        "disks: [{type: template, template_type: qcow2, path: /etc/hosts, format: qcow2}]",
        "is outside of",
    ),
    "what is no file": ("disks: [{type: file, path: pipe, format: raw}]", "is no file"),
    "an appliance": ("type: ova, url: 'file:///etc/hosts'", "is outside of"),
    "a share": (f"disks: [{EMPTY}], shares: [{{path: .}}]", "shares let the guest"),
    "programs": (
        "disks: [{type: empty, size: 1M, format: raw, build: [{virt-customize: {upload: '/etc/shadow:/x'}}]}]",
        "build runs programs",
    ),
    "a script": (f"disks: [{EMPTY}], metadata: {{deploy-scripts: [script]}}", "deploy-scripts are read on this host"),
    "a script of oVirt": (f"disks: [{EMPTY}], metadata: {{ovirt-scripts: [script]}}", "ovirt-scripts are read"),
    "a plugin": (f"disks: [{EMPTY}], vm-provider: far", "the plugin far runs the machine elsewhere"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("command", [("validate",), ("init",)])
def test_what_leads_to_this_host_is_refused(
    place: Path, what: str, command: tuple[str, ...], lago: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, message = REFUSED[what]
    (place / "LagoInitFile").write_text(init_file(machine))
    out, err = lago.both(*command, "--restrict", code=2)
    [told] = [line for line in (out + err).splitlines() if message in line]
    assert "LagoInitFile:2:" in told
    assert "--restrict" in told
    monkeypatch.setenv("LAGO_RESTRICT", "yes")
    assert message in "".join(lago.both(*command, code=2))
    assert not (place / ".lago").exists()


def test_a_bridge_is_refused(place: Path, lago: Lago) -> None:
    (place / "LagoInitFile").write_text(init_file(f"disks: [{EMPTY}]", "{type: bridge}"))
    assert "LagoInitFile:4:15: nets.lan.type: a bridge puts guests" in "".join(
        lago.both("validate", "--restrict", code=2)
    )


def test_what_stays_in_its_directory_is_taken(place: Path, lago: Lago) -> None:
    machine = "bootstrap: none, disks: [{type: file, path: below/image, format: raw, make_a_copy: true}]"
    (place / "LagoInitFile").write_text(init_file(machine))
    lago("init", "--restrict")
    lago("destroy", "--yes")


def test_repository_documents_name_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "name": "team",
        "sources": {"s": {"type": "file", "args": {"root": "/"}}},
        "templates": {"t": {"versions": {"1": {"source": "s", "handle": "etc/shadow", "timestamp": 1}}}},
    }
    path = tmp_path / "repo.json"
    path.write_text(json.dumps(document))
    assert TemplateRepository.from_url(str(path)).get_by_name("t")
    monkeypatch.setenv("LAGO_RESTRICT", "yes")
    with pytest.raises(LagoError, match="is restricted, and names files of this host as images"):
        TemplateRepository.from_url(str(path)).get_by_name("t")
    assert own_repository().get_by_name("mini")


def test_an_environment_names_no_libvirt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = make_prefix(tmp_path / "prefix")
    (prefix / "metadata").write_text(json.dumps({"libvirt_url": "qemu:///system"}))
    monkeypatch.setenv("LAGO_RESTRICT", "yes")
    with pytest.raises(HypervisorError, match="names the libvirt qemu:///system, and it is restricted"):
        assert Prefix(str(prefix)).hypervisor
    monkeypatch.setenv("LAGO_LIBVIRT_URL", "qemu:///system")
    assert libvirt_url({"libvirt_url": "qemu:///system"}, "x") == "qemu:///system"


VARIABLES = {"TOKEN": "secret", "LAGO_PART": "part", "HOME": "/home/u", "SITE": "http://site/dir"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://x/${LAGO_PART}", "http://x/part"),
        ("$SITE/x", "http://site/dir/x"),
        ("${SITE}", "http://site/dir"),
        ("file://$HOME/x", "file:///home/u/x"),
        ("http://x/$TOKEN", None),
        ("http://x/?${TOKEN}", None),
        ("$SITE/?$TOKEN", None),
        ("http://$TOKEN/", None),
    ],
)
def test_servers_are_told_of_no_variables_but_ours(text: str, address: str | None) -> None:
    if address is not None:
        assert fill_in_address(text, VARIABLES) == address
        return
    with pytest.raises(LagoError, match=r"the variable TOKEN in .* would be told to a server") as raised:
        fill_in_address(text, VARIABLES)
    assert "secret" not in raised.value.render()
    assert "LAGO_TOKEN" in raised.value.hint


@pytest.mark.parametrize(
    "machine", ["disks: [{url: 'http://x/?$TOKEN', format: raw}]", "type: ova, url: 'http://x/$TOKEN'"]
)
def test_init_files_send_no_variables_elsewhere(
    place: Path, machine: str, lago: Lago, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    (place / "LagoInitFile").write_text(init_file(machine))
    for command in ("validate", "init"):
        said = "".join(lago.both(command, code=2))
        assert "the variable TOKEN in http://x/" in said
        assert "secret" not in said
