"""The version of this Lago."""

from __future__ import annotations


def installed() -> str:
    """Return the version of the package that is installed."""
    from importlib.metadata import version

    return version("lago")
