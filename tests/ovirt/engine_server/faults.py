"""Faults on demand: the file `faults.json`, read at every request.

    {"hosts/host0": {"refuse": 2, "stuck": true}, "storagedomains/nfs": {"stuck": true}, "silent": true, "down": true}

| key | meaning |
|---|---|
| `refuse` | of a thing: how many actions on it are refused before one is accepted |
| `stuck` | of a thing: an action is accepted, and its end never comes |
| `bounce` | of a thing: how many actions are accepted and end where they began |
| `silent` | nothing is ever answered |
| `down` | the answer is what a web server says while the engine behind it starts |
| `upload` | the status with which uploads are answered |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Faults:
    """The faults in a directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "faults.json"

    def all(self) -> dict[str, Any]:
        """What the file says now."""
        try:
            found: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        return found

    def of(self, kind: str, name: str) -> dict[str, Any]:
        """The faults of a thing."""
        found: dict[str, Any] = self.all().get(f"{kind}/{name}", {})
        return found

    def spend(self, kind: str, name: str, fault: str) -> bool:
        """Whether a fault that happens a number of times happens now."""
        faults = self.all()
        mine = faults.get(f"{kind}/{name}", {})
        if not mine.get(fault):
            return False
        mine[fault] -= 1
        self._path.write_text(json.dumps(faults))
        return True

    def set(self, **faults: Any) -> None:
        """Have these faults from now on, and no others; `__` in a name stands for `/`."""
        self._path.write_text(json.dumps({name.replace("__", "/"): value for name, value in faults.items()}))
