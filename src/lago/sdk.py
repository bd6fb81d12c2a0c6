"""Lago as a library: environments that a Python program makes, uses and removes.

    with lago.sdk.init("LagoInitFile") as env:
        env.start()
        assert env.get_vms()["web"].ssh(["true"]).code == 0

Nothing of the process is changed: not its working directory, not its environment variables, not its logging unless
`add_stream_logger` is called. Any number of environments may be used at once, from any thread. What fails raises an
error of `lago.errors`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from . import config as settings
from . import log
from .constants import DEFAULT_INIT_FILE, DEFAULT_PREFIX, DEFAULT_WORKDIR
from .environment.captures import MOST
from .environment.faults.breaking import Breaking
from .environment.prefix import Prefix
from .environment.workdir import Workdir, is_prefix
from .errors import printable

if TYPE_CHECKING:
    from .environment.captures.capturing import Capturing
    from .environment.captures.model import Capture
    from .environment.faults.model import Fault
    from .environment.snapshots.index import Snapshot
    from .paths import Paths
    from .virt import VM
    from .virt.network import Network
    from .virt.reach import Reachability

__all__ = ["Env", "add_stream_logger", "init", "load_env"]

_STREAM = "lago-stream"

Path = str | os.PathLike[str]
T = TypeVar("T")


def init(
    config: Path | Mapping[str, Any],
    workdir: Path | None = None,
    logfile: Path | None = None,
    loglevel: int = logging.INFO,
    *,
    keep: bool = False,
    template_repo_path: str | None = None,
    template_store: str | None = None,
) -> Env:
    """Make an environment, without starting it.

    Args:
        config: path of an init file, or what one would say as a mapping; relative paths in that begin at the working
            directory.
        workdir: directory to make it in; without it `.lago` in the working directory.
        logfile: what is done to this environment is logged there too, from `loglevel` on; without it nowhere else. Its
            own `lago.log` always has everything.
        loglevel: a level of Python's `logging`.
        keep: whether it stays when a `with` block ends.
        template_repo_path: path or address of the repository that templates come from; without it that of the
            configuration.
        template_store: directory that keeps their images; without it that of the configuration.

    Raises:
        PrefixError: there is an environment in `workdir` already.
        InitFileError: all mistakes of the init file.
        LagoError: an image can't be had, a disk not be made.
    """
    from .templates import TemplateRepository, TemplateStore

    repository = template_repo_path or settings.get("template_repo_path", None, "init")
    store = template_store or settings.get("template_store", None, "init")
    home = Workdir(os.fspath(workdir or DEFAULT_WORKDIR))
    with _logging_to(logfile, loglevel):
        prefix = home.add_prefix(
            DEFAULT_PREFIX,
            config if isinstance(config, Mapping) else os.fspath(config),
            template_repo=TemplateRepository.from_url(repository) if repository else None,
            template_store=TemplateStore(store) if store else None,
        )
    return Env(prefix, home, logfile, loglevel, keep=keep)


def load_env(workdir: Path, logfile: Path | None = None, loglevel: int = logging.INFO, *, keep: bool = True) -> Env:
    """Load the environment that is there already: the current one of a workdir.

    Args:
        workdir: the directory that `init` or `lago init` made, usually `.lago`.
        logfile: what is done to this environment is logged there too, from `loglevel` on; without it nowhere else. Its
            own `lago.log` always has everything.
        loglevel: a level of Python's `logging`.
        keep: whether it stays when a `with` block ends; unlike a new one it does if nothing is said.

    Raises:
        PrefixError: there is none.
    """
    home = Workdir(os.fspath(workdir))
    return Env(home.get_prefix(), home, logfile, loglevel, keep=keep)


def add_stream_logger(level: int = logging.DEBUG, name: str | None = None) -> None:
    """Show on standard error what is done to all environments; a second call takes the place of the first.

    Args:
        level: the least that is shown, a level of Python's `logging`.
        name: the logger to listen to; without it that of all of Lago.
    """
    logger = logging.getLogger(name or log.LOG.name)
    for old in [handler for handler in logger.handlers if handler.get_name() == _STREAM]:
        logger.removeHandler(old)
    handler = logging.StreamHandler()
    handler.set_name(_STREAM)
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(log.FILE_FORMAT))
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > level:
        logger.setLevel(level)


def _logging_to(logfile: Path | None, level: int) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if logfile is None else log.to_file(os.fspath(logfile), level)


class Env(Breaking):
    """An environment; made by `init`, `load_env` and `Env.fork`.

    As a context manager it is destroyed at the end of the block, unless it is to be kept.
    """

    def __init__(
        self, prefix: Prefix, workdir: Workdir | None, logfile: Path | None, loglevel: int, *, keep: bool
    ) -> None:
        self._prefix = prefix
        self._workdir = workdir
        self._logfile = logfile
        self._loglevel = loglevel
        self._keep = keep
        # Made here, so that all threads see the same machines.
        self._virt_env = prefix.virt_env

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._virt_env.close()
        if not self._keep and is_prefix(self._prefix.paths.prefix()):
            self.destroy()

    def __repr__(self) -> str:
        return f"<Env {self._prefix.paths.prefix()}>"

    def _logged(self) -> contextlib.AbstractContextManager[None]:
        return _logging_to(self._logfile, self._loglevel)

    def start(self, vm_names: Iterable[str] | None = None) -> None:
        """Start machines and wait until they answer ssh.

        Args:
            vm_names: which; without them all.

        Raises:
            VMNotFound: there is no machine of that name.
            HypervisorError: libvirt refuses.
            VMNotReady: a machine did not come up in time; says how far it came.
        """
        with self._logged():
            self._prefix.start(vm_names or ())

    def stop(self, vm_names: Iterable[str] | None = None) -> None:
        """Stop machines as by pulling the plug.

        Args:
            vm_names: which; without them all.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        with self._logged():
            self._prefix.stop(vm_names or ())

    def shutdown(self, vm_names: Iterable[str] | None = None, reboot: bool = False) -> dict[str, str]:
        """Power machines off, or boot them again.

        Args:
            vm_names: names of the machines; without them all that run.
            reboot: boot them again, and wait until they answer ssh.

        Returns:
            What it took, by machine: `ACPI`, `guest agent`, `force` or, if a plugin runs it, `its provider`.

        Raises:
            VMNotFound: there is no machine of that name.
            VMNotRunning: one that is named does not run.
            VMNotReady: one did not come up again.
        """
        with self._logged():
            return self._prefix.shutdown(vm_names, reboot)

    def deploy(self) -> None:
        """Run the deploy scripts of all machines.

        Raises:
            VMError: a script fails.
        """
        with self._logged():
            self._prefix.deploy()

    def destroy(self) -> None:
        """Stop everything and remove it: the whole workdir with all that is in it; of a fork just the fork."""
        with self._logged():
            if self._workdir is None:
                self._prefix.destroy()
            else:
                self._workdir.destroy(self._workdir.prefixes() + self._workdir.remains())

    def get_vms(self) -> Mapping[str, VM]:
        """Machines by name, in the order of the init file."""
        return self._virt_env.get_vms()

    def get_nets(self) -> Mapping[str, Network]:
        """Nets by name, in the order of the init file."""
        return self._virt_env.get_nets()

    @overload
    def run_on_all(
        self,
        command: str | Sequence[str],
        vm_names: Iterable[str] | None = None,
        timeout: float | None = None,
        *,
        json: Literal[False] = False,
    ) -> dict[str, str]: ...
    @overload
    def run_on_all(
        self,
        command: str | Sequence[str],
        vm_names: Iterable[str] | None = None,
        timeout: float | None = None,
        *,
        json: Literal[True],
    ) -> dict[str, Any]: ...
    def run_on_all(
        self,
        command: str | Sequence[str],
        vm_names: Iterable[str] | None = None,
        timeout: float | None = None,
        *,
        json: bool = False,
    ) -> dict[str, Any]:
        """Run a command on machines, side by side; it must succeed on each.

        Args:
            command: a list of words, which is quoted, or a text for the guest's shell.
            vm_names: which machines; without them all.
            timeout: seconds that it may take; without it there is no limit.
            json: return the value that its output is as JSON, in place of the text.

        Returns:
            Its output, by the name of the machine.

        Raises:
            VMNotFound: there is no machine of that name.
            VMError: it fails on a machine, or does not end in time. It is run on the others all the same.
            VMNotRunning, VMNotReady, SSHError: a machine can't be reached.
            Errors: several of these.
        """
        from .virt.together import run_on_all

        return run_on_all(self._virt_env.select(vm_names or ()), command, timeout=timeout, json=json)

    def wait_until(self, predicate: Callable[[], T], timeout: float = 300.0, why: str = "") -> T:
        """Return when a function says that it is so: it is called again and again, less and less often.

        Args:
            predicate: a function without arguments. What it returns must be true; an AssertionError or LagoError that
                it raises means that it is not so yet. Any other error ends the wait.
            timeout: seconds after which it is not called again.
            why: what is waited for, for the error; without it the name of the function.

        Returns:
            What the function returned at last.

        Raises:
            LagoError: it was not so by then; has what the function said the last time.
        """
        from .host.until import wait_until

        return wait_until(predicate, timeout, why, self._virt_env.cancelled)

    def reachability(
        self,
        vm_names: Iterable[str] | None = None,
        port: int | None = None,
        net: str | None = None,
        timeout: float = 5.0,
        *,
        show_output: bool = True,
    ) -> Reachability:
        """Ask machines which of each other they reach, all side by side, and print that as a table.

        Args:
            vm_names: which machines; without them all.
            port: a TCP port that must take a connection; without it any answer will do.
            net: the net over which they are to be reached; without it all nets that two are on are tried.
            timeout: seconds that an answer may take, at least 1.
            show_output: print the table.

        Returns:
            For each machine by name what it reaches, by name: a `lago.virt.Reach`, as `lago.virt.VM.reaches`
            returns it. What is not known, as of a machine that is down, has its reason in `why`. `whole` tells whether
            each reaches all others that share a net with it.

        Raises:
            VMNotFound: there is no machine of that name.
            LagoError: there is no such net, or port.
        """
        from .virt.together import reachability

        found = reachability(self._virt_env.select(vm_names or ()), port=port, net=net, timeout=timeout)
        if show_output:
            print(printable(str(found)), flush=True)
        return found

    def get_paths(self) -> Paths:
        """Places of its files."""
        return self._prefix.paths

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Facts about the environment that last, such as `libvirt_url`."""
        return self._prefix.metadata

    def collect_artifacts(self, output_dir: Path, ignore_nopath: bool = True) -> dict[str, Any]:
        """Copy the artifacts of all machines, what their `artifact-commands` say, and all logs to a directory.

        Args:
            output_dir: the directory; what is there already is renamed to `<output_dir>.<date>_<time>`.
            ignore_nopath: leave out what is not there on a machine, and take commands that fail as they are.

        Returns:
            By machine the `files`, those and directories that are there now, the paths that are `missing`, and of the
            `artifact-commands` by name why they `failed`.

        Raises:
            LagoError: `output_dir` can't be made.
            ExtractPathError: files of a machine can't be had, or a command failed, and that is not to be ignored; those
                of the others are there.
            ExtractPathNoPathError: something is not there on a machine, and that is not to be ignored.
        """
        with self._logged():
            return self._prefix.collect_artifacts(os.fspath(output_dir), ignore_nopath)

    def export_vms(
        self,
        vms_names: Iterable[str] | None = None,
        standalone: bool = False,
        export_dir: Path = ".",
        compress: bool = False,
        init_file_name: str = DEFAULT_INIT_FILE,
        out_format: str = "yaml",
        collect_only: bool = False,
        with_threads: bool = True,
    ) -> dict[str, Any]:
        """Write machines that are down into a directory, to be made again elsewhere.

        Args:
            vms_names: which; without them all.
            standalone: write whole disks; otherwise what they add to their template, which is needed elsewhere too.
            export_dir: the directory; it is made if it is missing, but not those above it.
            compress: pack the images; they are used as they are, without unpacking.
            init_file_name: name of the init file that is written beside the images.
            out_format: its form, `yaml` or `json`.
            collect_only: write nothing, and only say which files the disks are now.
            with_threads: write all images at once; otherwise one after the other.

        Returns:
            The files by machine, and the path of the init file as `init-file`.

        Raises:
            VMNotFound: there is no machine of that name.
            LagoError: one runs, or something can't be written.
        """
        with self._logged():
            return self._prefix.export_vms(
                vms_names,
                standalone,
                os.fspath(export_dir),
                compress,
                init_file_name,
                out_format,
                collect_only,
                with_threads,
            )

    def create_snapshots(
        self, name: str, *, disk_only: bool = False, description: str = "", replace: bool = False
    ) -> Snapshot:
        """Take a snapshot: memory and disks of all machines at one instant. If that fails, all go on as before.

        Args:
            name: what to call it: letters, digits, and `.`, `_`, `+`, `-` inside; 100 characters at most.
            disk_only: leave memory out. Machines are not paused; their guest agent, or `fsfreeze` or `sync` by ssh,
                writes out what they have in memory. A revert leaves them down.
            description: what `lago snapshot list` shows of it.
            replace: take the place of a snapshot of the same name.

        Raises:
            LagoError: there is one of that name, or the name is none; no snapshot is left then.
        """
        with self._logged():
            return self._prefix.create_snapshots(name, disk_only=disk_only, description=description, replace=replace)

    def revert_snapshots(self, name: str) -> None:
        """Go back to a snapshot, without a boot, and wait until the machines answer ssh.

        Args:
            name: the name that it was taken by; all other snapshots stay valid.

        Raises:
            LagoError: there is none of that name.
        """
        with self._logged():
            self._prefix.revert_snapshots(name)

    def fork(
        self, path: Path | None = None, snapshot: str | None = None, *, keep: bool = False, paused: bool = False
    ) -> Env:
        """Make a copy that runs beside this environment, with the same names and addresses; neither notices the other.

        Args:
            path: where to make it; without it beside this one, so that it goes at the latest with the workdir.
            snapshot: the instant that it goes on from; without it now.
            keep: whether it stays when a `with` block ends.
            paused: whether its machines stand paused, which costs nothing, until one is used, or `start` is called.

        Raises:
            PrefixError: there is something at `path`.
            LagoError: there is no such snapshot, or libvirt is shared with others.
        """
        beside = os.path.join(os.path.dirname(self._prefix.paths.prefix()), f"fork-{os.urandom(4).hex()}")
        with self._logged():
            made = self._prefix.fork(os.fspath(path or beside), snapshot, paused=paused)
        return Env(made, None, self._logfile, self._loglevel, keep=keep)

    def _named_faults(self) -> Mapping[str, Sequence[str]]:
        return self._prefix._named_faults()

    def _break(self, wanted: Sequence[Fault]) -> list[Fault]:
        with self._logged():
            return self._prefix._break(wanted)

    def heal(self, *which: str) -> list[Fault]:
        """Heal what is broken on purpose.

        Args:
            which: ids of faults, names of machines that they name, or kinds; without them all.

        Returns:
            What was healed.

        Raises:
            LagoError: there is no such fault, and no such machine; or it can't be healed.
        """
        with self._logged():
            return self._prefix.heal(*which)

    def faults(self) -> list[Fault]:
        """What is broken on purpose now, oldest first.

        Returns:
            A `Fault` each: its `id`, `kind`, `targets`, `settings`, `since` when (seconds since 1970), and by what
            `means`.
        """
        return self._prefix.faults()

    def fault_timeline(self) -> list[dict[str, Any]]:
        """What was broken on purpose and when, oldest first; what is broken now, and the last hundred that are healed.

        Returns:
            Of each its `id`, the `fault` in words, `since` when and `until` when (seconds since 1970); it is None for
            what still holds.
        """
        return self._prefix.fault_timeline()

    def note(self, text: str, vm: str | None = None) -> None:
        """Write a text into the journal of the environment, so that it stands there among what happens.

        Args:
            text: what.
            vm: the machine that it is about; without it none.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        self._prefix.note(text, vm)

    def capture(self, nets: Iterable[str] | str = (), *, filter: str = "", snaplen: int = MOST) -> Capturing:
        """Begin to record the packets of nets, all or none; it ends with a `with` block, or with `stop`.

            with env.capture(["lan"], filter="tcp port 80") as captured:
                ...
            print(captured.paths)

        Args:
            nets: names of nets; without them all that are up.
            filter: expression of libpcap that packets must meet; without it all do.
            snaplen: bytes of a packet that are kept, from its begin.

        Raises:
            LagoError: there is no such net, it is captured already, or not up; the filter is none; libvirt is shared.
            HostError: no program that captures is installed.
        """
        from .environment.captures.capturing import Capturing

        names = [nets] if isinstance(nets, str) else list(nets)
        with self._logged():
            begun = self._prefix.start_captures(names, filter=filter, snaplen=snaplen)
        return Capturing(begun, self._prefix.stop_captures)

    def captures(self) -> list[Capture]:
        """Captures that run, and those whose files are there still, oldest first.

        Returns:
            A `Capture` each: its `net`, its `files`, oldest first, `since` when (seconds since 1970), whether it is
            `running`, and when it has ended `until` when, how many `packets` there were, and how many were `dropped`.
        """
        return self._prefix.captures()

    def ansible_inventory(self, keys: Iterable[str] | None = None) -> str:
        """Inventory for Ansible, as text in its INI format.

        Args:
            keys: what machines are grouped by, such as `vm-type`, `groups` or `metadata/role`; without them by the keys
                that `lago ansible_hosts` takes.

        Raises:
            LagoError: a key leads to more than a value, which can't be the name of a group.
        """
        return self._prefix.ansible_inventory(keys).ini()

    @contextlib.contextmanager
    def ansible_inventory_temp_file(self, keys: Iterable[str] | None = None) -> Iterator[IO[str]]:
        """Context manager: a file with the inventory, to be read from its start or by its `name`.

        Args:
            keys: what machines are grouped by; without them by the keys that `lago ansible_hosts` takes.
        """
        with tempfile.NamedTemporaryFile("w+", prefix="lago-inventory-", encoding="utf-8") as file:
            file.write(self.ansible_inventory(keys) + "\n")
            file.flush()
            file.seek(0)
            yield file
