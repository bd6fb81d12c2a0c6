"""What a capsule says of itself: the file `capsule.json`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ...errors import LagoError
from ...host import shape, trust
from ...host.files import json_text, write_atomically

VERSION: Final = 1
"""Of this form, and of archives."""

FILE: Final = "capsule.json"
SNAPSHOT: Final = "failure"
"""The snapshot of each of its environments."""

LONGEST: Final = 100
"""Characters of a name."""

NAME: Final = rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{LONGEST - 1}}}"

_ENVIRONMENTS: Final = 100


class Inside(NamedTuple):
    """An environment of a capsule.

    Attributes:
        machines: the states of its machines at that instant, by name.
        faults: what was broken on purpose, in words.
    """

    machines: Mapping[str, str]
    faults: tuple[str, ...] = ()


class About(NamedTuple):
    """What a capsule is.

    Attributes:
        test: the test that failed, as pytest names it.
        created: seconds since 1970.
        host: what ran its machines, by what that is, see `hosts`.
        environments: by name.
        imported: whether it came from elsewhere.
    """

    test: str
    created: float
    host: Mapping[str, str]
    environments: Mapping[str, Inside]
    imported: bool = False

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        inside = {
            name: {"machines": dict(one.machines), "faults": list(one.faults)}
            for name, one in self.environments.items()
        }
        return {**self._asdict(), "host": dict(self.host), "environments": inside, "version": VERSION}


_TEXT: Final = shape.text()
_INSIDE: Final = shape.record(
    {"machines": shape.mapping(shape.text(longest=200), _TEXT), "faults": shape.listing(_TEXT)}
)
_READ: Final = shape.record(
    {
        "version": shape.whole,
        "test": shape.text(),
        "created": shape.number,
        "host": shape.mapping(shape.text(longest=100), _TEXT),
        "environments": shape.mapping(
            shape.text(NAME, "the name of an environment"),
            lambda raw: Inside(**{**(found := _INSIDE(raw)), "faults": tuple(found["faults"])}),
        ),
    },
    {"imported": shape.flag},
)


def read(raw: Any) -> About:
    """Read what JSON has. Raises ValueError if it is damaged, or of a version that is not known."""
    found = _READ(raw)
    if (version := found.pop("version")) != VERSION:
        raise ValueError(f"it is of version {version}, and this Lago knows {VERSION}")
    if not 1 <= len(found["environments"]) <= _ENVIRONMENTS:
        raise ValueError(f"it has {len(found['environments'])} environments, not 1 to {_ENVIRONMENTS}")
    return About(**found)


def load(path: str) -> About:
    """Read the file of the capsule in a directory. Raises LagoError if it is damaged, OSError if it is not there."""
    file = os.path.join(path, FILE)
    try:
        return read(shape.parse(trust.read(file)))
    except ValueError as error:
        name = os.path.basename(path)
        raise LagoError(
            f"the capsule {name} is damaged", details=f"{file}: {error}", hint=f"lago capsule delete {name}"
        ) from None


def save(path: str, about: About) -> None:
    """Write the file of the capsule in a directory."""
    write_atomically(os.path.join(path, FILE), json_text(about.plain()))


def name_of(test: str) -> str:
    """Return a name for the capsule of a test: the end of what pytest calls it, in letters that any file may have."""
    module, _, rest = test.partition("::")
    module = module.rpartition("/")[2].removesuffix(".py")
    text = "-".join(one for one in (module, rest) if one)
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")[: LONGEST - 20].strip("-._")
    return plain or "test"


def line(test: str) -> str:
    """Return what pytest calls a test as a text that can be kept and shown: parameters may have any characters."""
    return re.sub(f"[{shape.CONTROL}]", "?", test)[:4000]


def unique(name: str, taken: Iterable[str]) -> str:
    """Return a name, with a number behind it if it is taken."""
    others = set(taken)
    number = 2
    found = name
    while found in others:
        found = f"{name}-{number}"
        number += 1
    return found
