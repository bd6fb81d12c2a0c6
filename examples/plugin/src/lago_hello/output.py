"""An output format: keys and values separated by tabs."""

from __future__ import annotations

from typing import Any

from lago.plugins.output import OutFormatPlugin


class Lines(OutFormatPlugin):
    """One line for each key on top."""

    def format(self, obj: Any) -> str:
        """Data as text."""
        return "\n".join(f"{key}\t{value}" for key, value in obj.items()) if isinstance(obj, dict) else str(obj)
