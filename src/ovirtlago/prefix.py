"""An oVirt environment as a whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lago import Prefix
from lago.constants import DEPLOY_SCRIPTS, OVIRT_SCRIPTS
from lago.errors import LagoError
from lago.log import LOG, no_phase, task, to_file
from lago.topology.model import Topology

from .engine import rest, status
from .paths import OvirtPaths
from .virt import EngineVM, OvirtVirtEnv, TestVM

if TYPE_CHECKING:
    from lago.environment.snapshots.index import Snapshot
    from lago.virt.readiness import Phase

    from .testing.run import Ended


class OvirtPrefix(Prefix):
    """The oVirt environment in the directory `prefix`."""

    SCRIPTS = (DEPLOY_SCRIPTS, OVIRT_SCRIPTS)
    paths: OvirtPaths

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix)
        self.paths = OvirtPaths(self.paths.prefix())

    @cached_property
    def virt_env(self) -> OvirtVirtEnv:
        """Its machines and networks."""
        return self.virt_env_of(self.topology)

    def virt_env_of(self, topology: Topology) -> OvirtVirtEnv:
        """Return `topology` as machines and networks of this prefix. Raises VMError if there are two engines."""
        env = OvirtVirtEnv(self, topology.domains, topology.nets)
        self._aware(env)
        return env

    @contextlib.contextmanager
    def engine(self, name: str) -> Iterator[EngineVM]:
        """Context manager: the engine's machine, for a step that is logged.

        Args:
            name: the step, for people.

        Raises:
            VMError: there is no engine.
        """
        with self._logged(name) as env:
            yield env.the_engine()

    @contextlib.contextmanager
    def _logged(self, name: str) -> Iterator[OvirtVirtEnv]:
        with to_file(self.paths.logs("lago.log")), task(name):
            try:
                yield self.virt_env
            finally:
                self.virt_env.close()

    def create_snapshots(self, name: str, restore: bool = True, **options: Any) -> Snapshot:
        """Take a snapshot of machines while the engine and its hosts are at rest.

        Args:
            name: of the snapshot.
            restore: wake everything afterwards. If something fails it is woken in any case.
            options: which machines, and how, as for `lago.Prefix.create_snapshots`.

        Raises:
            EngineError: virtual machines run, or something does not get to rest, or does not wake, in time.
            VMError: a service of a host or of the engine does not stop or start.
            LagoError: the snapshot can't be taken.
        """
        self.check_new_snapshot(name, replace=options.get("replace", False))
        with (
            self._logged("Create oVirt snapshot") as env,
            rest.at_rest(env.working_engine(), env.host_vms(), restore=restore),
        ):
            return super().create_snapshots(name, **options)

    def revert_snapshots(
        self, name: str, *, vms: Iterable[str] = (), on_phase: Phase = no_phase, patience: float | None = None
    ) -> None:
        """Go back to a snapshot and wake everything, if the machines run then.

        Args:
            name: of the snapshot.
            vms: machines of it; all, if none is named.
            on_phase: hears a machine's name and what it does now.
            patience: seconds that each machine has to answer, five times as long when emulated; without it as for a
                boot.

        Raises:
            LagoError: there is no such snapshot, or its machines can't be brought back.
            VMError: a service of a host or of the engine does not start.
            EngineError: something does not wake in time.
        """
        if engine := self.virt_env.engine_vm():
            engine.disconnect()
        super().revert_snapshots(name, vms=vms, on_phase=on_phase, patience=patience)
        self._wake()

    def start(self, names: Iterable[str] = (), on_phase: Phase = no_phase) -> None:
        """Start machines; when all of oVirt's run, wake the engine and its hosts.

        Clusters get the processors that the init file gives their hosts.

        Args:
            names: of machines; all, if none is named.
            on_phase: hears a machine's name and what it does now.

        Raises:
            HypervisorError: libvirt refuses.
            VMError: a machine, or a service of one, does not start.
            LagoError: the hosts of a cluster have several processors, or one that oVirt has no name for.
            EngineError: something does not wake in time.
        """
        super().start(names, on_phase)
        self._wake(align=True)

    def _wake(self, *, align: bool = False) -> None:
        with self._logged("Wake the engine and its hosts") as env:
            engine = env.working_engine()
            if engine is None:
                return
            rest.wake_services(engine, env.host_vms())
            if align:
                from .engine import cpu

                cpu.align(engine, env.get_vms().values())
            rest.activate(engine)

    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines.

        Before all are stopped, virtual machines, storage and hosts are put to rest. An engine that can't do so, or does
        not answer, is a warning only.

        Args:
            names: of machines; all, if none is named.
        """
        names = list(names)
        if not names:
            self._rest()
        super().stop(names)

    def _rest(self) -> None:
        with self._logged("Put the environment to rest") as env:
            try:
                engine = env.working_engine()
                if engine is not None:
                    rest.end_all(engine)
            except LagoError as error:
                LOG.warning("the environment is not put to rest before it stops: %s", error.render())

    def prepare_repo(
        self,
        rpm_repo: str | None = None,
        reposync_yum_config: str | None = None,
        skip_sync: bool = False,
        vdsm_dir: str | None = None,
        engine_dir: str | None = None,
        engine_build_gwt: bool = False,
        vdsm_jsonrpc_java_dir: str | None = None,
        ioprocess_dir: str | None = None,
        *,
        custom_sources: Sequence[str] = (),
        repo_name: str | None = None,
    ) -> dict[str, Any]:
        """Make the repositories of packages in `internal_repo`.

        Args:
            rpm_repo: directory of copies of repositories; default: the setting `reposync_dir`.
            reposync_yum_config: configuration file of dnf that names them; default: the setting `reposync_config`.
            skip_sync: use the copies as they are.
            vdsm_dir: directory with the sources of vdsm to build; none is built without it, as with the other three.
            engine_dir: directory with the sources of ovirt-engine to build.
            engine_build_gwt: build the engine with its web pages.
            vdsm_jsonrpc_java_dir: directory with the sources of vdsm-jsonrpc-java to build.
            ioprocess_dir: directory with the sources of ioprocess to build.
            custom_sources: directories, packages, addresses of packages or of repositories.
            repo_name: make one repository of this name in place of one for each distribution.

        Returns:
            `repositories`, by name the `path` and the number of `packages`, and `revisions`, the commits that were
            built.

        Raises:
            ConfigError: there is nothing to make them of.
            RepoError: a package is damaged. A repository that it would be in is as before.
            LagoError: something can't be had or built.
        """
        from .packages import setup

        directories = {
            "vdsm": vdsm_dir,
            "ovirt-engine": engine_dir,
            "vdsm-jsonrpc-java": vdsm_jsonrpc_java_dir,
            "ioprocess": ioprocess_dir,
        }
        wanted = setup.Wanted(
            rpm_repo=rpm_repo or "",
            config=setup.setting("reposync_config", "") if reposync_yum_config is None else reposync_yum_config,
            skip_sync=skip_sync,
            projects={name: directory for name, directory in directories.items() if directory},
            with_gwt=engine_build_gwt,
            custom=custom_sources,
            name=repo_name or "",
        )
        with self.operation("Prepare repositories"):
            made = setup.prepare(self.paths, self._distributions(), wanted)
            if made["revisions"]:
                self.remember(ovirt_revisions=made["revisions"])
        return made

    def _distributions(self) -> dict[str, list[str]]:
        env = self.virt_env
        engine = env.engine_vm()
        machines: dict[str, Sequence[TestVM]] = {"engine": [engine] if engine else [], "host": env.host_vms()}
        return {role: [*dict.fromkeys(name for vm in vms if (name := vm.distro()))] for role, vms in machines.items()}

    def ovirt_status(self) -> dict[str, Any]:
        """Return the machines by role, and what the engine says if it answers; it is asked once and not waited for.

        Returns:
            `Engine`, `Hosts`, and if the engine answers `Data centers` and `Virtual machines`, as `lago ovirt status`
            shows them.
        """
        env = self.virt_env
        try:
            return status.status(env.engine_vm(), env.host_vms(), env.get_vms().values(), env.states())
        finally:
            env.close()

    def deploy(self, on_phase: Phase = no_phase) -> None:
        """Run the deploy scripts and ovirt scripts of all machines, with packages served. Raises VMError."""
        with self._serving():
            super().deploy(on_phase)

    def run_test(self, path: str, junitxml_file: str | None = None) -> bool:
        """Run the tests of a file or directory, and return whether all pass; arguments and errors as `test_results`."""
        return self.test_results(path, junitxml_file).passed

    def test_results(self, path: str, junitxml_file: str | None = None) -> Ended:
        """Run the tests of a file or directory, with packages served; what pytest says goes to our standard error.

        Args:
            path: the file or directory.
            junitxml_file: for the report: a file name, which is in the prefix, a path, or a directory, which ends with
                a slash; None: `<test>.junit.xml` in the prefix.

        Returns:
            How many tests there were and how they ended, and where the report is.

        Raises:
            HostError: pytest is not installed.
            LagoError: there are no such tests, or they could not be run to the end; or packages can't be served.
        """
        from .testing.run import run_tests

        with self._serving():
            return run_tests(self.paths, path, junitxml_file)

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        """Context manager: packages are served to machines, if there are any that nobody else serves."""
        from .utils import ServedAlready, repo_server_context

        with contextlib.ExitStack() as served:
            if os.path.isdir(self.paths.internal_repo()):
                with contextlib.suppress(ServedAlready):
                    served.enter_context(repo_server_context(self))
            yield
