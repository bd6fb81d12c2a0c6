"""One machine of an environment, as far as libvirt and its files tell of it."""

from __future__ import annotations

import abc
import contextlib
import os

import libvirt

from ..errors import VMError, VMNotRunning
from ..guest import ssh
from ..host import long_logs
from ..host.files import write_atomically
from ..topology.model import Domain, Nic
from ..topology.names import libvirt_domain_name
from .connection import ENDED, look_up, refusals, unless_gone
from .network import Network
from .session import Session


def _text(data: bytes) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


class Machine(abc.ABC):
    """A machine: its names, what libvirt has of it, its logs, and how to log in to it.

    Whatever is done to a machine takes this; `lago.virt.VM` stands above, and decides what runs it.
    """

    def __init__(self, env: Session, spec: Domain) -> None:
        self.env = env
        self._name = spec.name
        self.spec = spec

    @property
    def spec(self) -> Domain:
        """Description of it as it is decided now; it may be replaced."""
        return self.env.domains[self._name]

    @spec.setter
    def spec(self, spec: Domain) -> None:
        self.env.domains[self._name] = spec

    def name(self) -> str:
        """Name that it has in the init file."""
        return self._name

    def ip(self) -> str:
        """Address that it has on the management net. Raises VMError if it is on none."""
        if self.spec.ip is None:
            raise VMError(f"{self.name()} has no address on a management net", hint="give it a nic on one")
        return self.spec.ip

    def nics(self) -> tuple[Nic, ...]:
        """Network interfaces, in the order of the init file."""
        return self.spec.nics

    def libvirt_name(self) -> str:
        """Name that libvirt knows it by."""
        return libvirt_domain_name(self.env.uuid, self.name())

    def found(self) -> libvirt.virDomain | None:
        """Domain that libvirt has of it; None if it has none."""
        if not self.env.live:
            return None
        with self._asked():
            return look_up(self.env.libvirt_con.lookupByName, self.libvirt_name(), libvirt.VIR_ERR_NO_DOMAIN)

    def domain(self) -> libvirt.virDomain:
        """Domain that libvirt has of it. Raises VMNotRunning if it has none."""
        found = self.found()
        if found is None:
            raise VMNotRunning(f"{self.name()} is not running, it is down", hint=f"lago start {self.name()}")
        return found

    def running_domain(self) -> libvirt.virDomain:
        """Domain that libvirt has of it while it runs. Raises VMNotRunning."""
        self.must_run()
        return self.domain()

    def must_run(self) -> None:
        """Raise VMNotRunning if it does not run."""
        if not self.alive():
            raise VMNotRunning(f"{self.name()} is not running, it is {self.state()}", hint=f"lago start {self.name()}")

    def libvirt_state(self) -> tuple[int | None, int]:
        """Numbers of libvirt for its state and for the reason of that; no state if libvirt does not know it."""
        found = self.found()
        if found is not None:
            with self._asked(), unless_gone():
                state, reason = found.state()
                return state, reason
        return None, 0

    def active(self) -> bool:
        """Whether libvirt has a QEMU for it."""
        found = self.found()
        if found is not None:
            with self._asked(), unless_gone():
                return bool(found.isActive())
        return False

    def _asked(self) -> contextlib.AbstractContextManager[None]:
        return refusals(f"libvirt can't be asked for {self.name()}", ENDED)

    @abc.abstractmethod
    def state(self) -> str:
        """State in a word; `down` if nothing is left of it."""

    @abc.abstractmethod
    def alive(self) -> bool:
        """Whether it runs, or stands still."""

    def running(self) -> bool:
        """Whether it runs, that is, is not paused either."""
        return self.state() == "running"

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop it as by pulling the plug, and have libvirt forget it."""

    @property
    @abc.abstractmethod
    def guest(self) -> ssh.Guest:
        """Way to log in to it."""

    @property
    def time_factor(self) -> float:
        """Factor by which things take longer in it than in one that is not emulated."""
        return self.env.accel.time_factor

    def console_log(self) -> str:
        """Path of what it wrote on its serial console since we started it; `.old` is that of the time before."""
        return self.env.paths.console_log(self.name())

    def console_text(self) -> str:
        """Text that it wrote on its console since we started it: all that is still there, or the end of it."""
        return _text(self._console_end()[1])

    def _console_end(self) -> tuple[int, bytes]:
        try:
            return long_logs.end_of(self.console_log())
        except OSError:
            return 0, b""

    def undo_console(self) -> None:
        """Record that what is on its console so far is of a time that is undone, if there is room for that."""
        with contextlib.suppress(OSError):
            size = os.stat(self.console_log()).st_size
            write_atomically(self.env.paths.console_undone(self.name()), f"{size}\n")

    def console_undone(self) -> int:
        """How much of `console_text`, from its begin, is of such a time."""
        try:
            with open(self.env.paths.console_undone(self.name()), encoding="ascii") as file:
                undone = int(file.read(32))
        except (OSError, ValueError):
            return 0
        at, data = self._console_end()
        return len(_text(data[: max(0, undone - at)]))

    def begin_console(self) -> None:
        """Let its console log begin anew, as it is started from nothing."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.console_log(), f"{self.console_log()}.old")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.env.paths.console_undone(self.name()))

    def qemu_log(self) -> str | None:
        """Path of QEMU's own log, where it is ours to read."""
        return None if self.env.hypervisor.shared else self.env.paths.logs("qemu", f"{self.libvirt_name()}.log")

    def has_lease(self) -> bool:
        """Whether it asked for its management address and got it."""
        return self.ip() in Network(self.env, self.env.nets[str(self.spec.mgmt_net)]).leases()
