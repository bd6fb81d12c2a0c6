"""Readers for keys that hold something of their own kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .constants import URL_SCHEMES
from .initfile.values import At, octets, quoted, remark
from .topology.names import MOST, host_name, usable


@dataclass(frozen=True, slots=True)
class Path:
    """A path on the host; variables such as `$LAGO_INITFILE_PATH`, and `~`, stand in it as they are."""

    example: str

    def read(self, at: At) -> Any:
        if not isinstance(at.value, str) or not at.value:
            return at.wrong(f"a path such as {quoted(self.example)}")
        return at.value


@dataclass(frozen=True, slots=True)
class Url:
    """An address; variables such as `$LAGO_INITFILE_PATH` stand in it as they are."""

    example: str

    def read(self, at: At) -> Any:
        if not isinstance(at.value, str) or not at.value.startswith(("$", *(f"{scheme}://" for scheme in URL_SCHEMES))):
            return at.wrong(f"an address such as {self.example}; {', '.join(URL_SCHEMES)} are known")
        return at.value


@dataclass(frozen=True, slots=True)
class Truthy:
    """True or false; earlier Lago took any value for true that Python does."""

    def read(self, at: At) -> Any:
        if isinstance(at.value, list | dict):
            return at.wrong("true or false")
        return bool(at.value)


@dataclass(frozen=True, slots=True)
class Markup:
    """A mapping that becomes XML: `@name` is an attribute, `#text` the text, any other key an element or several."""

    root: str
    what: str = "a mapping"

    def read(self, at: At) -> Any:
        if not isinstance(at.value, dict) or not at.value:
            return at.wrong(f"a mapping that becomes <{self.root}>, such as {{'@mode': host-model}}")
        return self._element(at)

    def _element(self, at: At) -> Any:
        if isinstance(at.value, dict):
            return {key: self._child(at[key], key) for key in at.value if not remark(key)}
        return self._text(at)

    def _child(self, at: At, key: str) -> Any:
        name = key.removeprefix("@")
        if key == "#text":
            return self._text(at)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            return at.fault(f"{quoted(key)} can't be the name of an XML element or @attribute", of_key=True)
        if key.startswith("@"):
            return self._text(at)
        if isinstance(at.value, list):
            return [self._element(at[i]) for i in range(len(at.value))]
        return self._element(at)

    def _text(self, at: At) -> Any:
        if isinstance(at.value, list | dict):
            return at.wrong("text or a number")
        if isinstance(at.value, bool):
            return "yes" if at.value else "no"
        return "" if at.value is None else str(at.value) if isinstance(at.value, str) else at.source()


@dataclass(frozen=True, slots=True)
class Root:
    """`Markup` that may also be written with its root element around it."""

    markup: Markup

    def read(self, at: At) -> Any:
        if isinstance(at.value, dict) and list(at.value) == [self.markup.root]:
            return self.markup.read(at[self.markup.root])
        return self.markup.read(at)


BUILDERS = ("virt-customize",)
"""What can change an image when it is made."""


@dataclass(frozen=True, slots=True)
class Builds:
    """A list of builders, each a mapping of its name to its options: text, a list for one given often, or nothing."""

    def read(self, at: At) -> Any:
        if not isinstance(at.value, list):
            return at.wrong("a list such as [virt-customize: {install: nginx}]")
        return [self._step(at[index]) for index in range(len(at.value))]

    def _step(self, at: At) -> Any:
        given = [pair for pair in at.value.items() if not remark(pair[0])] if isinstance(at.value, dict) else []
        if len(given) != 1:
            return at.wrong("one builder and its options, such as virt-customize: {install: nginx}")
        [(name, options)] = given
        if name not in BUILDERS:
            return at[name].fault(f"unknown builder, expected {' or '.join(BUILDERS)}", of_key=True)
        if options is not None and not isinstance(options, dict):
            return at[name].wrong("a mapping of options, such as {install: nginx}")
        return {name: {key: self._option(at[name][key]) for key in options or {} if not remark(key)}}

    def _option(self, at: At) -> Any:
        if isinstance(at.value, list):
            return [self._one(at[index]) for index in range(len(at.value))]
        return [self._one(at)] if at.value not in (None, "") else []

    def _one(self, at: At) -> Any:
        if isinstance(at.value, list | dict) or at.value is None:
            return at.wrong("text")
        return at.value if isinstance(at.value, str) else at.source()


@dataclass(frozen=True, slots=True)
class MachineName:
    """The name of a machine; `reserved` are host names, in small letters, that no guest may have."""

    reserved: frozenset[str] = frozenset()

    def read(self, at: At) -> Any:
        name = str(at.value)
        if host_name(name).lower() in self.reserved:
            return at.fault("this name is reserved, choose another")
        if octets(name):
            return at.fault(f"{name} is an address, choose a name")
        if usable(name):
            return name
        nearest = self._nearest(name)
        rule = f"letters, digits, - _ and . inside; at most 63 of them between dots, {MOST} together"
        write = f"write {nearest} ({rule})" if nearest else f"use {rule}"
        return at.fault(f"{quoted(name)} can't be the name of a machine, {write}")

    def _nearest(self, name: str) -> str:
        parts = (re.sub(r"[^A-Za-z0-9_]+", "-", part).strip("-")[:63].strip("-") for part in name.split("."))
        return ".".join(part for part in parts if part.strip("_"))[:MOST].strip(".-")


@dataclass(frozen=True, slots=True)
class HostName:
    """A name for DNS, with or without dots."""

    example: str = "www"

    def read(self, at: At) -> Any:
        name = at.value
        if not isinstance(name, str) or not name:
            return at.wrong(f"a name such as {quoted(self.example)}")
        label = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
        if len(name) > 253 or octets(name) or not re.fullmatch(rf"{label}(\.{label})*", name):
            return at.fault(f"{quoted(name)} is no DNS name, letters, digits and - with single dots between are")
        return name.lower()


@dataclass(frozen=True, slots=True)
class Target:
    """What a DNS record leads to: an IPv4 or IPv6 address, or another name."""

    def read(self, at: At) -> Any:
        text = at.value
        if isinstance(text, str) and ":" in text:
            # Imported here: hardly any file has one.
            import ipaddress

            try:
                return str(ipaddress.IPv6Address(text))
            except ValueError:
                return at.fault(f"{quoted(text)} is no IPv6 address")
        if isinstance(text, str) and re.fullmatch(r"[0-9.]+", text):
            return text if octets(text) else at.fault(f"{quoted(text)} is no IPv4 address")
        if not isinstance(text, str) or not text:
            return at.wrong('an address such as 192.168.200.7, or a name such as "vm0"')
        return HostName().read(at)
