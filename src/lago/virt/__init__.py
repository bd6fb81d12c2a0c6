"""Machines and nets on libvirt."""

from ..plugins.contracts import ServiceState
from .env import VirtEnv
from .network import BridgeNetwork, IsolatedNetwork, NATNetwork, Network
from .reach import Reach, Reachability
from .vm import VM

__all__ = [
    "VM",
    "BridgeNetwork",
    "IsolatedNetwork",
    "NATNetwork",
    "Network",
    "Reach",
    "Reachability",
    "ServiceState",
    "VirtEnv",
]
