"""A prefix: one environment on disk, and what can be done with it.

The stages stand in `Prefix.create`: read, parse, fetch, resolve, materialise, save. A prefix comes into being by a
rename and ends by one, so that at any instant it is there as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from . import config, log, state
from .constants import PRIVATE
from .errors import LagoError, PrefixError, VMNotFound
from .hypervisor import Hypervisor, open_hypervisor
from .log import task
from .paths import Paths
from .snapshots.book import Book, Snapshot, size
from .snapshots.tops import with_tops
from .ssh import Guest
from .topology import Topology
from .utils import in_parallel, json_text, lock_file, near, run, synced_together, write_atomically

if TYPE_CHECKING:
    from .spec import EnvSpec
    from .templates.repository import TemplateRepository
    from .templates.store import TemplateStore
    from .virt import VirtEnv
    from .virt.readiness import Phase

UNFINISHED: Final = ".lago-unfinished-"
"""Directories with this prefix beside a prefix are what an interrupted `create` or `destroy` left."""


def _unfinished_beside(path: str) -> str:
    """A new empty directory that is swept if we are interrupted."""
    made = os.path.join(os.path.dirname(path), UNFINISHED + os.urandom(4).hex())
    os.mkdir(made)
    return made


def _variables(path: str, init_file: str) -> dict[str, str]:
    """What may stand in paths of an init file as `$NAME`, for a prefix that will be at `path`."""
    return {
        **os.environ,
        "LAGO_PREFIX_PATH": path,
        "LAGO_WORKDIR_PATH": os.path.dirname(path),
        "LAGO_INITFILE_PATH": os.path.dirname(os.path.abspath(init_file)),
    }


def _taken(path: str) -> PrefixError:
    return PrefixError(f"{path} exists already", hint="choose another name, or lago destroy it first")


def _no_phase(_vm: str, _phase: str) -> None:
    pass


class Prefix:
    """The environment in the directory `prefix`; nothing is read before it is needed."""

    def __init__(self, prefix: str) -> None:
        self._prefix = os.path.abspath(prefix)
        self.paths = Paths(self._prefix)

    @classmethod
    def create(cls, path: str, init_file: str) -> Prefix:
        """A new prefix at `path` from an init file; images that are not in the store are fetched or built.

        Raises:
            PrefixError: there is something at `path`.
            InitFileError: all faults of the init file.
            LagoError: an image can't be had, a disk not be made.
        """
        from . import initfile, spec

        path = os.path.abspath(path)
        if os.path.lexists(path):
            raise _taken(path)
        wanted = spec.parse(initfile.read(init_file))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        staging = _unfinished_beside(path)
        try:
            prefix = cls(staging)
            with lock_file(prefix.paths.lock(), what=staging, timeout=0):
                with synced_together():
                    prefix.initialize()
                    with log.to_file(prefix.paths.logs("lago.log")), task("Initialize and populate prefix"):
                        prefix._populate(wanted, _variables(path, init_file))
                try:
                    os.rename(staging, path)
                except OSError as error:
                    raise PrefixError(f"{path}: {error.strerror}", hint="choose another name") from None
        except BaseException:
            Prefix(staging).release()
            shutil.rmtree(staging, ignore_errors=True)
            raise
        made = cls(path)
        made._hold_leases()
        return made

    def initialize(self) -> None:
        """Make the directory with the uuid, the ssh keys and the marker; `virt_conf` fills it.

        If something fails nothing is left.

        Raises:
            PrefixError: there is something already.
        """
        new = not os.path.isdir(self._prefix)
        if not new and set(os.listdir(self._prefix)) - {os.path.basename(self.paths.lock())}:
            raise _taken(self._prefix)
        try:
            for directory in (self.paths.images(), self.paths.logs(), self.paths.virt()):
                os.makedirs(directory)
            write_atomically(self.paths.uuid(), os.urandom(16).hex())
            self._save_metadata({"libvirt_url": config.get("libvirt_url")})
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lago", "-f", self.paths.ssh_id_rsa()])
            write_atomically(self.paths.prefix_lagofile(), "")
        except BaseException:
            if new:
                shutil.rmtree(self._prefix, ignore_errors=True)
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
            template_repo: where templates come from, in place of the one of the configuration.
            template_store: where their images are kept, in place of the one of the configuration.

        Raises:
            InitFileError: all faults of `conf`.
            LagoError: an image can't be had, a disk not be made.
        """
        from . import initfile, spec

        wanted = spec.parse(initfile.loads(json.dumps(conf), "the configuration"))
        with log.to_file(self.paths.logs("lago.log")), task("Populate prefix"):
            self._populate(wanted, _variables(self._prefix, "LagoInitFile"), template_repo, template_store)

    def _populate(
        self,
        wanted: EnvSpec,
        variables: Mapping[str, str],
        repository: TemplateRepository | None = None,
        store: TemplateStore | None = None,
    ) -> None:
        from . import bootstrap, deploy, disks, templates, topology
        from .plugins import machines
        from .templates import layered

        with task("Fetch images"):
            repository, store = repository or templates.default_repository(), store or templates.default_store()
            versions = [(n, v, repository.get_by_name(n).get_version(v)) for n, v in wanted.templates()]
            images = {(name, version): store.ensure(found) for name, version, found in versions}
            plain = {p: layered.image(topology.expand(p, variables), repository, store) for p in wanted.layered()}
        subnets = self._lease(wanted) if self.hypervisor.shared else None
        resolved = topology.resolve(
            wanted,
            uuid=self.uuid,
            templates=images,
            subnets=subnets,
            layered=plain,
            variables=variables,
            defaults={
                "root_password": config.get("default_root_password", None),
                "vm_type": config.get("default_vm_type"),
                "vm_provider": config.get("default_vm_provider"),
            },
        )
        resolved = deploy.gather(resolved, self.paths, variables)
        for domain in resolved.domains.values():
            machines.kind(domain.vm_type, domain.name)
            machines.provider(domain.vm_provider, domain.name)
        with open(self.paths.ssh_id_rsa_pub(), encoding="utf-8") as file:
            public_key = file.read().strip()
        with task("Create disks"):
            todo = [disk for domain in resolved.domains.values() for disk in domain.disks]
            in_parallel(lambda disk: disks.create(disk, self.paths.prefix()), todo, what="create disks")
        for domain in resolved.domains.values():
            bootstrap.prepare(domain, self.paths, public_key)
        state.save(self.paths, resolved)

    def _lease(self, wanted: EnvSpec) -> dict[str, str]:
        from .subnet_lease import default_store

        leases = default_store()
        nothing = self.virt_env_of(Topology(domains={}, nets={}))
        try:
            busy = nothing.busy_subnets()
        finally:
            nothing.close()
        # What is asked for goes first, or another net of ours might get it.
        nets = sorted((net for net in wanted.nets.values() if net.type != "bridge"), key=lambda net: net.gw is None)
        return {net.name: leases.acquire(self.paths.uuid(), net.gw, avoid=busy) for net in nets}

    def _hold_leases(self) -> None:
        """Lease again what is ours: a lease names the place of its prefix, and a prefix may be moved."""
        if self.hypervisor.shared:
            from .subnet_lease import default_store

            for net in self.topology.nets.values():
                if net.gw is not None:
                    default_store().acquire(self.paths.uuid(), net.gw)

    def release(self) -> None:
        """Give back what others could use: subnets."""
        if os.path.exists(self.paths.uuid()) and self.metadata.get("libvirt_url", PRIVATE) != PRIVATE:
            from .subnet_lease import default_store

            default_store().release_all(self.paths.uuid())

    @cached_property
    def uuid(self) -> str:
        """The 32 hex digits that tell this prefix from all others."""
        try:
            with open(self.paths.uuid(), encoding="utf-8") as file:
                return file.read().strip()
        except FileNotFoundError:
            raise PrefixError(f"{self._prefix} is not a prefix: it has no uuid", hint="lago init") from None

    @property
    def libvirt_uuid(self) -> str:
        """What the names of machines and networks at libvirt are made of; a fork has that of its origin."""
        found: str = self.metadata.get("libvirt_uuid", self.uuid)
        return found

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Facts about the prefix that last."""
        try:
            with open(self.paths.metadata(), encoding="utf-8") as file:
                data: dict[str, Any] = json.load(file)
                return data
        except FileNotFoundError:
            return {}

    def save(self) -> None:
        """Write the environment to disk, with what was changed in `virt_env`."""
        self._save_metadata(self.metadata)
        self.virt_env.save()

    def _save_metadata(self, data: Mapping[str, Any]) -> None:
        write_atomically(self.paths.metadata(), json_text(data))

    @cached_property
    def hypervisor(self) -> Hypervisor:
        """Where this prefix's libvirt lives."""
        return open_hypervisor(self.metadata.get("libvirt_url", PRIVATE), self.uuid, self.paths)

    @cached_property
    def topology(self) -> Topology:
        """The resolved environment."""
        return with_tops(state.load(self.paths), Book.load(self.paths))

    @cached_property
    def virt_env(self) -> VirtEnv:
        """Its machines and networks."""
        from .virt import VirtEnv

        return VirtEnv.from_prefix(self)

    def virt_env_of(self, topology: Topology) -> VirtEnv:
        """`topology` as machines and networks of this prefix."""
        from .virt import VirtEnv

        return VirtEnv(self, topology.domains, topology.nets)

    def guest(self, name: str) -> Guest:
        """How to log in to a machine. Raises VMNotFound."""
        if name not in self.topology.domains:
            raise VMNotFound(f"there is no machine {name}", hint=near(name, self.topology.domains))
        domain = self.topology.domains[name]
        number = list(self.topology.domains).index(name)
        return Guest(
            name=name,
            user=domain.ssh_user or config.get("ssh_user", None) or domain.image.get("ssh-user") or "root",
            password=domain.ssh_password or config.get("ssh_password"),
            address=domain.ip or "",
            key=self.paths.ssh_id_rsa(),
            control=os.path.join(self.hypervisor.socket_dir(), f"ssh-{number}"),
            wrap=self.hypervisor.command,
        )

    @contextlib.contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Hold the prefix's lock and write to its log while something changes it."""
        with lock_file(self.paths.lock(), what=f"the environment {self._prefix}", timeout=config.get("lock_timeout")):
            if not os.path.exists(self.paths.prefix_lagofile()):
                raise PrefixError(f"{self._prefix} is gone", hint="somebody else destroyed it meanwhile")
            with log.to_file(self.paths.logs("lago.log")), task(name):
                self._recover()
                yield

    def _recover(self) -> None:
        """Put right what an operation on snapshots left when it was killed."""
        if Book.load(self.paths).busy:
            from .snapshots.recover import recover

            recover(self.virt_env)
            self.virt_env.close()

    @contextlib.contextmanager
    def _machines(self, name: str) -> Iterator[VirtEnv]:
        """The machines and networks, for an operation that may change what disks are made of."""
        with self.operation(name):
            env = self.virt_env
            try:
                yield env
            finally:
                self.__dict__.pop("topology", None)
                for vm in env.get_vms().values():
                    vm.spec = self.topology.domains[vm.name()]
                env.close()

    def snapshots(self) -> Mapping[str, Snapshot]:
        """The snapshots by name, oldest first."""
        return Book.load(self.paths).snapshots

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
        """Take a snapshot of machines (all, if none is named) at one instant; see `lago.snapshots.take`."""
        from .snapshots.take import take

        with self._machines("Create snapshot") as env:
            return take(
                env,
                name,
                env.select(vms),
                disk_only=disk_only,
                description=description,
                replace=replace,
                compress=compress,
            )

    def revert_snapshots(self, name: str, *, vms: Iterable[str] = (), on_phase: Phase = _no_phase) -> None:
        """Go back to a snapshot with all of its machines, or some; see `lago.snapshots.revert`."""
        from .snapshots.revert import revert

        with self._machines("Revert snapshot") as env:
            revert(env, name, [vm.name() for vm in env.select(vms)], on_phase)

    def delete_snapshot(self, name: str) -> None:
        """Remove a snapshot; all others stay valid. Raises LagoError if there is none of that name."""
        from .snapshots.remove import remove

        with self._machines("Delete snapshot") as env:
            remove(env, name)

    def fork(
        self, path: str, snapshot: str | None = None, on_phase: Phase = _no_phase, *, start: bool = True
    ) -> Prefix:
        """A new prefix at `path` whose machines go on from an instant of ours, with the same names and addresses.

        Args:
            snapshot: which instant; without it now.
            start: let them go on at once; otherwise they do when somebody reverts to the snapshot.

        Raises:
            PrefixError: there is something at `path`.
            LagoError: there is no such snapshot, or libvirt is shared with others, where names would clash.
        """
        if self.hypervisor.shared:
            raise LagoError(
                "an environment on a shared libvirt can't be forked: its names and addresses are taken there",
                hint="make it with libvirt_url = private, the default",
            )
        path = os.path.abspath(path)
        if os.path.lexists(path):
            raise _taken(path)
        staging = _unfinished_beside(path)
        try:
            with self._machines("Fork"), lock_file(Paths(staging).lock(), what=staging, timeout=0):
                name = self._fork(Prefix(staging), snapshot)
                os.rename(staging, path)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        made = Prefix(path)
        if start:
            made.revert_snapshots(name, on_phase=on_phase)
        return made

    def _fork(self, made: Prefix, snapshot: str | None) -> str:
        from .snapshots.fork import fork
        from .snapshots.remove import remove
        from .snapshots.take import take

        env = self.virt_env
        name = snapshot or f"origin-{os.urandom(4).hex()}"
        if snapshot is None:
            take(env, name, env.select(()))
        try:
            fork(self.paths, name, made.paths)
        finally:
            if snapshot is None:
                remove(env, name)
        write_atomically(made.paths.uuid(), os.urandom(16).hex())
        made._save_metadata({**self.metadata, "libvirt_uuid": self.libvirt_uuid})
        write_atomically(made.paths.prefix_lagofile(), "")
        return name

    def start(self, names: Iterable[str] = (), on_phase: Phase = _no_phase) -> None:
        """Start machines (all, if none is named) and wait until they answer ssh; see `VirtEnv.start`."""
        with self.operation("Start Prefix"):
            self._hold_leases()
            try:
                self.virt_env.start(names, on_phase)
            finally:
                self.virt_env.close()

    def deploy(self, on_phase: Phase = _no_phase) -> None:
        """Run the deploy scripts of all machines; see `lago.deploy.run`."""
        from . import deploy

        with self.operation("Deploy environment"):
            try:
                deploy.run(self.virt_env, on_phase)
            finally:
                self.virt_env.close()

    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines (all, if none is named) as by pulling the plug."""
        with self.operation("Stop prefix"):
            try:
                self.virt_env.stop(names)
            finally:
                self.virt_env.close()

    def cleanup(self) -> None:
        """Stop everything and let the prefix be no prefix any more; its files stay until it is destroyed."""
        with self.operation("Cleanup prefix"):
            with task("Stop prefix"):
                self._stop_whatever_runs()
            for marker in (self.paths.prefix_lagofile(), self.paths.old_lagofile()):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(marker)

    def destroy(self) -> None:
        """Stop everything and remove the prefix, however far it got."""
        with self.operation("Destroy prefix"):
            with task("Stop prefix"):
                self._stop_whatever_runs()
            self.release()
            doomed = _unfinished_beside(self._prefix)
            os.rename(self._prefix, doomed)
            shutil.rmtree(doomed)

    def _stop_whatever_runs(self) -> None:
        if not self.hypervisor.shared:
            self.hypervisor.end(0)
            return
        try:
            self.virt_env.discard()
        finally:
            self.virt_env.close()
            self.hypervisor.end(0)

    def status(self) -> dict[str, Any]:
        """What `lago status` shows; nothing is started for it."""
        topology = self.topology
        running = self.hypervisor.running()
        states, up = dict.fromkeys(topology.domains, "down"), set()
        if running:
            env = self.virt_env
            states, up = env.states(), env.nets_up()
            env.close()
        nets = {
            net.name: {"gateway": net.gw, "management": net.management, "status": "up" if net.name in up else "down"}
            for net in topology.nets.values()
        }
        snapshots = self.snapshots()
        vms = {}
        for vm in topology.domains.values():
            vms[vm.name] = {
                "NICs": {nic.name: {"ip": nic.ip or "N/A", "network": nic.net} for nic in vm.nics},
                "distro": vm.distro or vm.image.get("distro"),
                "metadata": dict(vm.metadata),
                "root password": vm.root_password or vm.image.get("root-password"),
                "snapshots": ", ".join(one.name for one in snapshots.values() if vm.name in one.vms),
                "status": states[vm.name],
            }
        data = {"Base directory": self._prefix, "Networks": nets, "UUID": self.uuid, "VMs": vms}
        if snapshots:
            data["Snapshots"] = {one.name: {"bytes on disk": size(self.paths, one)} for one in snapshots.values()}
        return {"Prefix": data}
