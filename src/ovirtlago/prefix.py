"""An oVirt environment as a whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lago import Prefix, log
from lago.constants import DEPLOY_SCRIPTS, OVIRT_SCRIPTS
from lago.errors import LagoError
from lago.log import LOG, task
from lago.topology.model import Topology
from lago.utils import no_phase

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
        """`topology` as machines and networks of this prefix."""
        return OvirtVirtEnv(self, topology.domains, topology.nets)

    @contextlib.contextmanager
    def engine(self, name: str) -> Iterator[EngineVM]:
        """The engine's machine, for the step `name`, which is logged. Raises VMError if there is none."""
        with self._logged(name) as env:
            yield env.the_engine()

    @contextlib.contextmanager
    def _logged(self, name: str) -> Iterator[OvirtVirtEnv]:
        with log.to_file(self.paths.logs("lago.log")), task(name):
            try:
                yield self.virt_env
            finally:
                self.virt_env.close()

    def create_snapshots(self, name: str, restore: bool = True, **options: Any) -> Snapshot:
        """Take a snapshot of machines while the engine and its hosts are at rest; see `lago.Prefix.create_snapshots`.

        Args:
            restore: wake everything afterwards. If something fails it is woken in any case.

        Raises:
            EngineError: something does not get to rest, or does not wake, in time.
        """
        with self._logged("Create oVirt snapshot") as env, rest.at_rest(env, restore=restore):
            return super().create_snapshots(name, **options)

    def revert_snapshots(self, name: str, *, vms: Iterable[str] = (), on_phase: Phase = no_phase) -> None:
        """Go back to a snapshot and wake everything, if the machines run then. Raises EngineError."""
        if engine := self.virt_env.engine_vm():
            engine.disconnect()
        super().revert_snapshots(name, vms=vms, on_phase=on_phase)
        self._wake()

    def start(self, names: Iterable[str] = (), on_phase: Phase = no_phase) -> None:
        """Start machines (all, if none is named); when all of oVirt's run, wake the engine and its hosts.

        Clusters get the processors that the init file gives their hosts. Raises EngineError.
        """
        super().start(names, on_phase)
        self._wake(align=True)

    def _wake(self, *, align: bool = False) -> None:
        with self._logged("Wake the engine and its hosts") as env:
            engine = rest.working_engine(env)
            if engine is None:
                return
            rest.wake_services(env, engine)
            if align:
                from .engine import cpu

                cpu.align(env, engine)
            rest.activate(engine)

    def stop(self, names: Iterable[str] = ()) -> None:
        """Stop machines (all, if none is named).

        Before all are stopped, virtual machines, storage and hosts are put to rest. An engine that can't do so, or does
        not answer, is a warning only.
        """
        names = list(names)
        if not names:
            self._rest()
        super().stop(names)

    def _rest(self) -> None:
        with self._logged("Put the environment to rest") as env:
            try:
                engine = rest.working_engine(env)
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
            vdsm_dir: sources of vdsm to build, as are the other directories.
            engine_build_gwt: build the engine with its web pages.
            custom_sources: directories, packages, addresses of packages or of repositories.
            repo_name: make one repository of this name in place of one for each distribution.

        Raises:
            LagoError: as `reposetup.prepare` says. A repository that can't be made is as before.
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
        """How the machines are, and what the engine says; see `ovirtlago.engine.status`."""
        try:
            return status.status(self.virt_env)
        finally:
            self.virt_env.close()

    def deploy(self, on_phase: Phase = no_phase) -> None:
        """Run the deploy scripts and ovirt scripts of all machines, with packages served. Raises VMError."""
        with self._serving():
            super().deploy(on_phase)

    def run_test(self, path: str, junitxml_file: str | None = None) -> bool:
        """Whether all tests of a file or directory pass; see `test_results`."""
        return self.test_results(path, junitxml_file).passed

    def test_results(self, path: str, junitxml_file: str | None = None) -> Ended:
        """Run the tests of a file or directory, with packages served; see `ovirtlago.testing.run`."""
        from .testing.run import run_tests

        with self._serving():
            return run_tests(self, path, junitxml_file)

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        """Serve packages to machines, if there are any that nobody else serves."""
        from .utils import ServedAlready, repo_server_context

        with contextlib.ExitStack() as served:
            if os.path.isdir(self.paths.internal_repo()):
                with contextlib.suppress(ServedAlready):
                    served.enter_context(repo_server_context(self))
            yield
