"""What manages a machine's services is found out once, and stored by who may write to the environment."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lago.environment.prefix import Prefix
from lago.host.locks import held_here, lock_file
from lago.host.parallel import in_parallel
from lago.host.programs import CommandStatus
from lago.services import SystemdService
from lago.virt import VM

from ..conftest import make_prefix


class Guest:
    """A guest with systemd, which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def connected(self) -> bool:
        """It is there."""
        return True

    def run(self, _command: Sequence[str], timeout: float | None = None) -> CommandStatus:
        """What `services.detect` hears, which waits no longer than it must."""
        assert timeout
        self.asked += 1
        return CommandStatus(0, f"{SystemdService.BIN_PATH}\n".encode(), b"")


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    return Prefix(str(make_prefix(tmp_path / "prefix")))


def machine(prefix: Prefix) -> tuple[VM, Guest]:
    vm, guest = prefix.virt_env.get_vm("vm0"), Guest()
    vm.__dict__["guest"] = guest
    return vm, guest


def stored(prefix: Prefix) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(prefix.paths.virt("vm-vm0")).read_text())
    return found


def test_it_is_found_out_once_and_stored(prefix: Prefix) -> None:
    vm, guest = machine(prefix)
    before = stored(prefix)
    assert type(vm.service("sshd")) is SystemdService
    vm.service("crond")
    assert guest.asked == 1
    assert stored(prefix) == {**before, "service_provider": "systemd"}
    other, guest = machine(Prefix(prefix.paths.prefix()))
    assert type(other.service("sshd")) is SystemdService
    assert guest.asked == 0


def test_who_does_not_have_the_lock_writes_nothing(prefix: Prefix) -> None:
    vm, _ = machine(prefix)
    before = stored(prefix)
    held = lock_file(prefix.paths.lock(), what="it", timeout=0)
    # In a context of its own, as another program would hold it.
    somebody = contextvars.Context()
    somebody.run(held.__enter__)
    try:
        assert type(vm.service("sshd")) is SystemdService
        assert stored(prefix) == before
    finally:
        somebody.run(held.__exit__, None, None, None)


def test_an_operation_of_ours_stores_it_from_its_threads_too(prefix: Prefix) -> None:
    vm, _ = machine(prefix)
    with prefix.operation("Look"):
        assert held_here(prefix.paths.lock())
        in_parallel(lambda name: vm.service(name), ["sshd"], what="look")
    assert not held_here(prefix.paths.lock())
    assert stored(prefix)["service_provider"] == "systemd"


def test_what_others_wrote_meanwhile_stays(prefix: Prefix) -> None:
    vm, _ = machine(prefix)
    Path(prefix.paths.virt("vm-vm0")).write_text(json.dumps({**stored(prefix), "memory": 77}))
    vm.service("sshd")
    assert (stored(prefix)["memory"], stored(prefix)["service_provider"]) == (77, "systemd")


def test_an_environment_that_is_gone_is_not_made_again(prefix: Prefix, tmp_path: Path) -> None:
    vm, _ = machine(prefix)
    Path(prefix.paths.prefix()).rename(tmp_path / "elsewhere")
    assert type(vm.service("sshd")) is SystemdService
    assert not Path(prefix.paths.prefix()).exists()
