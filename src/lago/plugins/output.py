"""Output formats from plugins."""

from __future__ import annotations

import abc
from typing import Any


class OutFormatPlugin(abc.ABC):
    """An output format. Its name, for `--out-format`, is that of its entry point."""

    @abc.abstractmethod
    def format(self, obj: Any) -> str:
        """Return data as text.

        Args:
            obj: mappings, lists, strings, numbers, truth values and None, nested.
        """
