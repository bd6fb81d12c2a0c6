"""A prefix: one environment on disk, and what can be done with it.

The stages stand in `Prefix.create`: read, parse, fetch, resolve, materialise, save. A prefix comes into being by a
rename and ends by one, so that at any instant it is there as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from .. import config, log
from ..constants import DEFAULT_INIT_FILE, DEPLOY_SCRIPTS, PREFIX_PATH_VARIABLE
from ..errors import LagoError, PrefixError, VMNotFound
from ..host import trust
from ..host.files import remove_tree, synced_together, write_atomically
from ..host.locks import lock_file
from ..host.parallel import in_parallel, no_errand
from ..host.suggest import near
from ..hypervisor import Hypervisor, libvirt_url, open_hypervisor
from ..journal.calls import doing, recorded
from ..journal.writing import Journal
from ..log import LOG, no_phase, task
from ..paths import Paths, check_place
from ..plugins import machines
from ..topology import state
from ..topology.model import Domain, Topology
from ..topology.names import libvirt_domain_name
from . import facts, registry
from .captures import MOST
from .claims import Claims
from .faults.breaking import Breaking
from .snapshots.index import Index, Snapshot, with_tops
from .staging import already_there, check_free, keep_private, make_unfinished, staged

if TYPE_CHECKING:
    from ..guest.ansible import Inventory
    from ..guest.ssh import Guest
    from ..templates.lockfile import LockFile
    from ..templates.repository import TemplateRepository
    from ..templates.store import TemplateStore
    from ..topology.address import Address
    from ..topology.spec import EnvSpec
    from ..virt import VirtEnv
    from ..virt.reach import Reachability
    from ..virt.readiness import Phase
    from .captures.model import Capture
    from .create import Wanted
    from .faults.model import Fault
    from .status import Status

LOST: Final = "running, its sockets are gone"
"""State of a machine that can't be reached any more, as `status` says it."""


class Prefix(Breaking):
    """One environment on disk; nothing of it is read before it is needed.

    What changes it or its machines holds its lock meanwhile and writes to its log. It raises LockTimeout if somebody
    else still holds the lock after the seconds of config `lock_timeout`, and PrefixError if the prefix is gone, or
    others than us and whom we trust could have written what we obey.

    Args:
        prefix: its directory, which `create` has made, or `initialize` is to make.
    """

    SCRIPTS: ClassVar[Sequence[str]] = (DEPLOY_SCRIPTS,)
    """Keys of the metadata of machines that list the scripts of `deploy`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = os.path.abspath(prefix)
        #: Where its files are.
        self.paths = Paths(self._prefix)

    @classmethod
    def create(
        cls,
        path: str,
        init_file: str | Mapping[str, Any],
        template_repo: TemplateRepository | None = None,
        template_store: TemplateStore | None = None,
        *,
        frozen: bool = False,
        bootstrap: bool = True,
        build: bool = True,
    ) -> Self:
        """Make a prefix from an init file; images that are not in the store are fetched or built.

        Args:
            path: directory to make it in, which is made, as are those above it.
            init_file: its path, or what it would say; relative paths then begin at the working directory.
            template_repo: where templates come from; without it that of the configuration.
            template_store: where their images are kept; without it that of the configuration.
            frozen: use the images of the lock file `<init_file>.lock` only, which is else brought up to date.
            bootstrap: tell machines their names and keys, as the init file says; otherwise `bootstrap` is none for all.
            build: do what `build` of disks says; otherwise their images stay as they are.

        Raises:
            PrefixError: there is something at `path`, or its name has what libvirt or ssh can't take.
            InitFileError: all mistakes of the init file.
            LagoError: an image can't be had, a disk not be made.
        """
        from ..templates.lockfile import LockFile
        from .create import read_spec

        began = time.time()
        path = os.path.abspath(path)
        check_free(path)
        lock = LockFile(init_file, frozen=frozen) if isinstance(init_file, str) else None
        wanted = read_spec(init_file, path, template_repo, template_store, lock)
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        with staged(path) as staging, synced_together(staging):
            prefix = cls(staging)
            prefix.initialize()
            with log.to_file(prefix.paths.logs("lago.log")), task("Initialize and populate prefix"):
                prefix._populate(wanted, template_store, lock, bootstrap=bootstrap, build=build)
        if lock is not None:
            lock.save()
        made = cls(path)
        registry.record(made.paths)
        made._claims.hold_leases(made.topology)
        with doing(made.journal, "create", lambda: repr(path), began=began):
            made._tell_topology()
        return made

    def initialize(self) -> None:
        """Make the directory with the uuid, the ssh keys and the marker; `virt_conf` fills it.

        If something fails nothing is left.

        Raises:
            PrefixError: there is something already.
        """
        from ..host.programs import run

        check_place(self._prefix)
        new = not os.path.isdir(self._prefix)
        if not new and set(os.listdir(self._prefix)) - {os.path.basename(self.paths.lock())}:
            raise already_there(self._prefix)
        try:
            for directory in (self.paths.images(), self.paths.logs(), self.paths.virt()):
                # QEMU, which may be another user's, has nothing to do in the last one.
                os.makedirs(directory, 0o700 if directory == self.paths.virt() else 0o755)
            if new:
                keep_private(self._prefix)
            write_atomically(self.paths.uuid(), os.urandom(16).hex())
            self._save_metadata({"libvirt_url": config.get("libvirt_url")})
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lago", "-f", self.paths.ssh_id_rsa()])
            write_atomically(self.paths.prefix_lagofile(), "")
        except BaseException:
            if new:
                remove_tree(self._prefix, ignore_errors=True)
            raise

    def virt_conf(
        self,
        conf: Mapping[str, Any],
        template_repo: TemplateRepository | None = None,
        template_store: TemplateStore | None = None,
    ) -> None:
        """Fill an initialised prefix: decide everything that is left open, lease subnets, make the disks.

        Args:
            conf: what an init file would say; relative paths begin at the working directory.
            template_repo: where templates come from; without it that of the configuration.
            template_store: where their images are kept; without it that of the configuration.

        Raises:
            InitFileError: all mistakes of `conf`.
            LagoError: an image can't be had, a disk not be made.
        """
        from .create import read_spec

        wanted = read_spec(conf, self._prefix, template_repo, template_store)
        with log.to_file(self.paths.logs("lago.log")), task("Populate prefix"):
            self._populate(wanted, template_store)

    def _populate(
        self,
        wanted: Wanted,
        store: TemplateStore | None = None,
        lock: LockFile | None = None,
        *,
        bootstrap: bool = True,
        build: bool = True,
    ) -> None:
        from .. import templates
        from ..templates.choose import Chooser
        from .create import populate

        home = wanted.variables[PREFIX_PATH_VARIABLE]
        store = store or templates.default_store()
        check_place(store.path, "choose another store with --template-store")
        self._save_metadata({**self.metadata, "template_store": store.path})
        chosen = Chooser(
            wanted.repository or templates.default_repository(),
            store,
            lock,
            register=lambda identity: store.users.register(self.paths.uuid(), [identity], home),
        )
        subnets = self._lease(wanted.spec) if self.hypervisor.shared else None
        populate(
            self.paths,
            self.uuid,
            wanted.spec,
            wanted.variables,
            chosen,
            subnets=subnets,
            bootstrap=bootstrap,
            build=build,
        )
        if bootstrap and self._provided():
            with contextlib.closing(self.virt_env_of(state.load(self.paths))) as env:
                vms = [vm for vm in env.get_vms().values() if vm.provider is not None]
                in_parallel(lambda vm: vm.bootstrap(), vms, what="bootstrap VMs")
        self._claims.hold_images(self.topology, home)

    def _lease(self, wanted: EnvSpec) -> dict[str, Address]:
        nothing = self.virt_env_of(Topology(domains={}, nets={}))
        try:
            return self._claims.lease(wanted, nothing.busy_subnets())
        finally:
            nothing.close()

    @property
    def _claims(self) -> Claims:
        return Claims(self.paths)

    def release(self) -> None:
        """Release the subnets and images that it holds, so that others can use them."""
        self._claims.release()

    def check_trusted(self) -> None:
        """Raise PrefixError if somebody whom config `trusted_users` does not name could have written what we obey."""
        if os.path.isdir(self._prefix):
            trust.check_prefix(self.paths)

    @cached_property
    def uuid(self) -> str:
        """The 32 hex digits that tell this prefix from all others."""
        try:
            return trust.read_uuid(self.paths.uuid())
        except FileNotFoundError:
            raise PrefixError(f"{self._prefix} is not a prefix: it has no uuid", hint="lago init") from None

    @property
    def libvirt_uuid(self) -> str:
        """Uuid that the names of machines and nets at libvirt are made of; a fork has that of its origin."""
        return trust.checked_uuid(self.metadata.get("libvirt_uuid", self.uuid), self.paths.metadata())

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Facts about the prefix that last."""
        return facts.load(self.paths)

    def save(self) -> None:
        """Write the environment to disk, with what was changed in `virt_env`."""
        self._save_metadata(self.metadata)
        self.virt_env.save()
        self._tell_topology()

    def remember(self, **more: Any) -> None:
        """Add to `metadata`, which lasts. Call it inside an `operation`.

        Args:
            more: facts by name, of types that JSON has; they take the place of those of the same name.
        """
        self._save_metadata({**self.metadata, **more})

    def _save_metadata(self, data: Mapping[str, Any]) -> None:
        facts.save(self.paths, data)
        self.__dict__.pop("metadata", None)

    @cached_property
    def hypervisor(self) -> Hypervisor:
        """Hypervisor of this prefix, whether it is up or not."""
        return open_hypervisor(libvirt_url(self.metadata, self.paths.metadata()), self.uuid, self.paths)

    @cached_property
    def journal(self) -> Journal:
        """Journal of the environment, to be written."""
        from ..bootstrap import logins

        return Journal(self._prefix, lambda: logins.secrets(self.topology.domains.values()))

    def note(self, text: str, vm: str | None = None) -> None:
        """Write a text into the journal of the environment.

        Args:
            text: what.
            vm: the machine that it is about, by its name in the init file; without it none.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        self.journal.event("note", text=text, vm=None if vm is None else self.domain(vm).name)

    def _tell_topology(self) -> None:
        from .told import topology

        self.journal.event("topology", **topology(self.topology))

    @cached_property
    def topology(self) -> Topology:
        """Description of the environment, with everything decided."""
        return with_tops(state.load(self.paths), Index.load(self.paths))

    @cached_property
    def virt_env(self) -> VirtEnv:
        """Machines and nets of the environment."""
        from ..virt import VirtEnv

        return self._aware(VirtEnv.from_prefix(self))

    def _aware(self, env: VirtEnv) -> VirtEnv:
        """Machines and nets that know what is wrong with them on purpose."""
        from .faults import purpose

        env.on_purpose = partial(purpose.of, self.paths)
        return env

    def virt_env_of(self, topology: Topology) -> VirtEnv:
        """Machines and nets of this prefix as another topology describes them.

        Args:
            topology: what to describe them by, in place of what is on disk.

        Raises:
            LagoError: a `vm-type` or a `vm-provider` is not there.
        """
        from ..virt import VirtEnv

        return self._aware(VirtEnv(self, topology.domains, topology.nets))

    def domain(self, name: str) -> Domain:
        """Description of a machine, with everything decided.

        Args:
            name: the machine, by its name in the init file.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        if name not in self.topology.domains:
            raise VMNotFound(f"there is no machine {name}", hint=near(name, self.topology.domains))
        return self.topology.domains[name]

    def guest(self, name: str) -> Guest:
        """Way to log in to a machine, whether it runs or not.

        Args:
            name: the machine, by its name in the init file.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        from ..bootstrap import logins

        domain = self.domain(name)
        if name in self._provided():
            return self.virt_env.guest(name)
        return logins.guest_of(domain, list(self.topology.domains).index(name), self.paths, self.hypervisor)

    def _provided(self) -> list[str]:
        """Names of the machines that plugins run, and not libvirt."""
        return [name for name, domain in self.topology.domains.items() if not machines.is_own(domain.vm_provider)]

    @contextlib.contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Context manager: the prefix's lock is held, and what is logged goes to its log too; something changes it.

        What was left by an operation on snapshots that was killed is put right first.

        Args:
            name: what is done, for people and the log.

        Raises:
            LockTimeout: somebody else still holds the lock after the seconds of config `lock_timeout`.
            PrefixError: it is gone, or others could have written what we obey.
        """
        self.check_trusted()
        with lock_file(self.paths.lock(), what=f"the environment {self._prefix}", timeout=config.get("lock_timeout")):
            if not os.path.exists(self.paths.prefix_lagofile()):
                raise PrefixError(f"{self._prefix} is gone", hint="somebody else destroyed it meanwhile")
            registry.record(self.paths)
            with log.to_file(self.paths.logs("lago.log")), task(name):
                self._recover()
                yield

    def _recover(self) -> None:
        """Put right what an operation on snapshots or faults left when it was killed."""
        if Index.load(self.paths).busy:
            from .snapshots.recover import recover

            recover(self.virt_env)
            self.virt_env.close()
        if os.path.exists(self.paths.faults()):
            self._recover_faults()

    def _recover_faults(self) -> None:
        from .faults import acts

        if not self.runs():
            acts.forget(self.paths)
        elif acts.busy(self.paths):
            acts.recover(self.virt_env)
            self.virt_env.close()

    def runs(self) -> bool:
        """Whether anything may run of it."""
        return self.hypervisor.running() and (
            not self.hypervisor.shared or any(state != "down" for state in self.virt_env.states().values())
        )

    @contextlib.contextmanager
    def _machines(self, name: str) -> Iterator[VirtEnv]:
        """Context manager: an `operation` on machines and nets is under way; the connection to libvirt ends with it."""
        with self.operation(name):
            from ..virt.connection import ENDED, refusals

            try:
                # It may end at any call.
                with refusals("libvirt refuses", ENDED):
                    yield self.virt_env
            finally:
                self.virt_env.close()

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[VirtEnv]:
        """Context manager: as `_machines`, for an operation that may change what disks are made of."""
        with self._machines(name) as env:
            try:
                yield env
            finally:
                self.__dict__.pop("topology", None)
                for vm in env.get_vms().values():
                    vm.spec = self.topology.domains[vm.name()]

    def snapshots(self) -> Mapping[str, Snapshot]:
        """Snapshots by name, oldest first."""
        return Index.load(self.paths).snapshots

    def check_new_snapshot(self, name: str, *, replace: bool = False) -> None:
        """Raise LagoError if a new snapshot can't be called so, or if there is one of that name.

        Nothing is waited for; taking a snapshot begins with it.

        Args:
            name: what the snapshot is to be called.
            replace: allow one of that name, whose place it may take.
        """
        Index.load(self.paths).check_new(name, replace=replace)

    @recorded
    def create_snapshots(
        self,
        name: str,
        *,
        vms: Iterable[str] = (),
        disk_only: bool = False,
        description: str = "",
        replace: bool = False,
        compress: bool = False,
    ) -> Snapshot:
        """Take a snapshot: memory and disks of machines at one instant. If that fails, all go on as before.

        Args:
            name: what to call it: letters, digits, and `.`, `_`, `+`, `-` inside; 100 characters at most.
            vms: names of the machines; without them all.
            disk_only: leave memory out. Machines are not paused; their guest agent, or `fsfreeze` or `sync` by ssh,
                writes out what they have in memory. A revert leaves them down.
            description: what `lago snapshot list` shows of it.
            replace: take the place of a snapshot of the same name, if there is one.
            compress: pack memory, when the machines run again; that takes less of the disk, and a revert longer.

        Returns:
            The snapshot: when it was taken, of which machines, and for how many seconds they stood still.

        Raises:
            LagoError: the name is taken or can't be one.
            VMNotFound: there is no machine of that name.
            VMError: the state of a machine can't be saved.
            HypervisorError: libvirt refuses.
        """
        from .snapshots.take import take

        self.check_new_snapshot(name, replace=replace)
        with self._changing("Create snapshot") as env:
            machines = env.select(vms)
            with self.journal.span("snapshot", name=name, vms=[vm.name() for vm in machines]):
                return take(
                    env,
                    name,
                    machines,
                    disk_only=disk_only,
                    description=description,
                    replace=replace,
                    compress=compress,
                    faults=[one.plain() for one in self.faults()],
                )

    @recorded
    def revert_snapshots(
        self, name: str, *, vms: Iterable[str] = (), on_phase: Phase = no_phase, patience: float | None = None
    ) -> None:
        """Go back to a snapshot, without a boot, and return when the machines answer ssh. What they did since is lost.

        Args:
            name: the name that it was taken by; all other snapshots stay valid.
            vms: names of the machines that go back; without them all of the snapshot.
            on_phase: called with a machine's name and what it does now, such as `booting`; without it nobody is told.
            patience: seconds that each machine has to answer, five times as long when emulated; without it as for a
                boot.

        Raises:
            LagoError: there is no such snapshot, or files of it are missing.
            VMNotFound: there is no machine of that name.
            HypervisorError: libvirt refuses; the disks are those of the snapshot then, and its machines down.
            VMNotReady: a machine does not answer.
        """
        self._revert(name, vms, on_phase, patience=patience)

    def _revert(
        self,
        name: str,
        vms: Iterable[str],
        on_phase: Phase,
        beside: Callable[[], None] = no_errand,
        *,
        paused: bool = False,
        patience: float | None = None,
    ) -> None:
        from .snapshots.revert import revert

        with self._changing("Revert snapshot") as env:
            names = [vm.name() for vm in env.select(vms)]
            begun, back = self._faults_of_then(env, name, names)
            with self.journal.span("revert", name=name, vms=names):
                revert(env, name, names, on_phase, beside, begun=begun, back=back, paused=paused, patience=patience)

    def _faults_of_then(
        self, env: VirtEnv, snapshot: str, names: Sequence[str]
    ) -> tuple[Callable[[], None], Callable[[], None]]:
        """What is to be done when machines begin to go back, and when they are back: faults go with their machines."""
        then = Index.load(self.paths).get(snapshot).faults
        if not then and not os.path.exists(self.paths.faults()):
            return no_errand, no_errand
        from .faults import acts
        from .faults.model import Fault

        going = set(names)
        everybody = going >= set(env.get_vms())
        kept = [one for one in self.faults() if not everybody and not one.machines <= going]
        back = [one for one in map(Fault.of_plain, then) if everybody or one.machines <= going]
        return partial(acts.become, env, [*kept, *back]), partial(acts.settle, env)

    def faults(self) -> list[Fault]:
        """What is broken on purpose now, oldest first; nothing is, where nothing runs.

        Returns:
            A `Fault` each: its `id`, `kind`, `targets`, `settings`, `since` when (seconds since 1970), and by what
            `means`.
        """
        if not os.path.exists(self.paths.faults()) or not self.hypervisor.running():
            return []
        from .faults import acts

        return acts.current(self.paths)

    def fault_timeline(self) -> list[dict[str, Any]]:
        """What was broken on purpose and when, oldest first; what is broken now, and the last hundred that are healed.

        Returns:
            Of each its `id`, the `fault` in words, `since` when and `until` when (seconds since 1970); it is None for
            what still holds.
        """
        from .faults import acts

        return acts.timeline(self.paths)

    def _named_faults(self) -> Mapping[str, Sequence[str]]:
        return self.topology.faults

    def _break(self, wanted: Sequence[Fault]) -> list[Fault]:
        from .faults import acts, words

        with (
            doing(self.journal, "fault", lambda: "; ".join(map(words.spell, wanted))),
            self._machines("Inflict faults") as env,
        ):
            self._go_on(env)
            return acts.inflict(env, wanted)

    @recorded
    def heal(self, *which: str) -> list[Fault]:
        """Heal what is broken on purpose.

        Args:
            which: ids of faults, names of machines that they name, or kinds; without them all.

        Returns:
            What was healed.

        Raises:
            LagoError: there is no such fault, and no such machine; or it can't be healed.
        """
        from .faults import acts

        with self._machines("Heal faults") as env:
            if not os.path.exists(self.paths.faults()):
                for name in which:
                    acts.check_name(env, name)
                return []
            self._go_on(env)
            return acts.heal(env, which)

    def start_captures(self, nets: Iterable[str] = (), *, filter: str = "", snaplen: int = MOST) -> list[Capture]:
        """Begin to capture the packets of nets, all or none, and return when they are recorded.

        It goes on until `stop_captures`, or until the net is down, whatever becomes of this process; also when machines
        go back to a snapshot. Forks are not captured. The lock of the prefix is not needed, so that machines can be
        watched while they start.

        Args:
            nets: names of nets; without them all that are up.
            filter: expression of libpcap that packets must meet, such as `tcp port 80`; without it all do.
            snaplen: bytes of a packet that are kept, from its begin.

        Returns:
            A `Capture` each: its `net`, its `files` and `since` when (seconds since 1970).

        Raises:
            LagoError: there is no such net, it is captured already, or not up; the filter is none; libvirt is shared.
            HostError: no program that captures is installed.
        """
        return self._start_captures(nets, filter, snaplen, "")

    def _start_captures(self, nets: Iterable[str], filter_: str, snaplen: int, owner: str) -> list[Capture]:
        """As `start_captures`, for an owner as `Capture` has it, who has captures of his own."""
        from .captures import acts

        self.check_trusted()
        names = list(nets)
        acts.check_names(self.topology, names)
        if not self.hypervisor.running():
            self.hypervisor.refuse_lost()
            raise LagoError("the environment is not running, so there are no packets", hint="lago start")
        env = self.virt_env
        try:
            return acts.start(env, self.topology, names, acts.Wanted(filter_, snaplen, owner))
        finally:
            env.close()

    def stop_captures(self, nets: Iterable[str] = ()) -> list[Capture]:
        """End captures, and return when their files are complete.

        Args:
            nets: names of nets; without them all that are captured.

        Returns:
            A `Capture` each, with its `files`; of a net that is named and whose capture ended by itself its last one.

        Raises:
            LagoError: there is no such net, or it was never captured.
        """
        from .captures import acts

        self.check_trusted()
        names = list(nets)
        acts.check_names(self.topology, names)
        return acts.stop(self.paths, names, "")

    def captures(self) -> list[Capture]:
        """Captures that run, and those whose files are there still, oldest first."""
        from .captures import model

        return model.load(self.paths)

    def resume(self, on_phase: Phase = no_phase) -> None:
        """Let machines go on that stand paused since they were forked, and return when they answer ssh.

        Whatever needs a running machine does so first; where nothing stands paused it does nothing.

        Args:
            on_phase: called with a machine's name and what it does now, such as `logging in`; without it nobody is
                told.

        Raises:
            VMNotReady: a machine does not answer.
        """
        if self._paused():
            with doing(self.journal, "resume"), self._machines("Resume") as env:
                self._go_on(env, on_phase)

    def _paused(self) -> bool:
        return os.path.exists(self.paths.paused())

    def _go_on(self, env: VirtEnv, on_phase: Phase = no_phase) -> None:
        """Let machines go on that stand paused; the prefix is locked, so somebody else may have done so meanwhile."""
        from .snapshots.wake import wake

        if self._paused():
            if env.live:
                wake(env, on_phase)
            os.unlink(self.paths.paused())

    @recorded
    def delete_snapshot(self, name: str) -> None:
        """Remove a snapshot with the files that nothing else needs; all others stay valid.

        Args:
            name: the name that it was taken by.

        Raises:
            LagoError: there is no such snapshot.
        """
        from .snapshots.remove import remove

        with self._changing("Delete snapshot") as env, self.journal.span("delete-snapshot", name=name):
            remove(env, name)

    @recorded
    def fork(
        self,
        path: str,
        snapshot: str | None = None,
        on_phase: Phase = no_phase,
        *,
        start: bool = True,
        paused: bool = False,
    ) -> Self:
        """Make a copy that runs beside this prefix, with the same names and addresses; neither notices the other.

        Args:
            path: directory to make it in.
            snapshot: the instant that its machines go on from; without it now.
            on_phase: called with a machine's name and what it does now, such as `booting`; without it nobody is told.
            start: let them go on at once; otherwise they do when somebody reverts to the snapshot.
            paused: bring them back, but let them stand paused, and wait for none; they go on when one is used first.

        Raises:
            PrefixError: there is something at `path`.
            LagoError: there is no such snapshot; or libvirt is shared with others, where names would clash; or plugins
                run machines of it.
            VMNotReady: a machine of the copy does not answer.
        """
        if self.hypervisor.shared:
            raise LagoError(
                "an environment on a shared libvirt can't be forked: its names and addresses are taken there",
                hint="make it with libvirt_url = private, the default",
            )
        if provided := self._provided():
            raise LagoError(
                f"an environment whose machines are elsewhere can't be forked: {', '.join(provided)}",
                hint="fork one whose machines have no vm-provider",
            )
        path = os.path.abspath(path)
        check_free(path)
        with (
            self.journal.span("fork", name=snapshot, to=path) as span,
            self._changing("Fork"),
            staged(path) as staging,
        ):
            prefix = type(self)(staging)
            name = self._fork(prefix, snapshot)
            if start and paused:
                write_atomically(prefix.paths.paused(), "")
            prefix._claims.hold_images(prefix.topology, path)
            span.fields(to_prefix=prefix.uuid)
        made = type(self)(path)
        made.journal.event("forked", from_prefix=self.uuid, from_path=self._prefix, snapshot=snapshot)
        made._tell_topology()
        # The disk writes while the machines of the copy wake up.
        settle = no_errand if snapshot else partial(made._settle, name)
        if start:
            made._revert(name, (), on_phase, settle, paused=paused)
        else:
            settle()
        return made

    def _settle(self, name: str) -> None:
        from .snapshots.take import settle

        settle(self.paths, Index.load(self.paths).get(name))

    def _fork(self, made: Prefix, snapshot: str | None) -> str:
        from .snapshots.fork import fork
        from .snapshots.remove import remove
        from .snapshots.take import take

        env = self.virt_env
        name = snapshot or f"origin-{os.urandom(4).hex()}"
        if snapshot is None:
            faults = [one.plain() for one in self.faults()]
            take(env, name, env.select(()), settled=False, faults=faults)
        try:
            fork(self.paths, name, made.paths, self.topology.domains.values())
        finally:
            if snapshot is None:
                remove(env, name)
        write_atomically(made.paths.uuid(), os.urandom(16).hex())
        made._save_metadata({**self.metadata, "libvirt_uuid": self.libvirt_uuid})
        write_atomically(made.paths.prefix_lagofile(), "")
        return name

    @recorded
    def start(self, names: Iterable[str] = (), on_phase: Phase = no_phase) -> None:
        """Start machines with the nets that they need, and wait until they answer ssh.

        Args:
            names: names of the machines; without them all.
            on_phase: called with a machine's name and what it does now, such as `booting`; without it nobody is told.

        Raises:
            VMNotFound: there is no machine of that name.
            HostError: this host can't run the hypervisor; says what lacks.
            HypervisorError: libvirt refuses; what this call started is stopped again.
            VMNotReady: a machine did not come up in time; it is left running, for a look at it.
        """
        # It may have been moved.
        check_place(self._prefix)
        with self._machines("Start Prefix") as env:
            self._tell_topology()
            self._claims.renew(self.topology)
            self._go_on(env, on_phase)
            names = list(names)
            self._with_power(names or env.get_vms())
            env.start(names, on_phase, self._begun(env))
            self._once_they_answer(env)

    def _begun(self, env: VirtEnv) -> Callable[[], None]:
        """What is to be done when machines have been started: what is broken is broken for them as well."""
        if not self.faults():
            return no_errand
        from .faults import acts

        return partial(acts.reapply, env)

    def _with_power(self, names: Iterable[str]) -> None:
        """Record that machines have power again, whose power was cut off on purpose."""
        if self.faults():
            from .faults import acts

            acts.started(self.paths, names)

    def _once_they_answer(self, env: VirtEnv) -> None:
        """Make true again what is broken inside of guests, now that they have booted."""
        if self.faults():
            from .faults import acts

            acts.reapply(env, inside=True)

    def _forget_faults(self, names: Iterable[str]) -> None:
        """Record that what was broken of machines is not any more, as they were stopped; all if nothing runs."""
        if os.path.exists(self.paths.faults()):
            from .faults import acts

            acts.stopped(self.paths, names)
            if not self.runs():
                acts.forget(self.paths)

    @recorded
    def deploy(self, on_phase: Phase = no_phase) -> None:
        """Run the deploy scripts of all machines, side by side; those of one machine in order.

        Args:
            on_phase: called with a machine's name and what it does now, the script; without it nobody is told.

        Raises:
            VMNotRunning, VMNotReady: a machine with scripts is down or does not answer.
            VMError: a script failed; its other scripts are not run.
        """
        from . import deploy

        with self._machines("Deploy environment") as env:
            self._go_on(env)
            deploy.run(env, on_phase, self.SCRIPTS)

    @recorded
    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines as by pulling the plug, and the nets that nobody uses any more.

        Args:
            names: names of the machines; without them all.

        Raises:
            VMNotFound: there is no machine of that name.
        """
        with self._machines("Stop prefix") as env:
            names = list(names)
            if not names:
                self._end_captures()
            env.stop(names)
            self._forget_faults(names or env.get_vms())

    @recorded
    def collect_artifacts(self, output_dir: str, ignore_nopath: bool = True) -> dict[str, Any]:
        """Copy the artifacts and console logs of all machines, and the logs of QEMU and Lago, to a directory.

        What their `artifact-commands` say is there too, of machines that answer.

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
        from .collect import collect

        with self._machines("Collect artifacts") as env:
            self._go_on(env)
            return collect(env, output_dir, ignore_nopath=ignore_nopath)

    @recorded
    def export_vms(
        self,
        vms_names: Iterable[str] | None = None,
        standalone: bool = False,
        export_dir: str = ".",
        compress: bool = False,
        init_file_name: str = DEFAULT_INIT_FILE,
        out_format: str = "yaml",
        collect_only: bool = False,
        with_threads: bool = True,
    ) -> dict[str, Any]:
        """Write machines that are down into a directory, to be made again elsewhere.

        Args:
            vms_names: names of the machines; without them all. Those that say `skip-export` are left out.
            standalone: write each disk as a whole; otherwise what it adds to its template, which is needed elsewhere
                too.
            export_dir: the directory; it is made if it is missing, but not those above it.
            compress: pack the images; they are used as they are, without unpacking.
            init_file_name: name of the init file that is written beside the images.
            out_format: its form, `yaml` or `json`.
            collect_only: write nothing, and only say which files the disks are now.
            with_threads: write all images at once; otherwise one after the other.

        Returns:
            The files by machine, and the path of the init file as `init-file`, which is not there for `collect_only`.

        Raises:
            VMNotFound: there is no machine of that name.
            VMError: a machine is not down.
            LagoError: all say `skip-export`, one of the files is there already, or something can't be written.
        """
        from . import export

        wanted = export.select(vm.spec for vm in self.virt_env.select(vms_names or ()))
        if collect_only:
            return export.sources(wanted, self.paths.prefix())
        with self._machines("Export") as env:
            return export.export(
                env,
                wanted,
                os.path.abspath(export_dir),
                standalone=standalone,
                compress=compress,
                init_file_name=init_file_name,
                out_format=out_format,
                threads=with_threads,
            )

    def ansible_inventory(self, keys: Iterable[str] | None = None) -> Inventory:
        """Inventory of the machines for Ansible, of those that have an address to be managed at.

        Args:
            keys: what they are grouped by, paths into their descriptions such as `vm-type`, `groups` or `disks/0/name`;
                each value there makes a group `<key>=<value>`. Without them `vm-type`, `groups` and `vm-provider`.

        Raises:
            LagoError: a key leads to more than a value, which can't be the name of a group.
        """
        from ..guest import ansible

        wanted = ansible.KEYS if keys is None else keys
        self.resume()
        return ansible.inventory(self.topology.domains, self.guest, self.paths, self.hypervisor, wanted)

    @recorded
    def shutdown(
        self, vm_names: Iterable[str] | None = None, reboot: bool = False, on_phase: Phase = no_phase
    ) -> dict[str, str]:
        """Power machines off, or boot them again, by ACPI, guest agent or force, the first that works.

        Args:
            vm_names: names of the machines; without them all that run.
            reboot: boot them again, and wait until they answer ssh.
            on_phase: called with a machine's name and what it does now, such as `shutting down`; without it nobody is
                told.

        Returns:
            What it took, by machine: `ACPI`, `guest agent`, `force` or, if a plugin runs it, `its provider`.

        Raises:
            VMNotFound: there is no machine of that name.
            VMNotRunning: one that is named does not run.
            VMNotReady: one did not come up again.
        """
        with self._machines("Reboot prefix" if reboot else "Shutdown prefix") as env:
            self._go_on(env)
            hows = env.shutdown(vm_names or (), reboot=reboot, on_phase=on_phase)
            if reboot:
                self._once_they_answer(env)
            else:
                self._forget_faults(hows)
            return hows

    @recorded
    def reachability(
        self, names: Iterable[str] = (), *, port: int | None = None, net: str | None = None, timeout: float = 5.0
    ) -> Reachability:
        """Ask machines which of each other they reach, all side by side; see `lago.virt.VM.reaches`.

        Args:
            names: names of the machines; without them all.
            port: a TCP port that must take a connection; without it any answer will do.
            net: the net over which they are to be reached; without it all nets that two are on are tried.
            timeout: seconds that an answer may take, at least 1.

        Returns:
            For each machine by name what it reaches, a `lago.virt.Reach`, by name. What is not known, as of a
            machine that is down, has its reason in `why`. As text it is a table.

        Raises:
            VMNotFound: there is no machine of that name.
            LagoError: there is no such net, or port.
        """
        from ..virt.together import reachability

        env = self.virt_env
        try:
            return reachability(env.select(names), port=port, net=net, timeout=timeout)
        finally:
            env.close()

    @recorded
    def cleanup(self) -> None:
        """Stop everything and remove the mark of a prefix; its files stay until it is destroyed."""
        with self.operation("Cleanup prefix"):
            with task("Stop prefix"):
                self._stop_whatever_runs()
            for marker in (self.paths.prefix_lagofile(), self.paths.old_lagofile()):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(marker)

    @recorded
    def destroy(self) -> None:
        """Stop everything and remove the prefix, however far it got."""
        with self.operation("Destroy prefix"):
            with task("Stop prefix"):
                self._stop_whatever_runs()
            self.release()
            registry.forget(self.uuid)
            doomed = make_unfinished(self._prefix)
            os.rename(self._prefix, doomed)
            remove_tree(doomed)

    def _end_captures(self) -> None:
        """End what records packets, so that nothing is written any more; whatever fails, the rest is to go."""
        if os.path.isdir(self.paths.captures()):
            from .captures import acts

            try:
                acts.stop(self.paths)
            except (LagoError, OSError) as error:
                LOG.warning("captures are left to end by themselves: %s", error)

    def _stop_whatever_runs(self) -> None:
        self._end_captures()
        self._stop_provided()
        if not self.hypervisor.shared:
            self.hypervisor.end(0)
            return
        try:
            self.virt_env.discard()
        finally:
            self.virt_env.close()
            self.hypervisor.end(0)

    def _stop_provided(self) -> None:
        """Stop the machines that plugins run, as far as they can be; whatever fails, the rest is to go."""
        try:
            if self._provided():
                self.virt_env.stop_provided()
        except (LagoError, OSError) as error:
            LOG.warning("machines elsewhere are left as they are: %s", error)

    def status(self) -> Status:
        """State of the environment: what there is, and what runs of it; nothing is started for it.

        Returns:
            `path` and `uuid` of the prefix, and by name: `machines` with `state`, `nics` (`net` and `ip` of each),
            `distro`, `metadata`, `root_password` and `snapshots`; `networks` with `state`, `gateway` and `management`;
            `snapshots`, the bytes on disk of each; `paused`, whether machines stand so since they were forked.
        """
        from .status import status

        topology = self.topology
        states, nets = dict.fromkeys(topology.domains, "down"), dict.fromkeys(topology.nets, "down")
        if self.hypervisor.running():
            env = self.virt_env
            states = env.states()
            nets |= dict.fromkeys(env.nets_up(), "up")
            env.close()
        elif (lost := self.hypervisor.lost()) is not None:
            LOG.warning("%s runs, but its sockets are gone, so it can't be reached: lago stop ends it", self._prefix)
            names = {name: libvirt_domain_name(self.libvirt_uuid, name) for name in topology.domains}
            states |= {name: LOST for name, at_libvirt in names.items() if at_libvirt in lost}
            nets = dict.fromkeys(topology.nets, "unknown")
        if self._provided() and not self.hypervisor.running():
            states |= self.virt_env.provided_states()
        return status(
            self.paths,
            self.uuid,
            topology,
            self.snapshots(),
            machines=states,
            networks=nets,
            paused=self._paused(),
            faults=self.faults(),
        )
