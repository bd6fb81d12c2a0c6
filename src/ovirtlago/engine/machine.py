"""The machine that runs the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from lago.errors import HostError
from lago.host.programs import tail
from lago.host.waiting import poll
from lago.virt import VirtEnv

from ..constants import ENGINE_PASSWORD, ENGINE_SERVICE, ENGINE_USER, SHORT_TIMEOUT
from ..errors import EngineError, EngineNotReady
from ..machines import TestVM

if TYPE_CHECKING:
    from ovirtsdk4 import Connection

    from lago.topology.model import Domain

    from .contract import Identity


class EngineVM(TestVM):
    """The machine that runs the engine, a `contract.Engine`.

    Its metadata may say `ovirt-engine-user` and `ovirt-engine-password`, and `ovirt-engine-insecure: true` if
    certificates are not to be verified.
    """

    def __init__(self, env: VirtEnv, spec: Domain) -> None:
        super().__init__(env, spec)
        self._api: Connection | None = None
        self._unverified = False
        self._identity: Identity | None = None
        self._lock = threading.RLock()

    def _artifact_paths(self) -> list[str]:
        return ["/var/log/ovirt-engine", "/var/log"]

    def user(self) -> str:
        """Return the name to log in to the engine with."""
        return str(self.metadata.get("ovirt-engine-user", ENGINE_USER))

    def password(self) -> str:
        """Return the password of `user`."""
        return str(self.metadata.get("ovirt-engine-password", ENGINE_PASSWORD))

    def insecure(self) -> bool:
        """Return whether certificates of the engine are not verified."""
        return bool(self.metadata.get("ovirt-engine-insecure", False))

    def get_api(self, wait: bool = True, insecure: bool | None = None) -> Connection:
        """Return a connection of the SDK, `ovirtsdk4.Connection`, that works; the same one as long as it does.

        Args:
            wait: for the machine, the service `ovirt-engine` and an answer of the engine; otherwise it is tried once.
            insecure: leave out the verification of certificates; None: as the metadata says.

        Raises:
            VMNotRunning, VMNotReady: the machine does not run or answer.
            EngineNotReady: the engine does not answer.
            EngineError: it is not set up, refuses the password, or is not who it should be.
            HostError: the SDK is not installed.
        """
        try:
            from .login import log_in
        except ModuleNotFoundError as error:
            raise HostError(
                f"the Python package {error.name} is not installed", hint="pip install ovirt-engine-sdk-python"
            ) from None
        unverified = self.insecure() if insecure is None else insecure
        with self._lock:
            if self._api is None or (self._unverified and not unverified) or not self._api.test():
                self.disconnect()
                self._api = log_in(self, wait=wait, insecure=unverified)
                self._unverified = unverified
            return self._api

    def disconnect(self) -> None:
        """Close the connection, without a word to the engine, which may be gone.

        It is closed when nobody has it any more: other threads may just use it.
        """
        with self._lock:
            self._api = self._identity = None

    def identity(self) -> Identity:
        """Return who the engine is by its own machine, which is asked over ssh, once per connection.

        Raises:
            VMNotRunning, VMNotReady: the machine does not run or answer.
            EngineError: the engine is not set up.
        """
        from . import identity

        with self._lock:
            if self._identity is None:
                self._identity = identity.ask(self)
            return self._identity

    def is_set_up(self) -> bool:
        """Return whether `engine-setup` was run on it. Raises VMNotRunning, VMNotReady."""
        from .identity import CA_FILE

        self.connect()
        return not self.guest.run(["test", "-e", CA_FILE], timeout=SHORT_TIMEOUT)

    def wait_for_service(self, timeout: float) -> None:
        """Return when its service `ovirt-engine` runs.

        Args:
            timeout: seconds.

        Raises:
            VMNotRunning, VMNotReady: the machine does not run or answer.
            EngineNotReady: the service does not run within `timeout` seconds.
        """
        from .events import last_words

        def attempt() -> None:
            if not service.alive():
                raise EngineNotReady(
                    f"the service {ENGINE_SERVICE} of {self.name()} does not run",
                    hint=f"lago ovirt engine-setup, or lago shell {self.name()} and look at its log",
                )

        self.connect()
        service = self.service(ENGINE_SERVICE)
        try:
            poll(attempt, timeout, self.env.cancelled, EngineNotReady)
        except EngineNotReady as error:
            error.details = last_words(self)
            raise

    def stop(self) -> None:
        """End it as by pulling the plug; the engine need not answer."""
        self.disconnect()
        super().stop()

    def add_iso(
        self, path: str, storage_domain: str | None = None, on_bytes: Callable[[int], object] = lambda _number: None
    ) -> str:
        """Upload an ISO image to a storage domain of the engine.

        Args:
            path: the file.
            storage_domain: its name; None: the first one for data that is active.
            on_bytes: hears how many bytes have just gone.

        Returns:
            The identifier of the disk that the engine makes of it.

        Raises:
            LagoError: there is no such file, or no such storage domain.
            EngineError: the engine does not take it.
        """
        from . import iso

        return iso.add(self, self.env.get_vms().values(), path, storage_domain, on_bytes)

    def engine_setup(self, config: str | None = None) -> None:
        """Run `engine-setup` on it.

        Args:
            config: file of this host with the answers; None: whoever sits at the terminal is asked.

        Raises:
            VMNotRunning, VMNotReady: it does not run or answer.
            LagoError: there is no such file.
            EngineError: `engine-setup` fails.
        """
        answers = "/root/engine-answer-file"
        if config is None:
            status = self.interactive_ssh(["engine-setup"])
        else:
            self.copy_to(config, answers)
            status = self.ssh(["engine-setup", f"--config-append={answers}"])
        self.disconnect()
        if status:
            raise EngineError(
                f"{self.name()}: engine-setup ended with status {status.code}",
                details=tail(status.error_text),
                hint="its log is in /var/log/ovirt-engine/setup there",
            )
