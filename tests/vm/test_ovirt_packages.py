"""`lago ovirt reposetup` and `serve`: packages that machines of an environment really get."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lago.host.files import sha256

from ..ovirt.packages import Maker
from .box import Box, kill, wait_for

ENVIRONMENT = """\
domains:
  engine:
    vm-type: ovirt-engine
    distro: el8
    memory: 128
    vcpu: 1
    disks: [{template_name: mini}]
    nics: [{net: lan}]
nets: {lan: {}}
"""
SERVER = "ovirtlago.packages.server"


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes packages."""
    return Maker(tmp_path_factory.mktemp("rpms"))


@pytest.fixture
def served(module_box: Box, make: Maker) -> Box:
    """A machine runs and a repository is there."""
    module_box.up(ENVIRONMENT)
    if not (module_box.prefix / "internal_repo" / "el8").exists():
        source = make.into(module_box.place / "custom", make.rpm("a", "1.9"), make.rpm("a", "1.10"))
        module_box.lago("ovirt", "reposetup", "--custom-source", str(source))
    return module_box


def said(process: subprocess.Popen[str]) -> Any:
    """The JSON document that a program prints while it goes on."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            return json.loads("".join(lines))
    raise AssertionError(process.stderr and process.stderr.read())


def test_repositories_are_made_before_anything_runs(module_box: Box, make: Maker) -> None:
    module_box.write(ENVIRONMENT)
    module_box.lago("init")
    assert "hint: give --reposync-yum-config" in module_box.lago("ovirt", "reposetup", code=2).err
    source = make.into(module_box.place / "custom", make.rpm("a", "1.9"), make.rpm("a", "1.10"))
    words = ("ovirt", "reposetup", "--custom-source", str(source), "--repoman-config", "x")
    done = module_box.lago("-f", "json", *words)
    path = str(module_box.prefix / "internal_repo" / "el8")
    assert json.loads(done.out) == {"repositories": {"el8": {"packages": 1, "path": path}}, "revisions": {}}
    assert "--repoman-config x is ignored" in done.err
    done = module_box.lago("ovirt", "serve", code=2)
    assert done.err == "lago: the environment is not running\nhint: lago start\n"


def test_machines_and_their_package_manager_get_packages(served: Box, make: Maker, tmp_path: Path) -> None:
    package = make.rpm("a", "1.10")
    with served.until_interrupted("-f", "json", "ovirt", "serve") as process:
        data = said(process)
        url = data["repositories"]["el8"]
        assert url == "http://192.168.200.1:8585/el8/"
        index = served.prefix / "internal_repo" / "el8" / "repodata" / "repomd.xml"
        assert served.shell("engine", f"wget -q -O - {url}repodata/repomd.xml") == index.read_text()
        fetched = served.shell("engine", f"wget -q -O /tmp/a.rpm {url}{package.name} && sha256sum </tmp/a.rpm")
        assert fetched.split()[0] == sha256(str(package))
        config = tmp_path / "dnf.conf"
        config.write_text(data["repo_files"]["el8"])
        install = ("dnf", "-q", "-y", f"--config={config}", f"--installroot={tmp_path}/root", "install", "a")
        served.lago("nsexec", "--", *install, "--setopt=reposdir=/nonexistent")
        done = served.lago("ovirt", "serve", code=2)
        assert "can't be served at 192.168.200.1 port 8585: Address already in use\nhint: packages are" in done.err
    assert (tmp_path / "root" / "opt" / "a").read_text() == "1.10\n"
    assert not [one for one in served.inside().processes() if SERVER in one]


def test_the_server_ends_with_whoever_started_it(served: Box) -> None:
    def servers() -> list[str]:
        return [one for one in served.inside().processes() if SERVER in one]

    with served.popen("-f", "json", "ovirt", "serve") as process:
        said(process)
        assert servers()
        kill(process.pid)
    assert wait_for(lambda: not servers())


def test_the_end_of_the_environment_is_that_of_the_server(served: Box) -> None:
    with served.popen("-f", "json", "ovirt", "serve") as process:
        said(process)
        served.lago("stop")
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.startswith("lago: packages are not served any more: the environment ended\n")
