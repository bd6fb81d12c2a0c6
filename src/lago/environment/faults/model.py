"""What a fault is, and what those have to do that know a kind of faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from ...virt import VirtEnv

NET: Final = "net"
"""What stands before the colon where a net is meant, and not a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is broken, or is to be.

    Attributes:
        kind: such as `cut`.
        targets: what of the environment it is about, in words: `web`, `web:eth1`, `net:back`, or groups `web,app`.
        settings: the rest, by name, as JSON has it.
        id: such as `f1`, when it is inflicted.
        since: seconds since 1970, then.
        means: how it is done here, in words.
    """

    kind: str
    targets: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    since: float = 0.0
    means: str = ""

    @property
    def machines(self) -> frozenset[str]:
        """Names of the machines that it names."""
        parts = (part for target in self.targets for part in re.split("[,/]", target))
        return frozenset(name for part in parts if (name := part.partition(":")[0]) != NET or ":" not in part)

    @property
    def nets(self) -> frozenset[str]:
        """Names of the nets that it names."""
        parts = [part.partition(":") for target in self.targets for part in re.split("[,/]", target)]
        named = {net for name, colon, net in parts if name == NET and colon}
        return frozenset(named | {str(net) for net in [self.settings.get("net")] if net})

    def plain(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "kind": self.kind,
            "targets": list(self.targets),
            "settings": dict(self.settings),
            "id": self.id,
            "since": self.since,
            "means": self.means,
        }

    @classmethod
    def of_plain(cls, raw: Mapping[str, Any]) -> Fault:
        """What `plain` made JSON of. Raises KeyError, TypeError."""
        return cls(**{**raw, "targets": tuple(raw["targets"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting of faults of a kind.

    Attributes:
        name: in `settings`, and with dashes on the command line.
        metavar: how its value is called; nothing: it has none, it is said or not.
        read: makes JSON of what a person or a program says; raises ValueError.
        spell: writes that as a person does.
        many: it may be said several times; the value is a list.
        optional: one that has no name may be left out.
    """

    name: str
    help: str
    metavar: str = ""
    read: Callable[[Any], Any] = str
    spell: Callable[[Any], str] = str
    many: bool = False
    optional: bool = False


class Means(Protocol):
    """What inflicts and heals faults; called with the prefix's lock held."""

    def check(self, env: VirtEnv, fault: Fault) -> str:
        """Tell in words how a fault would be done here; nothing if there is nothing to say. Nothing is changed.

        Raises:
            LagoError: it can't be: there is no such machine or nic, it does not run, the host lacks something.
        """

    def change(self, env: VirtEnv, gone: Sequence[Fault], new: Sequence[Fault], now: Sequence[Fault]) -> None:
        """Make faults true and undo others; what is so already stays so.

        Args:
            gone: those that hold no longer.
            new: those that are to hold, and may do so already.
            now: all that hold afterwards, whatever their kinds.

        Raises:
            LagoError: it can't be done; then it is called again, to undo.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of faults.

    Attributes:
        name: such as `cut`.
        help: what it does, for the list of commands.
        target: how its targets are called in the usage.
        least: how many targets there must be.
        most: how many there may be; None: any number.
        positional: settings that stand behind the targets, without a name.
        options: settings with a name.
        by: tells what inflicts and heals it.
        lasting: there is something to undo; otherwise it happens, and is not recorded.
        between: what separates targets where people write them.
        once: it is an act, which is not repeated when machines were started.
        inside: it is inside of a guest, and so can be made true only where that answers.
        saved: machines that are brought back have it, or not, as then.
        ends: it ends when its machine is stopped.
    """

    name: str
    help: str
    by: Callable[[], Means]
    target: str = "VM"
    least: int = 1
    most: int | None = None
    positional: tuple[Option, ...] = ()
    options: tuple[Option, ...] = ()
    lasting: bool = True
    between: str = " "
    description: str = ""
    once: bool = False
    inside: bool = False
    saved: bool = False
    ends: bool = False

    @property
    def means(self) -> Means:
        """What inflicts and heals it; the same for all kinds that it is for."""
        return self.by()

    def option(self, name: str) -> Option | None:
        """A setting by its name."""
        return next((one for one in (*self.positional, *self.options) if one.name == name), None)
