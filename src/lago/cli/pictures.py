"""An environment as a picture: networks, machines, and the interfaces between them, from the data of `lago status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..host.programs import run

_UP: Final = {"running": "#c8e6c9", "up": "#c8e6c9", "down": "#eceff1", "shut off": "#eceff1"}
_ODD: Final = "#ffe0b2"
"""Colour of states between running and down."""


def _vm_lines(name: str, vm: Mapping[str, Any]) -> list[str]:
    return [name, *([vm["distro"]] if vm["distro"] else []), vm["status"]]


def _net_lines(name: str, net: Mapping[str, Any]) -> list[str]:
    gateway = [net["gateway"]] if net["gateway"] else []
    return [name, *gateway, *(["management"] if net["management"] else []), net["status"]]


def _links(prefix: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Machine, net and label of each interface."""
    for name, vm in prefix["VMs"].items():
        for nic, to in vm["NICs"].items():
            yield name, to["network"], f"{nic} {to['ip']}" if to["ip"] != "N/A" else nic


def _ids(prefix: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """What nets and machines are called in the text; their names may have characters that mean something there."""
    nets = {name: f"net{number}" for number, name in enumerate(prefix["Networks"])}
    return nets, {name: f"vm{number}" for number, name in enumerate(prefix["VMs"])}


def mermaid(status: Mapping[str, Any]) -> str:
    """The environment as Mermaid text, which code forges draw in Markdown."""
    prefix = status["Prefix"]
    nets, vms = _ids(prefix)
    lines = ["graph LR"]
    lines += [f"    {nets[name]}([{_label(_net_lines(name, net))}])" for name, net in prefix["Networks"].items()]
    lines += [f"    {vms[name]}[{_label(_vm_lines(name, vm))}]" for name, vm in prefix["VMs"].items()]
    lines += [f"    {vms[vm]} -- {_label([text])} --- {nets[net]}" for vm, net, text in _links(prefix)]
    for names, things in ((nets, prefix["Networks"]), (vms, prefix["VMs"])):
        lines += [f"    style {names[name]} fill:{_UP.get(one['status'], _ODD)}" for name, one in things.items()]
    return "\n".join(lines)


def _label(lines: list[str]) -> str:
    text = "<br/>".join(line.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;") for line in lines)
    return f'"{text}"'


def dot(status: Mapping[str, Any]) -> str:
    """The environment as DOT text, which Graphviz draws."""
    import graphviz

    prefix = status["Prefix"]
    nets, vms = _ids(prefix)
    picture = graphviz.Graph("lago", graph_attr={"rankdir": "LR"}, node_attr={"style": "filled", "fontname": "sans"})
    for name, network in prefix["Networks"].items():
        colour = _UP.get(network["status"], _ODD)
        picture.node(nets[name], _dot_label(_net_lines(name, network)), shape="ellipse", fillcolor=colour)
    for name, machine in prefix["VMs"].items():
        colour = _UP.get(machine["status"], _ODD)
        picture.node(vms[name], _dot_label(_vm_lines(name, machine)), shape="box", fillcolor=colour)
    for vm, net, text in _links(prefix):
        picture.edge(vms[vm], nets[net], label=_dot_label([text]))
    return str(picture.source).rstrip("\n")


def _dot_label(lines: list[str]) -> str:
    import graphviz

    return "\\n".join(graphviz.escape(line) for line in lines)


def image(status: Mapping[str, Any], kind: str) -> bytes:
    """The environment as an `svg` or `png` image. Raises HostError without Graphviz."""
    return run(["dot", f"-T{kind}"], input_data=dot(status).encode()).out
