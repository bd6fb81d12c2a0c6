"""Machines and networks on libvirt."""

from .env import VirtEnv
from .network import Network
from .vm import VM

__all__ = ["VM", "Network", "VirtEnv"]
