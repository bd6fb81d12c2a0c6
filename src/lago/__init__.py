"""Lago: virtual machines and networks from one file, up, reachable and disposable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import LagoError

if TYPE_CHECKING:
    from .environment.prefix import Prefix
    from .virt.together import wait_all

__all__ = ["LagoError", "Prefix", "__version__", "wait_all"]


def __getattr__(name: str) -> Any:
    # Lazily: what the command line does not need at once it does not pay for.
    if name == "Prefix":
        from .environment.prefix import Prefix

        return Prefix
    if name == "wait_all":
        from .virt.together import wait_all

        return wait_all
    if name == "__version__":
        from .version import installed

        return installed()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
