"""Guests that learn who they are: by real cloud-init, and by credentials of systemd."""

from __future__ import annotations

import pytest

from .box import Box

CLOUD_INIT = """\
domains:
  ci:
    boot_time_sec: 110
    memory: 512
    vcpu: 1
    nics: [{net: lan}]
    disks: [{template_name: debian12-cloudinit, size: 17G}]
    ssh-user: admin
    files: {/etc/lago/note: {content: "100% of it: yes\\n", mode: "0640"}}
    cloud-init:
      users: [{name: eve}]
      runcmd: [[sh, -c, "echo ran >/etc/ran"]]
nets: {lan: {}}
"""
CREDENTIALS = """\
domains:
  cred:
    boot_time_sec: 110
    memory: 512
    vcpu: 1
    nics: [{net: lan}]
    disks: [{template_name: debian12}]
    ssh-user: admin
    files: {/etc/lago/note: {content: "100% of it: yes\\n", mode: "0640"}}
nets: {lan: {}}
"""


@pytest.fixture
def started(box: Box, request: pytest.FixtureRequest) -> Box:
    """The environment that a test wants, started."""
    box.write(request.param)
    for command in ("init", "start"):
        # Init may build templates.
        box.lago(command, patience=550)
    return box


@pytest.mark.parametrize("started", [CLOUD_INIT], ids=["cloud-init"], indirect=True)
def test_cloud_init_does_what_the_seed_and_the_init_file_say(started: Box) -> None:
    box = started
    assert "status: done" in box.shell("ci", "cloud-init status --wait")
    assert box.shell("ci", "hostname; id -un; sudo id -un") == "ci\nadmin\nroot\n"
    assert box.shell("ci", "sudo stat -c %a /etc/lago/note; sudo cat /etc/lago/note") == "640\n100% of it: yes\n"
    assert box.shell("ci", "cat /etc/ran; getent passwd eve | cut -d: -f1") == "ran\neve\n"
    assert "eth0" in box.shell("ci", "grep -l 54:52:c0:a8:c8:02 -r /etc/systemd/network")
    assert int(box.shell("ci", "df --output=size -BG / | tail -1").strip(" G\n")) >= 16


@pytest.mark.slow
@pytest.mark.parametrize("started", [CREDENTIALS], ids=["credentials"], indirect=True)
def test_credentials_make_a_user_and_files(started: Box) -> None:
    box = started
    assert box.shell("cred", "hostname; id -un; stat -c '%U %a' ~/.ssh/authorized_keys") == "cred\nadmin\nadmin 600\n"
    assert box.shell("cred", "stat -c '%a %U' /etc/lago/note") == "640 root\n"
