"""Facts about a prefix that last: its file `metadata`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..errors import PrefixError
from ..host import shape, trust
from ..host.files import json_text, write_atomically

if TYPE_CHECKING:
    from ..paths import Paths


_TEXT: Final = shape.text()
_KNOWN: Final = shape.record({}, {"libvirt_url": _TEXT, "template_store": _TEXT, "libvirt_uuid": _TEXT})


def load(paths: Paths) -> Mapping[str, Any]:
    """Return the facts by name; none if there is no such file. Raises PrefixError if it is not ours, or damaged."""
    try:
        raw = shape.parse(trust.read(paths.metadata()))
        known = _KNOWN(raw)
        return {**raw, **known}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise PrefixError(f"{paths.metadata()} is damaged", details=str(error), hint="restore the file") from None


def save(paths: Paths, facts: Mapping[str, Any]) -> None:
    """Write all facts."""
    write_atomically(paths.metadata(), json_text(facts))
