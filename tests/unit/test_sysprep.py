"""What each mod of `lago.sysprep` does, in words of virt-sysprep."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from lago import sysprep
from lago.guestfs import customize, programs


def test_mods_that_are_options_of_virt_sysprep() -> None:
    assert sysprep.set_hostname("vm0") == ("--hostname", "vm0")
    assert sysprep.set_root_password("s3cret") == ("--root-password", "password:s3cret")


def test_add_ssh_key_makes_the_directory_and_gives_the_key_to_root(tmp_path: Path) -> None:
    key = tmp_path / "id_rsa.pub"
    key.write_text("ssh-ed25519 AAAA\n")
    os.chmod(key, 0o644)
    mod = sysprep.add_ssh_key(str(key))
    assert mod[:4] == ("--mkdir", "/root/.ssh", "--chmod", "0700:/root/.ssh")
    assert mod[4:6] == ("--upload", f"{key}:/root/.ssh/authorized_keys")
    assert ("chown 0:0 /root/.ssh/authorized_keys" in mod) == (os.geteuid() != 0)
    assert "restorecon -R /root/.ssh" not in mod
    assert sysprep.add_ssh_key(str(key), with_restorecon_fix=True)[-2:] == (
        "--firstboot-command",
        "restorecon -R /root/.ssh",
    )


def test_a_key_whose_path_has_a_colon_is_given_by_its_text(tmp_path: Path) -> None:
    key = tmp_path / "a:b" / "id_rsa.pub"
    key.parent.mkdir()
    key.write_text("ssh-ed25519 AAAA lago\n")
    words = sysprep.add_ssh_key(str(key))
    assert words[4:6] == ("--write", "/root/.ssh/authorized_keys:ssh-ed25519 AAAA lago\n")
    words = tuple(customize.arguments({"ssh-inject": []}, str(key)))
    assert words == ("--ssh-inject", "root:string:ssh-ed25519 AAAA lago")


def test_mods_that_write_a_file() -> None:
    assert sysprep.set_iscsi_initiator_name("iqn.2014-07.org.lago:vm0") == (
        "--mkdir",
        "/etc/iscsi",
        "--chmod",
        "0755:/etc/iscsi",
        "--write",
        "/etc/iscsi/initiatorname.iscsi:InitiatorName=iqn.2014-07.org.lago:vm0\n",
    )
    assert sysprep.set_selinux_mode("enforcing")[-1] == "/etc/selinux/config:SELINUX=enforcing\nSELINUXTYPE=targeted\n"
    path, _, content = sysprep.config_net_interface_dhcp("eth0", "54:52:c0:a8:c8:02")[-1].partition(":")
    assert path == "/etc/sysconfig/network-scripts/ifcfg-eth0"
    assert content.splitlines()[-1] == 'HWADDR="54:52:c0:a8:c8:02"'


def test_sysprep_applies_all_mods_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(programs, "run_program", lambda argv, **_: ran.append(argv))
    sysprep.sysprep("/images/x", [sysprep.set_hostname("a"), ("--upload", "b:c")])
    program = ["virt-sysprep", "--quiet", "-a", "/images/x", "--selinux-relabel"]
    assert ran == [[*program, "--hostname", "a", "--upload", "b:c"]]


def test_options_of_a_builder_become_words() -> None:
    options = {"v": [], "install": ["a,b", "c"], "ssh-inject": [], "m": ["512"]}
    words = ["-v", "--install", "a,b", "--install", "c", "--ssh-inject", "root:file:/id.pub", "-m", "512"]
    assert customize.arguments(options, "/id.pub") == words


def test_passwords_are_in_files_that_nobody_else_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    joe = ("--password", "joe:password:a:password:b")
    words = [*sysprep.set_root_password("s3cret"), *joe, "--root-password", "random"]
    with sysprep.secret_words(["--write", "/x:password:y", *words]) as found:
        assert found[:2] == ["--write", "/x:password:y"]
        paths = [found[3].removeprefix("file:"), found[5].removeprefix("joe:file:")]
        assert [Path(path).read_text() for path in paths] == ["s3cret\n", "a:password:b\n"]
        assert {os.stat(path).st_mode & 0o777 for path in paths} == {0o600}
        assert os.stat(os.path.dirname(paths[0])).st_mode & 0o777 == 0o700
        assert found[6:] == ["--root-password", "random"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.programs
def test_no_password_is_an_argument_or_in_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "virt-sysprep"
    program.write_text('#!/bin/sh\necho "$@" >"$0.asked"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(programs, "environment", lambda: {"LIBGUESTFS_CACHEDIR": str(tmp_path)})
    caplog.set_level("DEBUG", "lago")
    sysprep.sysprep("disk", [sysprep.set_root_password("s3cret")], "raw")
    asked = (tmp_path / "virt-sysprep.asked").read_text()
    assert "--root-password file:/" in asked
    assert "virt-sysprep" in caplog.text
    assert "s3cret" not in caplog.text + asked
