"""What plugins for machines, their providers and their services must offer, and what they are given.

| class | who writes it |
|---|---|
| `VMPlugin`, `VMProviderPlugin`, `VMProviderOffers`, `ServicePlugin` | the plugin |
| `Machine`, `Environment`, `Commands` | Lago: the machine that a plugin is for; `lago.virt.VM` has more |
| `Login`, `ServiceState` | the plugin, as answers |
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from ..host.programs import CommandStatus
    from ..paths import Paths
    from ..topology.model import Domain


class Environment(Protocol):
    """The environment that a machine is in."""

    @property
    def paths(self) -> Paths:
        """Places of its files."""

    @property
    def cancelled(self) -> threading.Event:
        """Event that is set when whoever waits for machines is interrupted; what lasts should end then."""


class Commands(Protocol):
    """What runs commands on a machine."""

    def run(self, command: str | Sequence[str], *, timeout: float | None = None) -> CommandStatus:
        """Run a command and return how it ended.

        Args:
            command: a list of words, which is quoted, or a text for the machine's shell.
            timeout: seconds that it may take; without it there is no limit.

        Returns:
            Its exit status as `code`, and what it wrote as `out` and `err` (bytes). It is true in a condition if the
            status is not 0.

        Raises:
            SSHError: the connection is not there, or was lost.
            VMError: the command did not end in time.
        """


class Machine(Protocol):
    """The machine that a plugin is for."""

    @property
    def env(self) -> Environment:
        """Environment that it is in."""

    @property
    def spec(self) -> Domain:
        """Description of it, by its init file and with everything decided."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Free `metadata` of its init file entry: the place for the settings of a plugin."""

    @property
    def guest(self) -> Commands:
        """Way to run commands on it, once `connect` has returned."""

    def name(self) -> str:
        """Name that it has in the init file."""

    def connect(self) -> None:
        """Make sure that commands can be run on it.

        Raises:
            VMNotRunning: it does not run.
            VMNotReady: it does not answer in time.
        """

    def service(self, name: str) -> Service:
        """Service of it, by whatever manages them there, such as systemd.

        Args:
            name: what the service is called there; whether there is one is not asked yet.

        Raises:
            VMError: nothing that manages services there is known.
        """


class VMPlugin(Protocol):
    """A kind of machine, chosen by `vm-type` in an init file; most are subclasses of `lago.virt.VM`."""

    def __init__(self, env: Environment, spec: Domain) -> None:
        """Make a machine.

        Args:
            env: the environment that it is in, a `lago.virt.VirtEnv`.
            spec: its description, with everything decided.
        """


class Login(NamedTuple):
    """How a machine is logged in to by ssh from this host's network.

    Attributes:
        address: address or name of it, or of what leads to its port.
        user: without it the `ssh-user` of the init file, the configuration or the template, or else root.
        port: its TCP port.
        key: file with a private key; without it that of the environment, whose public half is
            `vm.env.paths.ssh_id_rsa_pub()`.
        password: what to log in with where the key is not taken.
        known_hosts: file with its host key, `ssh_known_hosts` in sshd(8); without it the user's own. A machine that is
            not in it is refused.
    """

    address: str
    user: str | None = None
    port: int = 22
    key: str | None = None
    password: str | None = None
    known_hosts: str | None = None


class VMProviderPlugin(Protocol):
    """What runs a machine, chosen by `vm-provider` in an init file.

    It may offer more, see `VMProviderOffers`. What goes wrong it should raise as an error of `lago.errors`. Calls come
    from several threads, for a machine at most one at a time.
    """

    def __init__(self, vm: Machine) -> None:
        """Make the provider of one machine. Nothing should be asked of it yet: `lago status` makes one, too.

        Args:
            vm: the machine.
        """

    def bootstrap(self) -> None:
        """Prepare it before its first start; called once, by `lago init`."""

    def start(self) -> None:
        """Start it; not called while it runs."""

    def stop(self) -> None:
        """Stop it as by pulling the plug; called while it runs. `lago destroy` calls it as well."""

    def shutdown(self) -> None:
        """Ask it to power off, and return when it has; called while it runs."""

    def reboot(self) -> None:
        """Ask it to boot again, and return when it has gone down; called while it runs."""

    def state(self) -> str:
        """Return its state in a word: `running`, `down`, or what else there is."""

    def running(self) -> bool:
        """Return whether it runs, or stands still: `stop` ends it then."""

    def create_snapshot(self, name: str) -> None:
        """Take a snapshot, in place of one of the same name; other machines of the environment stand still.

        Args:
            name: what to call it: letters, digits, and `.`, `_`, `+`, `-` inside; 100 characters at most.
        """

    def revert_snapshot(self, name: str) -> None:
        """Go back to a snapshot.

        Args:
            name: what it was called when it was taken.
        """


class VMProviderOffers(Protocol):
    """What a provider may offer besides; each is left out by itself."""

    def login(self) -> Login:
        """Return how it is logged in to.

        Without this it is reached at its address on a net of the environment.
        """

    def interactive_console(self, stdin: int, stdout: int, *, force: bool) -> bool:
        """Connect a terminal with its console until it is left; return whether the machine ended.

        Without this `lago console` refuses.

        Args:
            stdin: descriptor of the terminal.
            stdout: descriptor where it is written what the machine says.
            force: end the session of somebody else who is at the console.
        """

    def extract_paths(self, paths: Iterable[tuple[str, str]], *, ignore_nopath: bool) -> None:
        """Copy files and trees of it to this host, whether it runs or not.

        Without this they are copied over ssh while it runs.

        Args:
            paths: pairs of a path on the machine and one of this host, whose directory exists.
            ignore_nopath: leave out what is not there on the machine.

        Raises:
            ExtractPathError: they can't be had.
            ExtractPathNoPathError: something is not there, and that is not to be ignored.
        """

    def extract_paths_dead(self, paths: Iterable[tuple[str, str]], *, ignore_nopath: bool) -> None:
        """Copy files and trees of it to this host when it is down or does not answer ssh.

        It is asked if there is no `extract_paths`. Without this they can't be had then.

        Args:
            paths: pairs of a path on the machine and one of this host, whose directory exists.
            ignore_nopath: leave out what is not there on the machine.

        Raises:
            ExtractPathError: they can't be had.
            ExtractPathNoPathError: something is not there, and that is not to be ignored.
        """

    def export_disks(self, standalone: bool, dst_dir: str, compress: bool) -> Iterable[str]:
        """Write its disks as files into a directory, for `lago export`; return the paths of the files.

        Without this a machine that has disks can't be exported.

        Args:
            standalone: write disks as a whole, not what they add to their template.
            dst_dir: a directory of this host.
            compress: pack the images.
        """


class ServiceState(enum.IntEnum):
    """How a service of a guest is."""

    MISSING = 0
    """The guest has no such service."""

    INACTIVE = 1
    """It doesn't run."""

    ACTIVE = 2
    """It runs."""


class Service(Protocol):
    """A service of a machine."""

    def state(self) -> ServiceState:
        """Return its state."""

    def exists(self) -> bool:
        """Return whether there is such a service."""

    def alive(self) -> bool:
        """Return whether it runs."""

    def start(self) -> None:
        """Start it, unless it runs."""

    def stop(self) -> None:
        """Stop it, if it runs."""


class ServicePlugin(Service, Protocol):
    """A service manager of guests: one service of one machine. `lago.services.Service` is a base for such classes."""

    BIN_PATH: ClassVar[str]
    """Program that is there in guests with this manager."""

    def __init__(self, vm: Machine, name: str) -> None:
        """Make the handle of one service.

        Args:
            vm: the machine that it is on.
            name: what it is called there.
        """

    @classmethod
    def is_supported(cls, vm: Machine) -> bool:
        """Return whether a machine has this manager; it has the program `BIN_PATH`.

        Args:
            vm: the machine.
        """
