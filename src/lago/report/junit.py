"""What Lago did for each test, as properties of a JUnit file.

The document has the test cases of the journal by the names that pytest's own JUnit file has for them, each with its
properties and nothing else; a program that joins the two by these names adds to a result what Lago knows of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from xml.etree import ElementTree

from ..errors import printable
from .timeline import Entry, Timed, of

_ASIDE: Final = ("test", "fault", "capture")
"""What lasts without that Lago does something, or is waited for."""


def document(entries: Iterable[Entry], **paths: str) -> str:
    """Return an XML document.

    Args:
        entries: a journal.
        paths: properties of all tests, by name.
    """
    items = of(entries)
    suite = ElementTree.Element("testsuite", {"name": "lago"})
    head: dict[str, Any] = next((dict(one.opening) for one in items if one.opening["kind"] == "journal"), {})
    for name, key in (("environment", "prefix"), ("name", "name"), ("version", "lago")):
        if key in head:
            paths[name] = str(head[key])
    _properties(suite, {f"lago.{name}": value for name, value in paths.items()})
    for test in items:
        if test.opening["kind"] == "test":
            _case(suite, test, items)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, test: Timed, items: Iterable[Timed]) -> None:
    nodeid = _xml(test.opening["nodeid"])
    place, _, rest = nodeid.partition("::")
    names, bracket, parameters = rest.partition("[")
    *classes, name = names.split("::")
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "classname": ".".join([place.removesuffix(".py").replace("/", "."), *classes]),
            "name": f"{name}{bracket}{parameters}",
        },
    )
    if test.end is not None:
        case.set("time", f"{test.end - test.t:.3f}")
    during = [one for one in items if test.t <= one.t and (test.end is None or one.t <= test.end)]
    _properties(case, {"lago.nodeid": nodeid, **_of_test(during)})


def _of_test(during: list[Timed]) -> dict[str, str]:
    """Return what happened while a test ran."""
    commands = _of(during, "command")
    found = {
        "lago.seconds": _seconds(one for one in during if one.lasts and one.opening["kind"] not in _ASIDE),
        "lago.commands": str(len(commands)),
        "lago.commands.failed": str(sum(one.failed for one in commands)),
        "lago.commands.seconds": _seconds(commands),
        "lago.copies.seconds": _seconds(_of(during, "copy")),
        "lago.snapshots.seconds": _seconds([*_of(during, "snapshot"), *_of(during, "revert"), *_of(during, "fork")]),
    }
    if faults := [str(one.opening["words"]) for one in _of(during, "fault")]:
        found["lago.faults"] = "; ".join(faults)
    return found


def _of(items: Iterable[Timed], kind: str) -> list[Timed]:
    return [one for one in items if one.opening["kind"] == kind]


def _seconds(items: Iterable[Timed]) -> str:
    """Return how long at least one of them lasted, since several may at the same time; seconds."""
    total = 0.0
    until = float("-inf")
    for one in items:
        if one.end is not None and one.end > until:
            total += one.end - max(one.t, until)
            until = one.end
    return f"{total:.3f}"


def _properties(parent: ElementTree.Element, values: dict[str, str]) -> None:
    properties = ElementTree.SubElement(parent, "properties")
    for name, value in values.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(value)})


def _xml(text: str) -> str:
    """Return a text of which XML can hold each character."""
    return re.sub(r"[\ufffe\uffff]", "\ufffd", printable(text))
