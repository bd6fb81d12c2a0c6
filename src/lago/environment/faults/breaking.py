"""What programs say to break an environment: each breaks something, and heals it at the end of a `with` block."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from .model import Fault

Names = str | Iterable[str]
"""A name, or several."""


class Broken:
    """Faults that were inflicted, and hold until somebody heals them; as a context manager until the block ends.

    Attributes:
        faults: what was inflicted, with ids.
    """

    def __init__(self, faults: Sequence[Fault], heal: Callable[[Sequence[str]], object]) -> None:
        self.faults = tuple(faults)
        self._heal = heal

    def heal(self) -> None:
        """Heal them, those that hold still.

        Raises:
            LagoError: one can't be healed.
        """
        self._heal([one.id for one in self.faults])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.heal()

    def __repr__(self) -> str:
        from . import words

        return f"<Broken {', '.join(f'{one.id}: {words.spell(one)}' for one in self.faults)}>"


class Breaking(abc.ABC):
    """Break things of an environment. What breaks stays so until it is healed, which what is returned does at the end
    of a `with` block."""

    @abc.abstractmethod
    def _break(self, wanted: Sequence[Fault]) -> list[Fault]:
        """Inflict faults, all or none. Raises LagoError."""

    @abc.abstractmethod
    def _named_faults(self) -> Mapping[str, Sequence[str]]:
        """Faults by the name that the init file gives them."""

    @abc.abstractmethod
    def heal(self, *which: str) -> list[Fault]:
        """Heal what is broken. Raises LagoError."""

    @abc.abstractmethod
    def faults(self) -> list[Fault]:
        """What is broken now."""

    def inflict(self, *faults: str) -> Broken:
        """Break things, all or none of them.

        Args:
            faults: each as on the command line behind `lago fault`, such as `partition web / db` or `cut web:eth1`, or
                a name that the init file has among its `faults`.

        Returns:
            What is broken now, which heals it at the end of a `with` block.

        Raises:
            LagoError: there is no such fault, machine, nic or net; one can't be done here; nothing has changed.
            VMNotRunning: a machine is down.
        """
        from . import words

        named = self._named_faults()
        texts = [text for one in faults for text in named.get(one, (one,))]
        return self._broken([words.parse(text) for text in texts])

    def fault(self, kind: str, *targets: str, **settings: Any) -> Broken:
        """Break something of any kind.

        Args:
            kind: a word such as `cut`; `lago fault --help` lists them.
            targets: what it is about: `web`, `web:eth1`, `net:back`, `web/db`.
            settings: its options by name, as texts such as `10%` or as numbers: seconds, parts of one, bits a second.

        Returns:
            What is broken now, which heals it at the end of a `with` block.

        Raises:
            LagoError: as `inflict` does.
        """
        from . import words

        return self._broken([words.make(kind, targets, settings)])

    def _broken(self, wanted: Sequence[Fault]) -> Broken:
        return Broken(self._break(wanted), self._heal_left)

    def _heal_left(self, ids: Sequence[str]) -> None:
        left = {one.id for one in self.faults()}
        if meant := [one for one in ids if one in left]:
            self.heal(*meant)

    def cut(self, *targets: str, unplug: bool = False) -> Broken:
        """Cut machines, nics or nets off; Lago's own way in stays.

        Args:
            targets: names of machines, `web:eth1` for a nic, `net:back` for all on a net.
            unplug: let guests see that there is no link; then Lago does not reach them either.

        Returns:
            What is broken now, which heals it at the end of a `with` block.

        Raises:
            LagoError: as `inflict` does.
        """
        return self.fault("cut", *targets, unplug=unplug)

    def partition(self, *groups: Names, net: str | None = None, one_way: bool = False) -> Broken:
        """Let groups of machines not reach each other, while those in a group do.

        Args:
            groups: names of machines, two groups or more.
            net: on this net only; without it on all.
            one_way: only what goes from the first group to the second is lost.

        Returns:
            What is broken now, which heals it at the end of a `with` block.

        Raises:
            LagoError: as `inflict` does.
        """
        return self.fault("partition", *(_joined(one) for one in groups), net=net, one_way=one_way)

    def slow(self, *links: Names, **settings: Any) -> Broken:
        """Make links slow, lossy or narrow.

        Args:
            links: a name for all that a machine sends and gets, `web:eth1` for a nic, or a pair of names for what
                passes between them.
            settings: `delay` and `jitter` in seconds, `loss`, `duplicate`, `reorder` and `corrupt` as parts of one,
                `rate` in bits a second; or texts such as `200ms`, `10%` and `1mbit`.

        Returns:
            What is broken now, which heals it at the end of a `with` block.

        Raises:
            LagoError: as `inflict` does.
        """
        return self.fault("slow", *(_pair(one) for one in links), **settings)

    def drop(
        self,
        *links: Names,
        tcp: int | str | Sequence[int] | None = None,
        udp: int | str | Sequence[int] | None = None,
        protocol: Names = (),
        one_way: bool = False,
    ) -> Broken:
        """Drop packets by port or protocol; Lago's own way in stays.

        Args:
            links: a name for all that a machine sends and gets, `web:eth1` for a nic, or a pair of names for what
                passes between them.
            tcp: ports of TCP, such as 5432 or `80,8000-8100`; without it none.
            udp: ports of UDP; without it none.
            protocol: names of protocols, such as `icmp`, or their numbers of IP.
            one_way: only what goes from the first of a pair to the second.

        Returns:
            What is broken now, which heals it at the end of a `with` block.

        Raises:
            LagoError: as `inflict` does.
        """
        names = [protocol] if isinstance(protocol, str) else list(protocol)
        return self.fault("drop", *(_pair(one) for one in links), tcp=tcp, udp=udp, protocol=names, one_way=one_way)

    def dns(self, *, fail: bool = False, answer: Mapping[str, str] | None = None) -> Broken:
        """Let the name server of the environment not answer, or answer wrongly.

        Args:
            fail: it does not answer.
            answer: addresses by name, which it gives in place of the right ones; without them all are right.

        Returns:
            What is broken now, which heals it at the end of a `with` block.

        Raises:
            LagoError: as `inflict` does.
        """
        return self.fault("dns", fail=fail, answer=[f"{name}={one}" for name, one in (answer or {}).items()])


def _joined(names: Names) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _pair(link: Names) -> str:
    return link if isinstance(link, str) else "/".join(link)
