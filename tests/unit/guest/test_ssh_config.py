"""An environment as ssh_config, read by the ssh that is here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lago.guest.ssh import Guest
from lago.guest.ssh_config import config


def _guest(name: str, address: str, key: str) -> Guest:
    return Guest(name=name, user="me", address=address, key=key, control="/c", wrap=list)


@pytest.mark.programs
def test_ssh_reads_what_is_meant(tmp_path: Path) -> None:
    prefix = str(tmp_path / "a 'b' 100%")
    text = config([_guest("vm0", "192.168.200.2", f"{prefix}/id_rsa")], prefix, private=True)
    file = tmp_path / "lab.conf"
    file.write_text(text)
    said = subprocess.check_output(["ssh", "-G", "-F", str(file), "vm0"], text=True)
    found = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    assert (found["hostname"], found["user"], found["port"]) == ("192.168.200.2", "me", "22")
    assert found["identityfile"].replace("%%", "%") == f"{prefix}/id_rsa"
    assert found["proxycommand"].endswith("100%%' %h %p")


def test_a_shared_network_needs_no_proxy_and_what_has_no_address_is_left_out() -> None:
    text = config([_guest("a", "10.0.0.1", "/k"), _guest("b", "", "/k")], "/p", private=False)
    assert text.startswith("Host a\n")
    assert "Proxy" not in text
    assert "Host b" not in text
