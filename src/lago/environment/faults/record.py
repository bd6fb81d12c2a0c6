"""The file that says what is broken in a prefix, and what was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...errors import PrefixError
from ...host import shape, trust
from ...host.files import replacing
from ...paths import Paths
from .model import Fault
from .plain import MEMBERS

_KEPT: Final = 100
_FAULT: Final = shape.record(MEMBERS)
_FAULTS: Final = shape.listing(lambda raw: Fault.of_plain(_FAULT(raw)))
_READ: Final = shape.record(
    {
        "faults": _FAULTS,
        "unsure": shape.listing(shape.text()),
        "undoing": _FAULTS,
        "history": shape.listing(shape.record({**MEMBERS, "until": shape.number})),
        "number": shape.whole,
    },
    {"told": shape.mapping(shape.text(), shape.text())},
)


@dataclass
class Record:
    """What the file says. It is replaced as a whole.

    Attributes:
        faults: what is broken, oldest first.
        unsure: what Lago was just doing: those of `faults` that may not be true yet.
        undoing: those that may still be true, and are no longer meant to be.
        history: what was healed, oldest first; each as JSON has it, with `until`.
        told: what the journal calls those that it has, by their ids.
    """

    faults: list[Fault] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    undoing: list[Fault] = field(default_factory=list)
    history: list[Mapping[str, Any]] = field(default_factory=list)
    number: int = 0
    told: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, paths: Paths) -> Record:
        """Read it; an empty one if there is none. Raises PrefixError if it is damaged."""
        try:
            return cls(**_READ(shape.parse(trust.read(paths.faults()))))
        except FileNotFoundError:
            return cls()
        except ValueError as error:
            raise PrefixError(
                f"{paths.faults()} is damaged", details=str(error), hint="lago stop, and remove the file"
            ) from None

    def save(self, paths: Paths) -> None:
        """Write it, as a whole."""
        data = {
            "faults": [one.plain() for one in self.faults],
            "unsure": self.unsure,
            "undoing": [one.plain() for one in self.undoing],
            "history": self.history[-_KEPT:],
            "number": self.number,
            "told": self.told,
        }
        # What is broken ends with the host, so it need not outlast a power failure, and nobody waits for the disk.
        with replacing(paths.faults()) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(data))

    @property
    def busy(self) -> bool:
        """Whether Lago is changing something, or was when it was killed."""
        return bool(self.unsure or self.undoing)

    def next_id(self) -> str:
        """An id that no fault of this prefix has had."""
        self.number += 1
        return f"f{self.number}"

    def end(self, gone: Sequence[Fault], until: float) -> None:
        """Move faults that are healed into the history."""
        ids = {one.id for one in gone}
        self.faults = [one for one in self.faults if one.id not in ids]
        self.history += [{**one.plain(), "until": until} for one in gone]
