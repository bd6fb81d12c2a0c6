"""Virtual machines of an environment."""

from __future__ import annotations

import abc
import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import libvirt

from .. import bootstrap, config, services
from ..errors import ExtractPathNoPathError, SSHError, VMError, VMNotReady, VMNotRunning
from ..guest import ssh, transfer
from ..guest.forward import Forward, Local
from ..host.locks import held_here
from ..host.parallel import no_errand
from ..host.programs import CommandStatus
from ..journal import commands
from ..journal.calls import recorded
from ..journal.writing import Journal
from ..log import LOG, no_phase, task
from ..plugins import machines
from ..plugins.contracts import Service
from ..topology import state
from ..topology.model import Disk, Domain
from . import console, cpu, extraction, reach, screen
from .breakable import Breakable, Faults
from .driver import Driver
from .libvirt_driver import Libvirt
from .machine import Machine
from .network import Network
from .provided import Provided
from .reach import Reach
from .readiness import Phase
from .session import Session
from .tester import Tester

_ANY_PORT = Local()
_LEAST = 5.0
"""Seconds that a command gets at least with which a machine shows that it is up."""


class Snapshots(Protocol):
    """What takes snapshots of an environment and goes back to them, as `lago.Prefix` does."""

    def create_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> object:
        """Take a snapshot of machines.

        Args:
            name: what to call it.
            vms: names of the machines; without them all.
        """

    def revert_snapshots(self, name: str, *, vms: Iterable[str] = ()) -> None:
        """Go back to a snapshot.

        Args:
            name: the name that it was taken by.
            vms: names of the machines that go back; without them all of the snapshot.
        """

    def resume(self) -> None:
        """Let machines go on that stand paused since they were forked, and return when they answer."""


class Environment(Session, abc.ABC):
    """The environment of a machine, with the others in it; `lago.virt.VirtEnv` is one."""

    snapshots: Snapshots
    faults: Faults

    @abc.abstractmethod
    def get_vms(self) -> Mapping[str, VM]:
        """Machines by name, in the order of the init file."""

    @abc.abstractmethod
    def get_vm(self, name: str) -> VM:
        """Machine of a name. Raises VMNotFound."""

    @abc.abstractmethod
    def get_nets(self) -> Mapping[str, Network]:
        """Nets by name, in the order of the init file."""

    @abc.abstractmethod
    def get_net(self, name: str | None = None) -> Network:
        """Net of a name; without one the first management net. Raises LagoError."""

    @abc.abstractmethod
    def states(self) -> dict[str, str]:
        """State of every machine in a word, by its name."""

    @abc.abstractmethod
    def connect(self, vm: str, port: int, timeout: float = 10) -> socket.socket:
        """Connect to a TCP port of a machine, for at most `timeout` seconds. Raises OSError, VMNotFound."""

    def resume(self) -> None:
        """Let machines go on that stand paused since they were forked: somebody wants to use one.

        Who holds the lock of the environment has done so, where that was wanted.

        Raises:
            VMNotReady: one does not answer.
        """
        if os.path.exists(self.paths.paused()) and not held_here(self.paths.lock()):
            self.snapshots.resume()


class VM(Machine, Tester, Breakable):
    """A machine; `driver` runs it.

    Whatever needs ssh makes a connection if there is none yet, and waits for the machine to answer if need be.

    Args:
        env: the environment that it is in.
        spec: its description, with everything decided.
    """

    env: Environment

    def __init__(self, env: Environment, spec: Domain) -> None:
        super().__init__(env, spec)
        self.driver: Driver = Libvirt(self)
        self._console_cursor = console.ConsoleCursor()
        self._agent: Service | None = None

    @property
    def journal(self) -> Journal:
        """Journal of its environment, to be written."""
        return self.env.journal

    @property
    def provider(self) -> Provided | None:
        """Plugin that runs it; None if libvirt does."""
        return self.driver if isinstance(self.driver, Provided) else None

    @property
    def outside(self) -> bool:
        """Whether it needs no net of the environment: it is reached over this host's, if at all."""
        return self.provider is not None and self.provider.outside

    @property
    def time_factor(self) -> float:
        """Factor by which things take longer in it than in one that is not emulated."""
        return 1.0 if self.outside else super().time_factor

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Free `metadata` of its init file entry."""
        return self.spec.metadata

    @property
    def all_ips(self) -> list[str]:
        """Addresses that it has on all nets."""
        return [str(nic.ip) for nic in self.spec.nics if nic.ip]

    def ips_in_net(self, net_name: str) -> list[str]:
        """Addresses that it has on a net.

        Args:
            net_name: the net, by its name in the init file.

        Raises:
            LagoError: there is no such net.
        """
        self.env.get_net(net_name)
        return [str(nic.ip) for nic in self.spec.nics if nic.net == net_name and nic.ip]

    def nets(self) -> list[str]:
        """Names of the nets that it is on, in the order of its nics."""
        return list(dict.fromkeys(nic.net for nic in self.spec.nics))

    @property
    def mgmt_net(self) -> str | None:
        """Name of the management net that it is on."""
        return self.spec.mgmt_net

    @property
    def disks(self) -> tuple[Disk, ...]:
        """Disks, in the order of the init file."""
        return self.spec.disks

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that its init file entry puts it in."""
        return self.spec.groups

    @property
    def vm_type(self) -> str:
        """Kind of machine that it is, by its init file or `default_vm_type`."""
        return self.spec.vm_type or machines.OWN_TYPE

    @property
    def cpu_model(self) -> str | None:
        """Model of its processor, if its init file names one."""
        return self.spec.cpu_model

    @property
    def cpu_vendor(self) -> str | None:
        """Vendor of that model, as libvirt calls it."""
        return cpu.vendor(self.spec.cpu_model) if self.spec.cpu_model else None

    def artifacts(self) -> tuple[str, ...]:
        """Paths on it that `collect` copies, by its init file."""
        return self.spec.artifacts

    def artifact_commands(self) -> Mapping[str, str]:
        """Commands whose output `collect` saves, by the name of the file for it, by its init file."""
        return self.spec.artifact_commands

    def distro(self) -> str | None:
        """Name of what it runs, by its init file or its template."""
        return self.spec.distro or self.spec.image.get("distro")

    def root_password(self) -> str | None:
        """Password of its root, by its init file or else by the configuration."""
        return self.spec.root_password or str(config.get("default_root_password"))

    def virt_env(self) -> Environment:
        """Environment that it is in."""
        return self.env

    def iscsi_name(self) -> str:
        """Name that it has as an iSCSI initiator."""
        return self.spec.iscsi_name

    def save(self, path: str | None = None) -> None:
        """Write its description as JSON.

        Args:
            path: file to write; without it the one that its prefix has for that.
        """
        state.save_vm(self.env.paths, self.spec, path)

    def bootstrap(self) -> None:
        """Prepare it for its first start."""
        self.driver.bootstrap()

    def domain(self) -> libvirt.virDomain:
        """Domain that libvirt has of it, whatever state that is in.

        Raises:
            VMNotRunning: libvirt has none.
            VMError: a plugin runs it, and not libvirt.
        """
        if self.provider is not None:
            raise self.provider.refusal("is not known to libvirt")
        return super().domain()

    def state(self) -> str:
        """State in a word, such as `running` or `paused`; `down` if nothing is left of it."""
        return self.driver.state()

    def alive(self) -> bool:
        """Whether it runs, or stands still."""
        return self.driver.alive()

    def must_run(self) -> None:
        """Raise VMNotRunning if it does not run; one that stands paused since it was forked goes on.

        Raises:
            VMNotRunning: it does not run.
            VMNotReady: it was to go on, and a machine of its environment does not answer.
        """
        self.env.resume()
        super().must_run()

    @recorded
    def start(self) -> None:
        """Start it, unless it runs. Its nets must be up.

        Raises:
            HypervisorError: libvirt refuses.
            HostError: this host lacks a program or firmware that it needs.
            VMError: it can't run as it is described.
        """
        self.driver.start()

    @recorded
    def stop(self) -> None:
        """Stop it as by pulling the plug, and have libvirt forget it."""
        self.driver.stop()

    @recorded
    def shutdown(self) -> str:
        """Power it off by ACPI, its guest agent or force, the first that works.

        Returns:
            Which one that was: `ACPI`, `guest agent`, `force` or, if a plugin runs it, `its provider`.

        Raises:
            VMNotRunning: it does not run.
        """
        self.must_run()
        return self.driver.shutdown()

    @recorded
    def reboot(self) -> str:
        """Boot it again by ACPI, its guest agent or force, the first that works, and wait until it answers ssh.

        Returns:
            Which one that was: `ACPI`, `guest agent`, `force` or, if a plugin runs it, `its provider`.

        Raises:
            VMNotRunning: it does not run.
            VMNotReady: it did not come up again.
        """
        self.must_run()
        how = self.driver.reboot()
        self.wait_for_ssh()
        return how

    def create_snapshot(self, name: str) -> None:
        """Take a snapshot of it alone, with its memory if it runs; the other machines go on.

        Args:
            name: what to call it: letters, digits, and `.`, `_`, `+`, `-` inside; 100 characters at most.

        Raises:
            LagoError: the environment has a snapshot of that name, or the name can't be one.
            VMError: its state can't be saved.
        """
        self.env.snapshots.create_snapshots(name, vms=[self.name()])

    def revert_snapshot(self, name: str) -> None:
        """Go back to a snapshot with it alone, and return when it answers ssh; the other machines go on.

        Args:
            name: a snapshot of it, or of more machines. If it is in none of that name, it stays as it is.

        Raises:
            LagoError: there is no such snapshot, or files of it are missing.
            VMNotReady: it does not answer.
        """
        self.env.snapshots.revert_snapshots(name, vms=[self.name()])

    @recorded
    def kill(self) -> None:
        """End it at once, as `kill -9` of its QEMU does. Unlike `power_cut` that is no fault to heal: it is down.

        Raises:
            VMNotRunning: it does not run.
        """
        self.must_run()
        self.env.hypervisor.kill(self.libvirt_name())
        self.stop()

    def _faults(self) -> Faults:
        return self.env.faults

    def discard(self) -> None:
        """Remove what is kept of a machine that was stopped for good, such as the contents of its TPM."""
        self.driver.discard()

    @cached_property
    def guest(self) -> ssh.Guest:
        """Way to log in to it."""
        return self.driver.guest()

    def wait_for_ssh(
        self,
        connect_retries: int | None = 50,
        on_phase: Phase = no_phase,
        command: str | Callable[[], bool] = "true",
        *,
        listens: bool = False,
        patience: float | None = None,
    ) -> None:
        """Return when it runs commands over ssh.

        Args:
            connect_retries: how many logins may fail; None: any number.
            on_phase: called with its name and what it does now, such as `booting`; without it nobody is told.
            command: what it runs first, or a function that runs something on it and says whether that succeeded, as it
                must.
            listens: say that it was only brought back and listens already, so that it is logged in to at once.
            patience: wait no longer than that, seconds, as for a boot: five times as long when emulated; without it
                as long as a boot may take.

        Raises:
            VMNotReady: it did not within `boot_time_sec` of its init file or else config `boot_timeout`, both in
                seconds and five times as long when emulated; or it ended, or lets nobody in. It says how far it came.
            VMError: it answers, but what is to be run on it after its first boot fails.
        """
        self.env.resume()
        seconds = self.spec.boot_time_sec or config.get("boot_timeout")
        seconds = seconds if patience is None else min(seconds, patience)
        end = time.monotonic() + seconds * (self.time_factor if self.provider is None else 1)
        first = command if callable(command) else lambda: self._runs(command, end - time.monotonic())
        self.driver.wait_for_ssh(seconds, on_phase, first, connect_retries, listens=listens)
        if self.provider is None and (rest := bootstrap.after_boot(self.spec)) is not None:
            words, data = rest
            if status := self.guest.run(words, data=data, timeout=seconds * self.time_factor):
                raise VMError(f"{self.name()}: {words[0]} failed", details=status.error_text)
        self.journal.event("ssh", vm=self.name(), up=True)

    def _runs(self, command: str, seconds: float) -> bool:
        """Run a command on it, and return whether that succeeded within some seconds."""
        try:
            return not self.guest.run(command, timeout=max(seconds, _LEAST))
        except SSHError:
            raise
        except VMError as error:
            LOG.debug("%s", error.render())
            return False

    def ssh(
        self,
        command: str | Sequence[str],
        data: bytes | None = None,
        show_output: bool = True,
        propagate_fail: bool = True,
        tries: int | None = None,
        timeout: float | None = None,
    ) -> CommandStatus:
        """Run a command and return how it ended.

        Args:
            command: a list of words, which is quoted, or a text for the guest's shell.
            data: bytes that it reads; without them its input is closed.
            show_output: write its output to ours, and its error output to ours, as it comes.
            propagate_fail: raise if it can't be reached; otherwise that is status 255 with the reason as error output.
            tries: how many logins are tried, if there is no connection yet; without it config `ssh_tries`.
            timeout: seconds that the command may take; without it there is no limit.

        Returns:
            Its exit status as `code`, and what it wrote as `out` and `err` (bytes). It is true in a condition if the
            status is not 0.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer.
            SSHError: the connection was lost.
            VMError: the command did not end in time. Whether it goes on there is up to the guest.
        """
        try:
            with self._commanded(command) as told:
                self.connect(tries)
                status = self.guest.run(command, data=data, show=show_output, timeout=timeout)
                told.ended(status)
                return status
        except (VMNotRunning, VMNotReady, SSHError) as error:
            if propagate_fail:
                raise
            return CommandStatus(255, b"", error.render().encode())

    def _commanded(
        self, command: str | Sequence[str], *, tty: bool = False
    ) -> contextlib.AbstractContextManager[commands.Command]:
        """Context manager: it runs a command, as the journal tells."""
        return commands.command(self.journal, self.name(), self.guest.user, command, tty=tty)

    def ssh_script(self, path: str, show_output: bool = True) -> CommandStatus:
        """Run a bash script of this host on it and return how that ended, as `ssh` does.

        Args:
            path: the script, a file of this host.
            show_output: write its output to ours, and its error output to ours, as it comes.

        Raises:
            OSError: the script can't be read.
            VMNotRunning, VMNotReady: it does not run or answer.
            SSHError: the connection was lost.
        """
        with open(path, "rb") as file:
            return self.ssh(["bash", "-s"], data=file.read(), show_output=show_output)

    def interactive_ssh(self, command: str | Sequence[str] = ("bash",)) -> CommandStatus:
        """Run a command with our standard streams, in a terminal of its own if ours is one.

        Args:
            command: a list of words, which is quoted, or a text for the guest's shell; without it a shell.

        Returns:
            Its exit status as `code`; its output is not kept.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer.
            SSHError: the connection was lost.
        """
        with self._commanded(command, tty=sys.stdin.isatty()) as told:
            self.connect()
            code = self.guest.interact(command)
            told.ended_with(code)
        return CommandStatus(code, b"", b"")

    def ssh_reachable(self, tries: int | None = None) -> bool:
        """Try to run a command over ssh, and return whether that works.

        Args:
            tries: how many logins are tried, if there is no connection yet; without it config `ssh_tries`.
        """
        return not self.ssh(["true"], show_output=False, propagate_fail=False, tries=tries)

    def reaches(
        self, other: VM | str, port: int | None = None, net: str | None = None, timeout: float = reach.PATIENCE
    ) -> Reach:
        """Ask it whether it reaches another machine, by ping or, with a port, by a connection.

        It tries with what it has: `ping`; `bash` and `timeout`, `python3` or `nc` for connections, also in place of a
        ping. Then a connection to port 22 of the other one is tried, and one that is refused counts too.

        Args:
            other: the other machine, or its name.
            port: a TCP port of the other one that must take a connection; without it any answer will do.
            net: the net over which it is to be reached; without it all nets that both are on are tried.
            timeout: seconds that an answer may take, at least 1.

        Returns:
            A `lago.virt.Reach`: it is true in a condition if the other one was reached, on all these nets; `nets`
            tells that of each, and `by` what it was tried with.

        Raises:
            VMNotFound: there is no machine of that name.
            LagoError: there is no such net, or port.
            VMError: it has nothing to try that with.
            VMNotRunning, VMNotReady, SSHError: it can't be asked.
        """
        reach.check(port, timeout)
        target = self.env.get_vm(other) if isinstance(other, str) else other
        if net is not None:
            self.env.get_net(net)
        return reach.ask(self, [target], port, net, timeout)[target.name()]

    def copy_to(self, local_path: str | Sequence[str], remote_path: str) -> None:
        """Copy files and trees to it, as `scp -r` does. A tree is merged with one that is there.

        Args:
            local_path: a path of this host, or several.
            remote_path: the path on it; in a directory they get their own names.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer.
            LagoError: something can't be read here, or two files have one name.
            VMError: the guest can't take it; nothing of it is left there.
            SSHError: the connection was lost.
        """
        self.connect()
        source = local_path if isinstance(local_path, str) else ", ".join(local_path)
        with (
            task(f"Copy to {self.name()}:{remote_path}"),
            commands.copy(self.journal, self.name(), "to", source, remote_path) as copying,
        ):
            transfer.copy_to(self.guest, local_path, remote_path, copying.count)

    def copy_from(self, remote_path: str, local_path: str) -> None:
        """Copy a file or a tree from it, as `scp -r` does. A tree is merged with one that is there.

        A link of that name is replaced and not followed; one to a directory is refused, unless `local_path` ends with a
        slash.

        Args:
            remote_path: the path on it.
            local_path: the path on this host; in a directory the copy gets its own name.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer.
            VMError: it is not there, or can't be read.
            LagoError: it can't be written here, or `local_path` is a link to a directory; nothing of it is left.
            SSHError: the connection was lost.
        """
        self.connect()
        with (
            task(f"Copy from {self.name()}:{remote_path}"),
            commands.copy(self.journal, self.name(), "from", remote_path, local_path) as copying,
        ):
            transfer.copy_from(self.guest, remote_path, local_path, copying.count)

    def extract_paths(self, paths: Iterable[tuple[str, str]], ignore_nopath: bool = False) -> None:
        """Copy files and trees of it to this host, over ssh or, if it is down or does not answer, out of its disks.

        Args:
            paths: pairs of a path on the machine and one of this host, whose directory must exist.
            ignore_nopath: leave out what is not there on the machine.

        Raises:
            ExtractPathError: they can't be had.
            ExtractPathNoPathError: some are not there; all others were copied.
        """
        if (missing := self.extract(paths)) and not ignore_nopath:
            raise ExtractPathNoPathError(f"{self.name()}: {', '.join(missing)}: there is no such path on the guest")

    def extract(self, paths: Iterable[tuple[str, str]]) -> list[str]:
        """Copy files and trees of it to this host as `extract_paths` does, and return the paths that it does not have.

        Args:
            paths: pairs of a path on the machine and one of this host, whose directory must exist.

        Raises:
            ExtractPathError: they can't be had.
        """
        self.env.resume()
        return self.driver.extract(paths)

    def save_outputs(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Run `artifact-commands` of its init file, and write what they say, errors too, to files of this host.

        Each may take 60 seconds, five times as long when it is emulated. One that fails does not keep the others from
        being run, and what it said by then is there.

        Args:
            paths: the files, by the names of the commands that are run.

        Returns:
            Why commands failed, or could not be run, by name; of a machine that is down or does not answer all of them.
        """
        self.env.resume()
        return extraction.save_outputs(self, {name: self.artifact_commands()[name] for name in paths}, paths)

    def connect(self, tries: int | None = None) -> None:
        """Make sure that commands can be run on it over ssh: wait for it if there is no connection yet.

        Args:
            tries: how many logins may fail; without it config `ssh_tries`.

        Raises:
            VMNotRunning: it does not run.
            VMNotReady: it does not answer in time; says how far it came.
        """
        if (wrong := self.env.on_purpose(self.name())).stands:
            raise VMNotRunning(f"{self.name()} is frozen on purpose", hint=f"lago heal {wrong.stands}")
        if not self.guest.connected():
            self.must_run()
            self.wait_for_ssh(tries or config.get("ssh_tries"))

    def wait_for_console_text(self, regex: str, timeout: float = 900) -> re.Match[str]:
        """Return when it has said on its console what matches a regular expression.

        What it said since it was started counts, up to the match of the call before.

        Args:
            regex: for Python's `re.search`, with `re.MULTILINE`.
            timeout: seconds to wait.

        Returns:
            The match.

        Raises:
            VMNotRunning: it ended, or does not run, and has not said it.
            VMNotReady: it has not said it within `timeout`.
            VMError: `regex` is no regular expression.
        """
        self.env.resume()
        return console.wait_for_text(self, self._console_cursor, regex, timeout)

    def interactive_console(self, stdin: int = 0, stdout: int = 1, *, force: bool = False) -> bool:
        """Connect a terminal with its console until Control-] is typed or it ends.

        The terminal is raw meanwhile, so that all other keys go to the machine. What the machine says is still logged.

        Args:
            stdin: descriptor of the terminal.
            stdout: descriptor where it is written what the machine says.
            force: end the session of somebody else who is at the console.

        Returns:
            Whether the machine ended.

        Raises:
            VMNotRunning: it does not run.
            HypervisorError: somebody is at the console already.
            VMError: a plugin runs it, and offers no console.
        """
        return self.driver.interactive_console(stdin, stdout, force=force)

    def vnc_port(self) -> str:
        """Port on the loopback address of its hypervisor where VNC shows its screen.

        Raises:
            VMNotRunning: it does not run.
            VMError: it has no screen.
        """
        return screen.vnc_port(self)

    def screenshot(self, path: str) -> None:
        """Write what its screen shows now to a PNG file.

        Args:
            path: the file; one that is there is replaced.

        Raises:
            VMNotRunning: it does not run.
            HypervisorError: libvirt refuses; without a screen it does.
            OSError: the file can't be written.
        """
        screen.screenshot(self, path)
        self.journal.event("screen", vm=self.name(), file=self._in_prefix(path), form="png")

    def _in_prefix(self, path: str) -> str:
        """A path, relative to the prefix if it is below that."""
        whole, prefix = os.path.realpath(path), os.path.realpath(self.env.paths.prefix())
        return os.path.relpath(whole, prefix) if whole.startswith(f"{prefix}{os.sep}") else whole

    @recorded
    def film(
        self,
        path: str,
        duration: float | None = None,
        rate: float = 5.0,
        begun: Callable[[], None] = no_errand,
    ) -> None:
        """Record its screen or its console until `duration` is over, it ends, or Ctrl-C. There is a file only then.

        Args:
            path: the file; one that is there is replaced. Its ending says what it becomes: `.webm` or `.gif` of the
                screen, for which ffmpeg must be installed, or `.cast` of the serial console, for asciinema.
            duration: seconds; without it there is no such end.
            rate: frames of the screen a second, from 0.1 to 30.
            begun: is called when the first of it is recorded.

        Raises:
            VMNotRunning: it does not run.
            LagoError: the ending is none of these, a value is out of its bounds, or ffmpeg fails or is not installed.
            HypervisorError: libvirt refuses; without a screen it does.
            OSError: the file can't be written.
        """
        from .film import film

        film(self, path, duration=duration, rate=rate, begun=begun)

    @recorded
    def send_keys(self, keys: str) -> None:
        """Press keys on its keyboard, or type a text.

        Args:
            keys: the name of a key, such as `ret`; one after modifiers, such as `ctrl-alt-delete`; or else a text. Its
                characters are those of a keyboard with the layout of the United States.

        Raises:
            VMNotRunning: it does not run.
            VMError: there is no such key, or a character is on none.
        """
        screen.send_keys(self, keys)

    @contextlib.contextmanager
    def forward(self, port: int, local: Local = _ANY_PORT) -> Iterator[tuple[str, int]]:
        """Context manager: one of its TCP ports is an address of this host too; yields host and port to connect to.

        Args:
            port: the port of the guest. Whether anything listens there is seen when somebody connects.
            local: where to listen here, a `lago.guest.forward.Local`: a port of 127.0.0.1, or a unix socket, whose path
                is yielded with port 0. Without it any free port.

        Raises:
            LagoError: somebody else listens there.
        """
        with Forward(lambda: self.env.connect(self.name(), port), local, f"{self.name()} port {port}") as forward:
            yield forward.address

    def service(self, name: str) -> Service:
        """Service of it, by whatever manages them there, such as systemd; that is found out once and stored.

        Args:
            name: what the service is called there, such as `sshd`; whether there is one is not asked yet.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer, and has to be asked.
            VMError: nothing that manages services there is known.
            LagoError: the `service_provider` of its init file is not there.
        """
        if self.spec.service_provider is None:
            self.spec = replace(self.spec, service_provider=services.detect(self))
            state.save_service_provider(self.env.paths, self.spec)
        return services.provider(str(self.spec.service_provider))(self, name)

    def guest_agent(self) -> Service:
        """Service of it that is QEMU's guest agent. Raises VMError if it has none."""
        if self._agent is None:
            self._agent = services.agent(self)
        return self._agent
