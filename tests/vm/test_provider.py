"""The example of a provider: a machine that is elsewhere, over real ssh, beside one that is here.

Elsewhere is a host of another environment, on which the example's script starts and stops an ssh server as the machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..users import REPOSITORY
from .box import MINI, ONE, Box, wait_for

EXAMPLE = REPOSITORY / "examples" / "provider"
_CONTROL = "/usr/local/sbin/machine"


@dataclass(frozen=True)
class Elsewhere:
    """A host that has a machine; `ports` of our loopback address lead to those of the host."""

    box: Box
    ports: Mapping[int, int]
    known_hosts: Path
    config: Path

    def says(self, command: str) -> str:
        """What the script there says."""
        return self.box.shell("vm0", f"{_CONTROL} {command}").strip()

    def settings(self, **more: object) -> str:
        """The metadata of a machine that this host has."""
        settings = {
            "host": "lab",
            "options": ["-F", str(self.config)],
            "control": _CONTROL,
            "address": "127.0.0.1",
            "port": self.ports[2222],
            "known-hosts": str(self.known_hosts),
        }
        return json.dumps({"remote": {**settings, **more}})


@pytest.fixture(scope="module")
def elsewhere(module_box: Box) -> Iterator[Elsewhere]:
    """A host that is up, with the script, and reached at ports of this one."""
    module_box.up_warm(ONE)
    module_box.lago("copy-to-vm", "vm0", str(EXAMPLE / "machine.sh"), _CONTROL)
    with module_box.until_interrupted("-f", "json", "forward", "vm0", "22", "2222") as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("]\n"):
            text += process.stdout.readline()
        ports = {one["port"]: one["host_port"] for one in json.loads(text)}
        scan = ["ssh-keyscan", "-p", str(ports[22]), "127.0.0.1"]
        keys = subprocess.run(scan, capture_output=True, text=True, timeout=60, check=True).stdout
        # The machine is known by the key of its host.
        known = module_box.write(keys + keys.replace(f":{ports[22]} ", f":{ports[2222]} "), "known_hosts")
        lines = ["Host lab", "HostName 127.0.0.1", f"Port {ports[22]}", "User root", "StrictHostKeyChecking yes"]
        lines += [f"UserKnownHostsFile {quoted(known)}", f"IdentityFile {quoted(module_box.prefix / 'id_rsa')}"]
        yield Elsewhere(module_box, ports, known, module_box.write("\n".join(lines) + "\n", "lab.conf"))


def quoted(path: Path) -> str:
    """A path as ssh_config(5) has it."""
    from lago.host import ssh_option

    return ssh_option.quote(str(path))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed into a directory."""
    source, target = tmp_path_factory.mktemp("source") / "provider", tmp_path_factory.mktemp("target")
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    argv = [*pip, "--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def here(box: Box, installed: Path) -> Box:
    """A directory whose environments may have machines elsewhere."""
    box.env["PYTHONPATH"] = str(installed)
    return box


def both(settings: str) -> str:
    """An init file with a machine here and one elsewhere."""
    near = MINI % "{net: lan}"
    far = f"{{vm-provider: remote, artifacts: [/srv/machine/result, /no/such], metadata: {settings}}}"
    return f"domains:\n  near: {near}\n  far: {far}\nnets: {{lan: {{}}}}\n"


def alone(settings: str) -> str:
    """An init file with a machine elsewhere only."""
    return f"domains: {{far: {{vm-provider: remote, metadata: {settings}}}}}\nnets: {{lan: {{}}}}\n"


def test_a_machine_elsewhere_is_used_as_one_here(here: Box, elsewhere: Elsewhere) -> None:
    here.write(both(elsewhere.settings()))
    here.lago("init")
    assert here.states() == {"near": "down", "far": "down"}
    assert "far is not running, it is down" in here.lago("shell", "far", "true", code=2).err
    here.lago("start")
    assert here.states() == {"near": "running", "far": "running"}
    assert elsewhere.says("state") == "running"
    assert here.shell("far", "hostname") == "vm0\n"
    assert here.shell("near", "hostname") == "near\n"
    assert here.lago("shell", "far", "exit 7", code=7).err == ""
    here.shell("far", "echo one >/srv/machine/result")

    here.lago("collect", "--output", "out")
    assert (here.place / "out" / "far" / "_srv_machine_result").read_text() == "one\n"
    assert sorted(path.name for path in (here.place / "out" / "far").iterdir()) == ["_srv_machine_result"]
    assert (here.place / "out" / "near" / "console.log").exists()

    here.lago("snapshot", "then")
    here.shell("far", "echo two >/srv/machine/result")
    here.shell("near", "echo two >/root/result")
    here.lago("revert", "then")
    assert here.shell("far", "cat /srv/machine/result") == "one\n"
    here.lago("shell", "near", "test ! -e /root/result")

    here.lago("stop", "far")
    assert here.states() == {"near": "running", "far": "down"}
    assert elsewhere.says("state") == "down"
    assert "far is not running, it is down" in here.lago("shell", "far", "true", code=2).err
    here.lago("start", "far")
    here.lago("stop")
    assert here.states() == {"near": "down", "far": "down"}
    assert elsewhere.says("state") == "down"


def test_without_a_machine_here_nothing_is_started_here(here: Box, elsewhere: Elsewhere) -> None:
    here.write(alone(elsewhere.settings()))
    here.lago("init")
    assert "hypervisor" not in here.lago("start").err
    assert here.supervisor() is None
    assert here.states() == {"far": "running"}
    here.lago("ssh-config", "--output", "far.conf")
    ssh = ["ssh", "-F", "far.conf", "far", "hostname"]
    done = subprocess.run(ssh, cwd=here.place, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "vm0\n"), done.stderr
    inventory = here.lago("ansible_hosts", "-k", "vm-provider").out
    assert "[vm-provider=remote]\nfar " in inventory
    here.lago("shutdown", "--reboot", "far")
    assert here.shell("far", "hostname") == "vm0\n"
    sockets = here.run_dir.parent
    assert list(sockets.glob("*-out"))
    here.lago("destroy", "--yes")
    assert elsewhere.says("state") == "down"
    assert not list(sockets.glob("*-out"))
    # The connection to it is not the environment's own, and ends nevertheless.
    assert wait_for(lambda: not here.mentioned()), here.mentioned()


def test_a_machine_that_is_not_the_one_it_should_be_is_not_logged_in_to(here: Box, elsewhere: Elsewhere) -> None:
    nobody = here.write("", "known_hosts")
    here.write(alone(elsewhere.settings(**{"known-hosts": str(nobody)})))
    here.lago("init")
    said = here.lago("start", code=2).err
    assert "far did not answer ssh: ssh: far: root@127.0.0.1: can't be logged in to" in said
    assert "Host key verification failed" in said
    assert "its vm-provider remote says that it is running" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"control": "/no/such"}, "far: /no/such prepare failed on lab"),
        ({"host": "other"}, "far: /usr/local/sbin/machine prepare failed on other"),
    ],
)
def test_what_is_wrong_elsewhere_is_told_and_nothing_is_left(
    here: Box, elsewhere: Elsewhere, more: Mapping[str, str], said: str
) -> None:
    here.write(alone(elsewhere.settings(**more)))
    assert said in here.lago("init", code=2).err
    assert not here.prefix.exists()


def test_a_host_that_is_gone_is_told_and_keeps_nobody_from_destroying(here: Box, elsewhere: Elsewhere) -> None:
    config = here.write(elsewhere.config.read_text(), "here.conf")
    here.write(alone(elsewhere.settings(options=["-F", str(config)])))
    here.lago("init")
    config.write_text("Host lab\nHostName 127.0.0.1\nPort 1\n")
    done = here.lago("status")
    assert "the state of far can't be asked: far: /usr/local/sbin/machine state failed on lab" in done.err
    assert "unknown" in done.out
    assert "machines elsewhere are left as they are" in here.lago("destroy", "--yes").err
    assert not here.prefix.exists()
