"""An environment as a picture: networks, machines, and the interfaces between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ..host.programs import run

if TYPE_CHECKING:
    from ..environment.status import Machine, Network, Status

_UP: Final = {"running": "#c8e6c9", "up": "#c8e6c9", "down": "#eceff1", "shut off": "#eceff1"}
_ODD: Final = "#ffe0b2"
"""Colour of states between running and down."""

_WORD: Final = re.compile(r"[a-z]+[0-9]+")
"""What DOT takes without quotation marks, and no word of its own."""


def _vm_lines(name: str, vm: Machine) -> list[str]:
    return [name, *([vm.distro] if vm.distro else []), vm.state]


def _net_lines(name: str, net: Network) -> list[str]:
    gateway = [net.gateway] if net.gateway else []
    return [name, *gateway, *(["management"] if net.management else []), net.state]


def _links(status: Status) -> Iterator[tuple[str, str, str]]:
    """Machine, net and label of each interface."""
    for name, vm in status.machines.items():
        for nic, to in vm.nics.items():
            yield name, to.net, f"{nic} {to.ip}" if to.ip else nic


def _ids(status: Status) -> tuple[dict[str, str], dict[str, str]]:
    """What nets and machines are called in the text; their names may have characters that mean something there."""
    nets = {name: f"net{number}" for number, name in enumerate(status.networks)}
    return nets, {name: f"vm{number}" for number, name in enumerate(status.machines)}


def _colour(one: Machine | Network) -> str:
    return _UP.get(one.state, _ODD)


def mermaid(status: Status) -> str:
    """The environment as Mermaid text, which code forges draw in Markdown."""
    nets, vms = _ids(status)
    lines = ["graph LR"]
    lines += [f"    {nets[name]}([{_label(_net_lines(name, net))}])" for name, net in status.networks.items()]
    lines += [f"    {vms[name]}[{_label(_vm_lines(name, vm))}]" for name, vm in status.machines.items()]
    lines += [f"    {vms[vm]} -- {_label([text])} --- {nets[net]}" for vm, net, text in _links(status)]
    lines += [f"    style {nets[name]} fill:{_colour(net)}" for name, net in status.networks.items()]
    lines += [f"    style {vms[name]} fill:{_colour(vm)}" for name, vm in status.machines.items()]
    return "\n".join(lines)


def _label(lines: list[str]) -> str:
    text = "<br/>".join(line.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;") for line in lines)
    return f'"{text}"'


def dot(status: Status) -> str:
    """The environment as DOT text, which Graphviz draws (https://graphviz.org/doc/info/lang.html)."""
    nets, vms = _ids(status)
    lines = ["graph lago {", "\tgraph [rankdir=LR]", "\tnode [fontname=sans style=filled]"]
    lines += [
        _node(nets[name], _net_lines(name, net), _colour(net), "ellipse") for name, net in status.networks.items()
    ]
    lines += [_node(vms[name], _vm_lines(name, vm), _colour(vm), "box") for name, vm in status.machines.items()]
    lines += [f"\t{vms[vm]} -- {nets[net]} [label={_dot_label([text])}]" for vm, net, text in _links(status)]
    return "\n".join([*lines, "}"])


def _node(name: str, lines: Iterable[str], colour: str, shape: str) -> str:
    return f'\t{name} [label={_dot_label(lines)} fillcolor="{colour}" shape={shape}]'


def _dot_label(lines: Iterable[str]) -> str:
    """Lines of text as DOT has them, where a backslash begins a command and `&` an entity of HTML."""
    text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return text if _WORD.fullmatch(text) else f'"{text}"'


def image(status: Status, kind: str) -> bytes:
    """The environment as an `svg` or `png` image. Raises HostError without Graphviz."""
    return run(["dot", f"-T{kind}"], input_data=dot(status).encode()).out
