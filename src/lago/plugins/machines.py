"""The plugins that a machine asks for: its `vm-type` and its `vm-provider`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import LagoError
from ..host.suggest import near

if TYPE_CHECKING:
    from .contracts import VMProviderPlugin

OWN_TYPE: Final = "default"
OWN_PROVIDER: Final = "local-libvirt"


def kind(name: str | None, vm: str) -> Any:
    """The class of the machine `vm`; None is Lago's own. Raises LagoError if it is not there."""
    return _find("vm", "vm-type", OWN_TYPE, name, vm)


def provider(name: str | None, vm: str) -> type[VMProviderPlugin] | None:
    """The class of what runs the machine `vm`; None is libvirt. Raises LagoError if it is not there."""
    found: type[VMProviderPlugin] | None = _find("vm_provider", "vm-provider", OWN_PROVIDER, name, vm)
    return found


def is_own(provider: str | None) -> bool:
    """Whether a `vm-provider` is libvirt, and no plugin."""
    return provider in (None, OWN_PROVIDER)


def _find(group: str, key: str, own: str, name: str | None, vm: str) -> Any:
    if name in (None, own):
        return None
    from . import entries, load_one

    offered = {entry.name: entry for entry in entries(group)}
    found = load_one(offered[name]) if name in offered else None
    if found is None:
        why = "could not be loaded" if name in offered else "is not installed"
        raise LagoError(f"{vm}: the {key} {name} {why}", hint=near(str(name), [own, *offered]))
    return found
