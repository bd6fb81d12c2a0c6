"""Guests with a real distribution: systemd and containers on `debian12`, init scripts on `debian12-sysvinit`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import quote

import pytest

from lago import Prefix
from lago.environment import report
from lago.errors import VMError
from lago.services import SystemdContainerService, SystemdService, SysVInitService
from lago.virt import VM, ServiceState, VirtEnv

from .box import MINI, Box
from .terminal import Terminal

MACHINE = "{memory: 512, vcpu: 1, disks: [{template_name: %s}], nics: [{net: lan}]}"
INIT = f"domains:\n  new: {MACHINE % 'debian12'}\n  other: {MINI % '{net: lan}'}\nnets: {{lan: {{}}}}\n"
OLD = f"domains:\n  old: {MACHINE % 'debian12-sysvinit'}\nnets: {{lan: {{}}}}\n"

DOCKER = """\
#!/bin/sh
# docker exec vdsmc systemctl show --property=... -- NAME: the container has one service
[ "$1 $2 $3" = "exec vdsmc systemctl" ] || exit 125
case $*,$(cat /run/inner) in
    *show*"-- inner",*) printf 'LoadState=loaded\\nActiveState=%s\\n' "$(cat /run/inner)" ;;
    *show*) printf 'LoadState=not-found\\nActiveState=inactive\\n' ;;
    *start*"-- inner",*) echo active >/run/inner ;;
    *stop*"-- inner",*) echo inactive >/run/inner ;;
    *) exit 5 ;;
esac
"""


@pytest.fixture(scope="module")
def env(debian: None, module_box: Box) -> Iterator[VirtEnv]:
    """Two machines that run; one has systemd."""
    module_box.env["LAGO_BOOT_TIMEOUT"] = "60"
    module_box.up(INIT)
    found = Prefix(str(module_box.prefix)).virt_env
    yield found
    found.close()


@pytest.fixture(scope="module")
def new(env: VirtEnv) -> VM:
    """The machine with systemd."""
    return env.get_vm("new")


@pytest.fixture(scope="module")
def old_box(debian_sysvinit: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """An environment of a machine with sysvinit, which runs."""
    made = Box(tmp_path_factory.mktemp("old"), env={"LAGO_BOOT_TIMEOUT": "60"})
    made.up(OLD)
    yield made
    made.close()


@pytest.fixture(scope="module")
def old(old_box: Box) -> Iterator[VM]:
    """That machine."""
    env = Prefix(str(old_box.prefix)).virt_env
    yield env.get_vm("old")
    env.close()


def _stored(box: Box, vm: str) -> object:
    return json.loads((box.prefix / "virt" / f"vm-{vm}").read_text())["service_provider"]


def _starts_and_stops(vm: VM, name: str) -> None:
    service = vm.service(name)
    assert (service.state(), service.exists(), service.alive()) == (ServiceState.ACTIVE, True, True)
    service.start()
    service.stop()
    assert (service.state(), service.exists(), service.alive()) == (ServiceState.INACTIVE, True, False)
    service.stop()
    service.start()
    assert service.alive()


@pytest.mark.slow
def test_a_failed_test_is_told_the_errors_in_the_journal_where_there_is_one(env: VirtEnv, new: VM) -> None:
    new.succeed("logger -p user.err the disk is on fire", "logger -p user.info all is well", "journalctl --sync")
    env.get_vm("other").succeed("echo the last words >/dev/console")

    def collect(_dest: str) -> None:
        raise AssertionError

    told = dict(report.of_environment(env.paths, env.get_vms(), "", collect))
    assert "the disk is on fire" in told["lago journal of new"]
    assert "all is well" not in told["lago journal of new"]
    assert "lago console of new" not in told
    assert "the last words" in told["lago console of other"]
    new.guest.close()
    # Nobody waits for a guest that has no connection: it may be what is wrong.
    assert "login:" in dict(report.of_environment(env.paths, env.get_vms(), "", collect))["lago console of new"]


@pytest.mark.slow
def test_root_has_the_usual_password_at_the_console(new: VM, module_box: Box) -> None:
    assert new.root_password() == "123456"
    with Terminal(module_box, "console", "new") as terminal:
        terminal.expect("Ctrl-] leaves")
        terminal.type("\n")
        terminal.expect("login: ")
        terminal.type("root\n")
        terminal.expect("Password: ")
        terminal.type("123456\n")
        terminal.expect("# ")
        terminal.type("echo $((6 * 7)) is it\n")
        terminal.expect("42 is it")
        terminal.type("exit\n")
        terminal.expect("login: ")
        terminal.type("\x1d")
        assert terminal.wait() == 0


def test_a_machine_with_systemd_learns_its_name_and_key_and_its_agent_answers(new: VM, module_box: Box) -> None:
    assert module_box.shell("new", "hostname; cat /etc/hostname; . /etc/os-release; echo $ID $VERSION_ID") == (
        "new\nnew\ndebian 12\n"
    )
    assert module_box.shell("new", "systemctl --failed --no-legend; wc -c </etc/machine-id") == "33\n"
    owners = module_box.shell("new", "stat -c %U:%G:%a /usr/bin/passwd /etc/shadow")
    assert owners == "root:root:4755\nroot:shadow:640\n"
    assert module_box.shell("new", "systemctl is-active ssh systemd-networkd") == "active\nactive\n"
    assert "192.168.200.2/24" in module_box.shell("new", "ip -o -4 addr")
    assert module_box.shell("new", "getent ahostsv4 new-lan.lago.local").split()[0] == "192.168.200.2"
    uri = f"qemu+unix:///system?socket={quote(str(module_box.run_dir))}/libvirt-sock"
    virsh = ["virsh", "-q", "-c", uri]
    names = subprocess.check_output([*virsh, "list", "--name"], text=True, stdin=subprocess.DEVNULL).split()
    [name] = [one for one in names if one.endswith("-new")]
    asked = [*virsh, "qemu-agent-command", "--timeout", "60", name, '{"execute": "guest-ping"}']
    assert subprocess.check_output(asked, text=True, stdin=subprocess.DEVNULL).strip() == '{"return":{}}'


def test_systemd_is_found_out_and_remembered(new: VM, module_box: Box) -> None:
    assert isinstance(new.service("ssh"), SystemdService)
    assert _stored(module_box, "new") == "systemd"
    env = Prefix(str(module_box.prefix)).virt_env
    assert env.get_vm("new").spec.service_provider == "systemd"


def test_units_start_and_stop(new: VM) -> None:
    _starts_and_stops(new, "systemd-timesyncd" if new.service("systemd-timesyncd").exists() else "systemd-resolved")


def test_a_unit_that_is_missing_or_does_not_start_says_so(new: VM) -> None:
    missing = new.service("no-such; touch /oops")
    assert missing.state() == ServiceState.MISSING
    with pytest.raises(VMError, match="new has no service no-such"):
        missing.start()
    with pytest.raises(VMError, match="new has no service no-such"):
        missing.stop()
    assert new.ssh(["test", "-e", "/oops"]).code == 1
    new.ssh("printf '[Service]\\nExecStart=/bin/false\\nType=oneshot\\n' >/etc/systemd/system/bad.service")
    with pytest.raises(VMError, match="new: the service bad does not start") as caught:
        new.service("bad").start()
    assert "bad.service" in caught.value.details


def test_the_guest_agent_is_a_service(new: VM) -> None:
    agent = new.guest_agent()
    assert agent.alive()
    assert new.guest_agent() is agent


@pytest.mark.slow
def test_sysvinit_is_found_out_and_init_scripts_start_and_stop(old: VM, old_box: Box) -> None:
    assert isinstance(old.service("ssh"), SysVInitService)
    assert _stored(old_box, "old") == "sysvinit"
    assert old.service("no-such").state() == ServiceState.MISSING
    _starts_and_stops(old, "qemu-guest-agent")
    assert old.guest_agent().alive()
    with pytest.raises(VMError, match="old has no service no-such"):
        old.service("no-such").start()


def test_a_container_comes_before_the_guest_itself(new: VM, module_box: Box) -> None:
    """Installing a container runtime takes minutes: a program that answers as `docker exec` stands for it."""
    new.ssh("cat >/usr/bin/docker && chmod +x /usr/bin/docker && echo inactive >/run/inner", data=DOCKER.encode())
    env = Prefix(str(module_box.prefix)).virt_env
    vm = env.get_vm("new")
    vm.spec = replace(vm.spec, service_provider=None)
    inner = vm.service("inner")
    assert isinstance(inner, SystemdContainerService)
    assert _stored(module_box, "new") == "systemd_container"
    assert inner.state() == ServiceState.INACTIVE
    inner.start()
    assert inner.alive()
    inner.stop()
    assert not inner.alive()
    assert vm.service("ssh").alive(), "a unit of the guest itself"
    assert vm.service("no-such").state() == ServiceState.MISSING
    env.close()


@pytest.mark.slow
def test_a_testers_words_on_a_real_distribution(new: VM, module_box: Box) -> None:
    """Commands at once, waiting for units, copying."""
    with ThreadPoolExecutor(50) as pool:
        said = list(pool.map(lambda n: new.ssh(["echo", str(n)], show_output=False).out, range(50)))
    assert said == [f"{n}\n".encode() for n in range(50)]
    # Some that last.
    with ThreadPoolExecutor(4) as pool:
        lasting = [
            pool.submit(new.succeed, f"touch /root/run{n}; until test -e /root/go; do sleep 0.2; done; echo {n}")
            for n in range(4)
        ]
        new.wait_until_succeeds("test $(ls /root/run? | wc -l) = 4")
        assert not any(one.done() for one in lasting)
        new.succeed("touch /root/go")
        assert [one.result(100) for one in lasting] == [f"{n}\n" for n in range(4)]
    new.wait_for_unit("ssh.service")
    new.succeed("systemd-run --unit=broken false || true")
    began = time.monotonic()
    with pytest.raises(VMError, match=r"new: the unit broken\.service has failed") as caught:
        new.wait_for_unit("broken.service", timeout=100)
    assert time.monotonic() - began < 100
    assert "broken.service" in caught.value.details
    module_box.write("x", "a file")
    new.copy_to(str(module_box.place / "a file"), "/root")
    new.copy_from("/root/a file", str(module_box.place / "came"))
    assert (module_box.place / "came").read_text() == "x"


@pytest.mark.slow
def test_a_real_distribution_boots_again_and_ends(new: VM, module_box: Box) -> None:
    new.succeed("systemd-run --unit=broken false || true")
    assert new.reboot() == "ACPI"
    assert new.succeed("test ! -e /run/systemd/transient/broken.service && hostname") == "new\n"
    module_box.lago("shutdown", "new")
    assert module_box.states() == {"new": "down", "other": "running"}
