"""Pictures of environments."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lago.cli import pictures
from lago.cli.status import label
from lago.environment.status import Machine, Network, Nic, Status
from lago.errors import HostError

from ..conftest import Lago, make_prefix
from . import test_output

STATUS = Status(
    path="/path",
    uuid="fe68",
    machines={
        "vm0": Machine(
            host_name="vm0",
            state="down",
            nics={"eth0": Nic("n0", "192.168.201.2"), "eth1": Nic("br", None)},
            distro="cirros",
            metadata={},
            root_password="123456",
            snapshots=(),
        )
    },
    networks={"n0": Network("down", "192.168.201.1", management=True), "br": Network("up", None, management=False)},
    snapshots={},
)

NO_BREAK = "\u00a0"

MERMAID = """\
graph LR
    net0(["n0<br/>192.168.201.1<br/>management<br/>down"])
    net1(["br<br/>up"])
    vm0["vm0<br/>cirros<br/>down"]
    vm0 -- "eth0 192.168.201.2" --- net0
    vm0 -- "eth1" --- net1
    style net0 fill:#eceff1
    style net1 fill:#c8e6c9
    style vm0 fill:#eceff1"""

DOT = """\
graph lago {
	graph [rankdir=LR]
	node [fontname=sans style=filled]
	net0 [label="n0\\n192.168.201.1\\nmanagement\\ndown" fillcolor="#eceff1" shape=ellipse]
	net1 [label="br\\nup" fillcolor="#c8e6c9" shape=ellipse]
	vm0 [label="vm0\\ncirros\\ndown" fillcolor="#eceff1" shape=box]
	vm0 -- net0 [label="eth0 192.168.201.2"]
	vm0 -- net1 [label=eth1]
}"""


@pytest.fixture
def environment(tmp_path: Path) -> None:
    make_prefix(tmp_path / ".lago" / "default")
    tmp_path.joinpath(".lago", "current").symlink_to("default")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `dot` that says how it was called."""
    script = tmp_path / "bin" / "dot"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "$@"\nhead -n 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def _with_vm(name: str, **more: Any) -> Status:
    return STATUS._replace(machines={name: STATUS.machines["vm0"]._replace(**more)})


def test_what_is_drawn_is_what_lago_status_prints() -> None:
    assert label(STATUS, for_people=True) == test_output.STATUS


def test_mermaid_has_machines_nets_addresses_and_states() -> None:
    assert pictures.mermaid(STATUS) == MERMAID


def test_dot_has_them_too() -> None:
    assert pictures.dot(STATUS) == DOT


def test_states_have_their_colours() -> None:
    assert "style vm0 fill:#c8e6c9" in pictures.mermaid(_with_vm("vm0", state="running"))
    assert "style vm0 fill:#ffe0b2" in pictures.mermaid(_with_vm("vm0", state="paused"))


def test_names_that_mean_something_to_the_formats_are_quoted() -> None:
    odd = _with_vm('a"b<c>#\\n')
    assert 'vm0["a#quot;b#lt;c>#35;\\n<br/>cirros' in pictures.mermaid(odd)
    assert 'label="a\\"b<c>#\\\\n\\ncirros' in pictures.dot(odd)


HOSTILE = (
    'a"b<c>#\\n',
    "<b>bold</b>",
    "&lt;&amp; &#65;",
    "ends in \\",
    '\\"',
    '"] evil [label="',
    "\\N \\G \\E",
    "graph",
    "ü 日本",
    "}; a -- b {",
    "/* // # */",
)


@pytest.mark.programs
def test_graphviz_shows_names_as_they_are() -> None:
    vm = STATUS.machines["vm0"]
    nets = {name: Network("up", None, management=False) for name in HOSTILE}
    nics = {name: Nic(name, None) for name in HOSTILE}
    status = STATUS._replace(
        machines={name: vm._replace(distro=name, nics=nics if name == "graph" else {}) for name in HOSTILE},
        networks=nets,
    )
    root = ElementTree.fromstring(pictures.image(status, "svg"))
    texts = Counter((one.text or "").replace(NO_BREAK, " ") for one in root.iter("{http://www.w3.org/2000/svg}text"))
    # As name and distribution of a machine, as name of a net, and on the line between one machine and all nets.
    assert {name: texts[name] for name in HOSTILE} == dict.fromkeys(HOSTILE, 4)
    kinds = Counter(one.get("class") for one in root.iter("{http://www.w3.org/2000/svg}g"))
    assert (kinds["node"], kinds["edge"]) == (2 * len(HOSTILE), len(HOSTILE))


@pytest.mark.usefixtures("environment")
class TestCommand:
    def test_text_is_printed_or_written(self, lago: Lago, tmp_path: Path) -> None:
        assert 'vm0 -- "eth0 192.168.200.2" --- net0' in lago("graph")
        assert lago("graph", "--output", "file") == ""
        assert tmp_path.joinpath("file").read_text() == lago("graph")
        assert lago("graph", "--format", "dot").startswith("graph lago {")

    @pytest.mark.programs
    @pytest.mark.usefixtures("program")
    @pytest.mark.parametrize("kind", ["svg", "png"])
    def test_images_are_drawn_by_graphviz(self, lago: Lago, tmp_path: Path, kind: str) -> None:
        assert lago("graph", "--format", kind) == f"-T{kind}\ngraph lago {{\n"
        lago("graph", "--format", kind, "--output", "file")
        assert tmp_path.joinpath("file").read_text() == f"-T{kind}\ngraph lago {{\n"

    @pytest.mark.programs
    def test_without_graphviz_its_package_is_named(
        self, lago: Lago, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        _, err = lago.both("graph", "--format", "svg", code=2)
        assert "lago: the program dot is not installed\nhint: apt-get install graphviz\n" in err
        with pytest.raises(HostError):
            pictures.image(STATUS, "png")

    def test_a_terminal_gets_no_image(self, lago: Lago, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert "--output FILE" in lago.both("graph", "--format", "png", code=2)[1]
