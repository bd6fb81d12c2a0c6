"""What scripts for earlier releases say, as far as no guest is needed: words, options, variables and old files."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lago import __version__, config
from lago.cli.main import build_parser

from ..conftest import Lago, make_prefix

GLOBAL = (
    "--loglevel debug --logdepth -1 --out-format json --prefix-path p --workdir-path w --prefix-name n --ssh-user u "
    "--ssh-password pw --ssh-tries 100 --ssh-timeout 10 --libvirt_url qemu:///system --libvirt-user bob "
    "--libvirt-password secret --default_vm_type default --default_vm_provider local-libvirt "
    "--default_root_password root --lease_dir /leases --reposync-dir /repos --ignore-warnings"
)
"""All global options of release 1.0; they may be combined."""

EVERY_COMMAND = {
    "init": "--template-repo-path r --template-repo-name n --template-store s --template-repos d --set-current "
    "--skip-bootstrap --skip-build workdir LagoInitFile",
    "cleanup": "",
    "destroy": "--all-prefixes --yes",
    "start": "vm0 vm1",
    "stop": "vm0 vm1",
    "shutdown": "vm0 vm1 --reboot",
    "snapshot": "clean",
    "revert": "clean",
    "shell": "vm0 -c true",
    "console": "vm0",
    "ansible_hosts": "--keys vm-type groups vm-provider",
    "status": "",
    "list": "workdir",
    "copy-from-vm": "vm0 /remote local",
    "copy-to-vm": "vm0 local /remote",
    "collect": "--output out --no-skip",
    "deploy": "",
    "generate-config": "--verbose",
    "export": "--vm-names vm0 vm1 --standalone --compress --dst-dir d --init-file-name F --collect-only "
    "--without-threads",
    "set-current": "prefix",
}
"""All commands of release 1.0 with all their options; there is no other that excludes one of them."""

SHORT = {
    "destroy": "-y",
    "shutdown": "-r",
    "snapshot": "-l",
    "ansible_hosts": "-k groups",
    "export": "-n vm0 -s -c -d d",
}

SEEN = """\
--ignore-warnings --workdir w status
--loglevel debug --logdepth -1 destroy --yes
--loglevel debug ovirt deploy
--loglevel=debug --logdepth=5 init LagoInitFile
--loglevel=error collect --no-skip --output out
--out-format flat ovirt status
--out-format json snapshot --list
--out-format yaml export --dst-dir d --standalone
--out-format=flat status
--prefix-name n init --template-repo-path r --template-repo-name n --template-store s --set-current LagoInitFile
--prefix-name n init --template-repo-path r --template-repo-name n --template-store s --skip-bootstrap w LagoInitFile
--workdir w ansible_hosts
--workdir w destroy -y --all-prefixes
-l debug init --template-repo-path=r.json w env.json
collect --no-skip --output out
copy-from-vm vm0 ~/a.tar.gz .
copy-to-vm vm0 a.repo /etc/yum.repos.d
init w env.json --template-repo-path r.json
init w env.json --template-repo-path=http://example.org/repo.metadata
ovirt -h
ovirt --version
ovirt collect --output out
ovirt deploy
ovirt engine-setup --config=answers.conf
ovirt reposetup
ovirt reposetup --custom-source dir:/exports
ovirt reposetup --reposync-yum-config /dev/null --custom-source rec:file:///exports
ovirt reposetup --reposync-yum-config reposync.repo --custom-source conf:extra
ovirt reposetup --reposync-yum-config=reposync.repo
ovirt revert clean
ovirt runtest 001_test.py
ovirt runtest 001_test.py --junitxml-file 001.xml
ovirt runtest --junitxml-file 001.xml 001_test.py
ovirt serve
ovirt snapshot clean
ovirt start
ovirt stop
shell vm0
shell vm0 -c 'mount -t tmpfs tmpfs /mnt'
shell vm0 /root/setup.sh -x --yes
shell vm0 'rm -rf /tmp/a'
shell vm0 rm -rf /tmp/a
shell vm0 sshpass -p secret ssh-copy-id -o StrictHostKeyChecking=no -i /etc/ssh/key host
start vm0
stop vm0 vm1
"""
"""The forms in which scripts of several projects call it, as far as they differ."""

CONFIGURATION = """\
# Lago configuration, generated: Thu Mar 19 10:00:00 2020
[lago]
# default loglevel
loglevel = info
logdepth = 3
out_format = default
prefix_name = current
ssh_user = root
ssh_password = 123456
ssh_tries = 100
ssh_timeout = 10
libvirt_url = qemu:///system
default_vm_type = default
default_vm_provider = local-libvirt
lease_dir = /var/lib/lago/subnets
reposync_dir = /var/lib/lago
#libvirt_user = None

[ansible_hosts]
keys = ['vm-type', 'groups', 'vm-provider']

[export]
dst_dir = .
init_file_name = LagoInitFile

[init]
template_repo_path = http://templates.ovirt.org/repo/repo.metadata
template_store = /var/lib/lago/store
template_repos = /var/lib/lago/repos

[start]
wait_suspend = 2
"""
"""As `generate-config` of release 1.0 wrote it, which people edited and kept."""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """The current prefix of a workdir where we are."""
    made = make_prefix(tmp_path / ".lago" / "default")
    (tmp_path / ".lago" / "current").symlink_to("default")
    return made


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_every_command_takes_all_its_options_after_all_global_ones(command: str) -> None:
    for words in filter(None, (EVERY_COMMAND[command] or " ", SHORT.get(command))):
        args = build_parser()[0].parse_args([*GLOBAL.split(), command, *words.split()])
        assert (args.command, args.libvirt_url, args.logdepth, args.reposync_dir) == (
            command,
            "qemu:///system",
            -1,
            "/repos",
        )


@pytest.mark.parametrize("line", SEEN.splitlines())
def test_every_form_of_call_that_was_seen_in_scripts_is_taken(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser(None)[0]
    words = shlex.split(line)
    if words[-1] in ("-h", "--version"):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(words)
        assert ended.value.code == 0
        assert "lago ovirt" in capsys.readouterr().out
    else:
        assert parser.parse_args(words).command in words


def test_short_global_options_and_the_beginnings_of_long_ones_are_taken(lago: Lago, prefix: Path) -> None:
    assert lago("-l", "error", "-f", "flat", "-p", str(prefix), "status").startswith(f"Base directory: {prefix}\n")
    assert (
        lago("-l", "error", "-f", "json", "-w", str(prefix.parent), "-P", "default", "list") == '[\n    "default"\n]\n'
    )
    assert lago("--workdir", str(prefix.parent), "list") == "default\n"
    assert lago("--version") == f"lago {__version__}\n"


def test_release_0_12_wanted_to_be_told_what_to_list(lago: Lago, prefix: Path, tmp_path: Path) -> None:
    for words in (["envs"], ["prefixes"], ["prefixes", ".lago"]):
        assert lago.both("list", *words) == ("default\n", "")
    make_prefix(tmp_path / "prefixes" / "one")
    (tmp_path / "prefixes" / "current").symlink_to("one")
    assert lago("list", "prefixes") == "one\n", "a directory of that name is one"
    assert "list takes one workdir, not 2" in lago.both("list", "a", "b", code=2)[1]


@pytest.mark.programs
@pytest.mark.parametrize(("says", "code"), [("y\n", 0), ("yes\n", 0), ("n\n", 2), ("", 2)])
def test_a_script_may_answer_destroy_by_a_pipe(prefix: Path, tmp_path: Path, says: str, code: int) -> None:
    argv = [sys.executable, "-m", "lago", "destroy"]
    done = subprocess.run(argv, cwd=tmp_path, input=says, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert prefix.exists() is (code != 0)


def test_a_configuration_that_release_1_0_wrote_is_read(
    lago: Lago, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config" / "lago").mkdir(parents=True)
    (tmp_path / "config" / "lago" / "lago.conf").write_text(CONFIGURATION)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert lago.both("list") == ("default\n", "")
    parser = build_parser(None)[0]
    assert parser.parse_args(["ansible_hosts"]).keys == ["vm-type", "groups", "vm-provider"]
    assert parser.parse_args(["init"]).template_store == "/var/lib/lago/store"
    assert (config.get("ssh_tries"), config.get("libvirt_url")) == (100, "qemu:///system")
    assert config.get("reposync_dir") == "/var/lib/lago"


def test_what_has_no_meaning_any_more_is_told_once(lago: Lago, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO__START__WAIT_SUSPEND", "5")
    assert lago.both("list")[1] == ""
    _, err = lago.both("start", "nobody", code=2)
    told = "environment variable LAGO__START__WAIT_SUSPEND: wait_suspend has no meaning any more: "
    assert err.count(told) == 1
    assert "machines are never suspended at their start" in err


def test_configuration_files_of_the_earliest_releases_are_read_and_count_least(
    lago: Lago, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".config" / "lago").mkdir(parents=True)
    (tmp_path / "lago.d").mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "LAGO_TEMPLATE_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config, "_EARLIEST", str(tmp_path / "lago.d"))
    (tmp_path / "lago.d" / "b.conf").write_text("[lago]\nlog_level = debug\ntemplate_store = /b\nssh_user = b\n")
    (tmp_path / "lago.d" / "a.conf").write_text("[lago]\ntemplate_store = /a\n")
    (tmp_path / "lago.d" / "other.txt").write_text("no configuration")
    assert (config.get("loglevel"), config.get("template_store")) == ("debug", "/b")
    (home / ".lago").write_text("[lago]\ntemplate_store = /own\ntemplate_default_repo = office\n")
    assert (config.get("template_store"), config.get("template_repo_name")) == ("/own", "office")
    (home / ".config" / "lago" / "lago.conf").write_text("[lago]\ntemplate_store = /today\n")
    assert (config.get("template_store"), config.get("ssh_user")) == ("/today", "b")
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", "/environment")
    assert config.get("template_store") == "/environment"
    (home / ".lago").unlink()
    (home / ".lago").mkdir()
    assert config.get("template_repo_name") == "", "a workdir is no file of settings"


@pytest.mark.programs
def test_a_program_beside_lago_is_a_command_as_in_the_earliest_releases(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("lagocli-own", "lagocli-list"):
        (tmp_path / "bin" / name).write_text('#!/bin/sh\necho "$LAGO_PROG_NAME:" "$@"\nexit 7\n')
        (tmp_path / "bin" / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([*words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    for program in ("lago", "lagocli"):
        assert run(program, "own", "--help", "-x", "a b") == (7, "lagocli own: --help -x a b\n")
        assert run(program, "list") == (0, "default\n"), "our own commands stay"
        assert run(program, "other") == (2, "")


STATUS = """\
[Prefix]:
    Base directory: PREFIX
    [Networks]:
        [n0]:
            gateway: 192.168.201.1
            management: True
            status: down
        [n1]:
            management: False
            status: down
    UUID: 55555555555555555555555555555555
    [VMs]:
        [vm0]:
            [NICs]:
                [eth0]:
                    ip: 192.168.201.2
                    network: n0
                [eth1]:
                    ip: N/A
                    network: n1
            distro: cirros
            root password: 123456
            status: down
"""
FLAT = """\
Base directory: PREFIX
Networks/n0/gateway: 192.168.201.1
Networks/n0/management: True
Networks/n0/status: down
Networks/n1/gateway: None
Networks/n1/management: False
Networks/n1/status: down
UUID: 55555555555555555555555555555555
VMs/vm0/NICs/eth0/ip: 192.168.201.2
VMs/vm0/NICs/eth0/network: n0
VMs/vm0/NICs/eth1/ip: N/A
VMs/vm0/NICs/eth1/network: n1
VMs/vm0/distro: cirros
VMs/vm0/root password: 123456
VMs/vm0/snapshots:\x20
VMs/vm0/status: down
"""
YAML = """\
Prefix:
  Base directory: PREFIX
  Networks:
    n0:
      gateway: 192.168.201.1
      management: true
      status: down
    n1:
      gateway: null
      management: false
      status: down
  UUID: '55555555555555555555555555555555'
  VMs:
    vm0:
      NICs:
        eth0:
          ip: 192.168.201.2
          network: n0
        eth1:
          ip: N/A
          network: n1
      distro: cirros
      metadata: {}
      root password: '123456'
      snapshots: ''
      status: down
"""


def test_status_is_as_release_1_0_printed_it(lago: Lago, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("s") / "default"
    disk = "{type: empty, size: 1G, format: qcow2}"
    vm = f"{{distro: cirros, nics: [{{net: n0}}, {{net: n1}}], disks: [{disk}]}}"
    nets = "{n0: {management: true, gw: 192.168.201.1}, n1: {type: bridge}}"
    path = make_prefix(place, f"domains: {{vm0: {vm}}}\nnets: {nets}\n")

    def said(format_: str) -> str:
        return lago("-p", str(path), "-f", format_, "status").replace(str(path), "PREFIX")

    assert said("default") == STATUS
    # Programs that read data take no harm from a line more: the name that the guest has.
    assert "VMs/vm0/host name: vm0\n" in said("flat")
    for format_, expected in (("flat", FLAT), ("yaml", YAML)):
        lines = said(format_).splitlines(keepends=True)
        assert "".join(line for line in lines if "host name: " not in line) == expected
    text = said("json")
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=4) + "\n"
    vm_data = json.loads(text)["Prefix"]["VMs"]["vm0"]
    assert (vm_data["metadata"], vm_data["snapshots"], vm_data["root password"]) == ({}, "", "123456")
