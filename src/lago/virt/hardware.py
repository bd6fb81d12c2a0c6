"""What of a machine's description at libvirt its guest can see, to tell whether two are the same to it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Final

_WHOLE: Final = ("memory", "currentMemory", "vcpu", "vcpus", "cpu", "features", "clock", "os/type", "iothreads")
_ELSEWHERE: Final = frozenset({"emulator", "graphics", "audio"})
"""What guests do not see."""

_OURS: Final = frozenset(
    {"alias", "backend", "backingStore", "boot", "driver", "filterref", "iotune", "log", "mirror", "source"}
)
_NAMES: Final = {"interface": frozenset({"target"})}
_STATES: Final = frozenset({"state", "tty"})
"""What of a device is the host's: files, names, numbers, and whether somebody is there."""


def difference(one: ET.Element, other: ET.Element) -> str | None:
    """A part in which two machines differ that run, or None.

    Args:
        one: the description of a machine.
        other: another, from libvirt by the same flags.
    """
    for mine, its in zip_longest(_parts(one), _parts(other)):
        if mine != its:
            return (mine or its or ("", ""))[0]
    return None


def _parts(root: ET.Element) -> Iterator[tuple[str, str]]:
    for path in _WHOLE:
        for element in root.iterfind(path):
            yield path, _text(element, ())
    devices = root.find("devices")
    for element in devices if devices is not None else ():
        if element.tag not in _ELSEWHERE:
            yield element.tag, _text(element, _OURS | _NAMES.get(element.tag, frozenset()))


def _text(element: ET.Element, without: Iterable[str]) -> str:
    """An element without some of those in it, as text."""
    inside = "".join(_text(child, without) for child in element if child.tag not in without)
    left_out = () if element.tag == "link" else _STATES
    attributes = " ".join(f"{name}={value!r}" for name, value in sorted(element.items()) if name not in left_out)
    return f"<{element.tag} {attributes}>{(element.text or '').strip()}{inside}</>"
