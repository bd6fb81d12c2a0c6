"""Facts about a prefix that last: its file `metadata`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..host import trust
from ..host.files import json_text, write_atomically

if TYPE_CHECKING:
    from ..paths import Paths


def load(paths: Paths) -> Mapping[str, Any]:
    """Return the facts by name; none if there is no such file. Raises PrefixError if the file is not ours."""
    try:
        facts: dict[str, Any] = json.loads(trust.read(paths.metadata()))
        return facts
    except FileNotFoundError:
        return {}


def save(paths: Paths, facts: Mapping[str, Any]) -> None:
    """Write all facts."""
    write_atomically(paths.metadata(), json_text(facts))
