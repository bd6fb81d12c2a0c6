"""From a document to an `EnvSpec`, with all mistakes at once."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import InitFileError
from ..log import LOG
from ..topology.spec import EnvSpec

if TYPE_CHECKING:
    from .document import Document


def parse(document: Document) -> EnvSpec:
    """Read what the user wants from the data of an init file.

    Raises:
        InitFileError: all the mistakes of the file, in its order.
    """
    # Imported here: whoever loads a prefix needs the values alone.
    from . import prototypes
    from .checks import check
    from .keys import ENVIRONMENT
    from .mistakes import At, Mistakes

    document = prototypes.expand(_without_anchors(document, ENVIRONMENT.fields))
    mistakes = Mistakes(document)
    env: EnvSpec = ENVIRONMENT.read(At(document, mistakes, (), document.data))
    check(env, mistakes)
    if lines := mistakes.lines():
        raise InitFileError(lines)
    return _settle(env)


def _without_anchors(document: Document, known: Container[str]) -> Document:
    """The document without the top-level keys that only hold anchors."""
    from .sections import remark

    used = {}
    for key, value in document.data.items():
        if remark(key):
            continue
        if key not in known and key in document.only_anchors:
            line, column = document.keys[(key,)]
            where = f"{document.name}:{line}:{column}"
            LOG.warning("%s: %s: only its anchors are used; call it x-%s to say so", where, key, key)
            continue
        used[key] = value
    return replace(document, data=used)


def _settle(env: EnvSpec) -> EnvSpec:
    """An environment without mistakes, with what it only says indirectly."""
    from .net_checks import management

    managing = management(env.nets.values())
    nets = {name: replace(net, management=name in managing) for name, net in env.nets.items()}
    old = [domain for domain in env.domains.values() if domain.service_class]
    renamed = {one.name: replace(one, service_provider=one.service_class, service_class=None) for one in old}
    return replace(env, nets=nets, domains={**env.domains, **renamed})
