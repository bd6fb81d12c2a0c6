"""A script as people wrote it for earlier releases, with real guests: every command, and every option of each."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lago import templates
from lago.templates.repository import EMBEDDED

from .box import Box

INIT_FILE = """\
domains:
  vm0:
    memory: 128
    vcpu: 1
    nics: [{net: lan}]
    disks: [{template_name: mini, type: template, name: root, dev: vda, format: qcow2}]
    artifacts: [/etc/hostname]
    groups: [web]
    metadata: {deploy-scripts: ["$LAGO_INITFILE_PATH/setup.sh"]}
  vm1:
    memory: 128
    vcpu: 1
    nics: [{net: lan}]
    disks: [{template_name: mini, type: template, name: root, dev: vda, format: qcow2}]
nets: {lan: {type: nat, management: true, dhcp: {start: 100, end: 254}}}
"""

SCRIPT = """\
set -ex
lago --version
lago generate-config > generated.conf
lago generate-config --verbose > verbose.conf

# All options that there are, at once.
lago --loglevel debug --logdepth -1 --out-format default --workdir-path "$PWD/deployment" --prefix-name first \\
    --ssh-user root --ssh-password 123456 --ssh-tries 100 --ssh-timeout 10 \\
    --default_vm_type default --default_vm_provider local-libvirt --default_root_password 123456 \\
    --libvirt-user nobody --libvirt-password none \\
    --lease_dir "$PWD/leases" --reposync-dir "$PWD/rpms" --ignore-warnings \\
    init --template-repo-path "$REPOSITORY" --template-repo-name lago --template-store "$STORE" \\
    --template-repos "$PWD/repos" --set-current --skip-build deployment LagoInitFile
# Without any: a second prefix beside it, then one that is not prepared.
lago -P second init --skip-bootstrap --skip-build deployment LagoInitFile
lago -w deployment list
lago list deployment
cd deployment
lago set-current first
lago status
lago -f flat status | grep '^VMs/vm0/root password: 123456$'
lago -f json status > ../status.json
lago -f yaml status > ../status.yaml

lago start vm0
lago start
lagocli status | grep 'status: running'
lago shell vm0 hostname
lago shell vm0 -c 'echo $((6 * 7)) > /root/answer'
echo 'cat /root/answer; exit 3' > ../script.sh
code=0; lago shell vm0 ../script.sh || code=$?; test $code = 3
echo 'echo from stdin' | lago shell vm0
lago copy-to-vm vm0 ../script.sh /root/script.sh
lago copy-from-vm vm0 /root/answer ../answer
test "$(cat ../answer)" = 42
lago deploy
test "$(lago shell vm0 cat /root/deployed)" = yes
lago ansible_hosts | grep '^vm0 ansible_host='
lago ansible_hosts --keys vm-type groups
lago -l error ansible_hosts -k groups | grep -Fx '[web]'
lago collect --output ../artifacts
lago collect --output ../artifacts --no-skip
test "$(cat ../artifacts/vm0/_etc_hostname)" = vm0
lago snapshot clean
lago snapshot --list
lago -f json snapshot -l > ../snapshots.json
lago shell vm0 rm /root/answer
lago revert clean
lago shell vm0 cat /root/answer
lago shutdown --reboot vm0
lago shutdown -r vm0 vm1
lago shutdown vm1
lago stop vm0
lago stop
lago export --collect-only
lago export --vm-names vm0 --standalone --compress --dst-dir ../exported --init-file-name Exported --without-threads
test -s ../exported/Exported
cd ..
(cd exported; lago init again Exported)

# Of another directory.
lago --prefix-path deployment/second cleanup 2>&1 | grep 'Stop prefix'
lago --workdir-path deployment --prefix-name first destroy --yes 2>&1 | grep 'Stop prefix'
lago -w deployment destroy -y --all-prefixes
yes | (cd exported; lago -w again destroy)
test ! -e deployment
test ! -e exported/again
"""


@pytest.fixture(autouse=True)
def files(box: Box) -> None:
    """What the scripts need."""
    box.write(INIT_FILE)
    box.write("#!/bin/bash\necho yes > /root/deployed\n", "setup.sh")
    box.env["REPOSITORY"] = EMBEDDED
    box.env["STORE"] = templates.default_store().path


def run(box: Box, script: str, shell: str = "bash") -> subprocess.CompletedProcess[str]:
    """Run a script where the init file is, and see that it ends well."""
    path = box.write(script, "test.sh")
    argv = box.argv(shell, str(path))
    done = subprocess.run(
        argv, cwd=box.place, env=box.environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.timeout(1000)
def test_a_script_for_release_1_0_does_all_that_it_did(box: Box) -> None:
    done = run(box, SCRIPT)
    assert "42\n" in done.stdout
    assert "from stdin\n" in done.stdout
    assert "wait_suspend" not in done.stderr


FIRST = """\
set -e
lagocli init prefix LagoInitFile --template-repo-path "$REPOSITORY" --template-store "$STORE"
cd prefix
lagocli start
lagocli copy-to-vm vm0 ../setup.sh /root/setup.sh
lagocli shell vm0 -c bash /root/setup.sh
lagocli copy-from-vm vm0 /root/deployed ../deployed
lagocli shell vm0 ../setup.sh
lagocli snapshot fresh
lagocli revert fresh
lagocli status
lagocli stop
lagocli cleanup
"""


@pytest.mark.slow
def test_a_script_for_release_0_3_does_all_that_it_did(box: Box) -> None:
    try:
        assert "status: running" in run(box, FIRST, "sh").stdout
        assert (box.place / "deployed").read_text() == "yes\n"
        assert not list(Path(box.place, "prefix").glob("*/initialized"))
    finally:
        box.lago("-w", "prefix", "destroy", "--all-prefixes", "--yes")
