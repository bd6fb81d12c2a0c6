"""Machines and networks on libvirt."""

from .env import VirtEnv
from .network import BridgeNetwork, IsolatedNetwork, NATNetwork, Network
from .vm import VM

__all__ = ["VM", "BridgeNetwork", "IsolatedNetwork", "NATNetwork", "Network", "VirtEnv"]
