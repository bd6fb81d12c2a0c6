"""What is asked of an engine and of its machine: all that the other modules of this package know of them.

`machine.EngineVM` offers this. Functions take these, and not that class, which stands above them and calls them.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from ovirtsdk4 import Connection

    from lago.guest.ssh import Guest
    from lago.hypervisor.accel import Accel
    from lago.paths import Paths
    from lago.plugins.contracts import Service

Step = Callable[["Connection"], str]
"""Does what is to be done next, by a connection to the engine; returns why it is not done yet, or nothing when it is.

What the engine refuses, `ovirtsdk4.Error`, it may raise: that is a reason to go on too.
"""


class Identity(NamedTuple):
    """Who an engine is.

    Attributes:
        fqdn: its fully qualified name, which its certificate is for.
        ca: the certificate of its authority in PEM form.
    """

    fqdn: str
    ca: str

    @property
    def url(self) -> str:
        """Where its web pages are."""
        return f"https://{self.fqdn}/ovirt-engine"


class Environment(Protocol):
    """The environment that a machine is in; `lago.virt.VirtEnv` is one."""

    @property
    def accel(self) -> Accel:
        """How machines run; times are multiplied by its `time_factor`."""

    @property
    def cancelled(self) -> threading.Event:
        """Set when whoever waits for machines is interrupted."""

    @property
    def paths(self) -> Paths:
        """Where its files are."""


class Machine(Protocol):
    """A machine of an oVirt environment, and how it is reached."""

    @property
    def env(self) -> Environment:
        """The environment that it is in."""

    @property
    def guest(self) -> Guest:
        """How commands are run on it, once `connect` has returned."""

    def name(self) -> str:
        """Return its name in the init file, for messages."""

    def connect(self) -> None:
        """Make sure that commands can be run on it. Raises VMNotRunning, VMNotReady."""

    def dial(self, port: int) -> socket.socket:
        """Open a connection to one of its TCP ports. Raises OSError, HypervisorError."""

    def service(self, name: str) -> Service:
        """Return a service of it, by its name there. Raises VMError if nothing manages services there."""


class Engine(Machine, Protocol):
    """An engine, on a machine of its own."""

    def user(self) -> str:
        """Return the name to log in with."""

    def password(self) -> str:
        """Return the password of `user`."""

    def insecure(self) -> bool:
        """Return whether its certificates are not verified."""

    def identity(self) -> Identity:
        """Return who it is by its own machine.

        Raises:
            VMNotRunning, VMNotReady: the machine does not run or answer.
            EngineError: it is not set up.
        """

    def is_set_up(self) -> bool:
        """Return whether `engine-setup` was run on its machine. Raises VMNotRunning, VMNotReady."""

    def wait_for_service(self, timeout: float) -> None:
        """Return when its service runs, or raise EngineNotReady after `timeout` seconds."""

    def get_api(self, wait: bool = True) -> Connection:
        """Return a connection to it that works, the same one as before as long as that does.

        Args:
            wait: for the machine, the service and an answer; otherwise it is tried once.

        Raises:
            VMNotRunning, VMNotReady: the machine does not run or answer.
            EngineNotReady: it does not answer.
            EngineError: it is not set up, refuses the password, or is not who it should be.
        """

    def disconnect(self) -> None:
        """Close the connection, without a word to the engine."""
