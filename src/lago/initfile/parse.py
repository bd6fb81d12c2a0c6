"""From a document to an `EnvSpec`, with all mistakes at once."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from .. import config
from ..errors import Finding, InitFileError
from ..log import LOG
from ..topology.place import Place
from ..topology.spec import EnvSpec

if TYPE_CHECKING:
    from .checks import Rule
    from .document import Document


class Examined(NamedTuple):
    """What an init file says, and what is to be said of it.

    Attributes:
        spec: what could be read, if there are mistakes.
        findings: in the order of the file.
    """

    spec: EnvSpec
    findings: tuple[Finding, ...]

    def sound(self) -> EnvSpec:
        """Return what the user wants, and log the warnings. Raises InitFileError if there are mistakes."""
        for finding in self.findings:
            if finding.kind == "warning":
                LOG.warning("%s", finding)
        if any(finding.kind == "mistake" for finding in self.findings):
            raise InitFileError(self.findings)
        return _settle(self.spec)


def parse(document: Document) -> EnvSpec:
    """Read what the user wants from the data of an init file.

    Raises:
        InitFileError: all the mistakes of the file, in its order.
    """
    return examine(document).sound()


def examine(document: Document, more: Iterable[Rule] = ()) -> Examined:
    """Read the data of an init file, and find what is wrong or odd; by the setting `strict` what is odd is wrong.

    Args:
        more: rules, besides those that hold of all init files.
    """
    # Imported here: whoever loads a prefix needs the values alone.
    from . import prototypes
    from .checks import RULES, check
    from .keys import DOMAIN, ENVIRONMENT
    from .mistakes import At, Mistakes
    from .renamed import renamed

    document = renamed(_without_anchors(document, ENVIRONMENT.fields), DOMAIN.renamed)
    document = prototypes.expand(document)
    mistakes = Mistakes(document, strict=config.get("strict"))
    env: EnvSpec = ENVIRONMENT.read(At(document, mistakes, (), document.data))
    check(env, mistakes, (*RULES, *more))
    return Examined(env, tuple(mistakes.findings()))


def _without_anchors(document: Document, known: Container[str]) -> Document:
    """The document without the top-level keys that only hold anchors."""
    from .document import Mistake
    from .sections import remark

    used, warnings = {}, []
    for key, value in document.data.items():
        if remark(key):
            continue
        if key not in known and key in document.only_anchors:
            message = f"only its anchors are used; call it x-{key} to say so"
            warnings.append(Mistake(Place((key,)), message, of_key=True, kind="warning"))
            continue
        used[key] = value
    return replace(document, data=used, mistakes=(*document.mistakes, *warnings))


def _settle(env: EnvSpec) -> EnvSpec:
    """An environment without mistakes, with what it only says indirectly."""
    from .net_checks import management

    managing = management(env.nets.values())
    nets = {name: replace(net, management=name in managing) for name, net in env.nets.items()}
    return replace(env, nets=nets)
