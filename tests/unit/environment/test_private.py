"""What of an environment others on the host may see, and scripts that are told apart."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago.environment import deploy
from lago.paths import Paths
from lago.topology.model import Topology

from ..conftest import ONE_EMPTY, Lago
from ..topology.test_topology import resolved

pytestmark = pytest.mark.programs


@pytest.fixture
def everybody() -> Iterator[None]:
    """The umask that keeps nothing from others."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("everybody")
@pytest.mark.parametrize(("url", "mode"), [("private", 0o700), ("test:///default", 0o755)])
def test_nobody_else_enters_an_environment_of_a_private_hypervisor(
    lago: Lago, tmp_path: Path, url: str, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAGO_LIBVIRT_URL", url)
    monkeypatch.setenv("LAGO_LEASE_DIR", str(tmp_path / "leases"))
    (tmp_path / "LagoInitFile").write_text(ONE_EMPTY)
    lago("init")
    assert stat.S_IMODE((tmp_path / ".lago" / "default").stat().st_mode) == mode
    lago("destroy", "--yes")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize("url", ["private", "test:///default"])
def test_what_is_known_of_machines_is_read_by_nobody_else(
    lago: Lago, tmp_path: Path, url: str, umask: int, monkeypatch: pytest.MonkeyPatch, everybody: None
) -> None:
    monkeypatch.setenv("LAGO_LIBVIRT_URL", url)
    monkeypatch.setenv("LAGO_LEASE_DIR", str(tmp_path / "leases"))
    (tmp_path / "LagoInitFile").write_text(ONE_EMPTY)
    os.umask(umask)
    lago("init")
    prefix = tmp_path / ".lago" / "default"
    modes = {str(path.relative_to(prefix)): stat.S_IMODE(path.stat().st_mode) for path in prefix.rglob("*")}
    # QEMU may be another user's.
    for_others = {"id_rsa.pub", "images", "logs", *(name for name in modes if name.startswith("images/"))}
    assert {"virt", "metadata", "uuid", "logs/lago.log"} <= {*modes}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077 and name not in for_others} == {}
    assert not [name for name, mode in modes.items() if mode & 0o022]
    assert not everybody
    lago("destroy", "--yes")


def gathered(paths: Paths, *scripts: Path) -> list[str]:
    machines = ", ".join(
        f"vm{n}: {{metadata: {{deploy-scripts: [{json.dumps(str(path))}]}}}}" for n, path in enumerate(scripts)
    )
    topology: Topology = deploy.gather(resolved(f"domains: {{{machines}}}"), paths, {})
    return [path for domain in topology.domains.values() for path in deploy.scripts(domain, paths, deploy.KEYS)]


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_scripts_of_places_that_look_alike_are_two(tmp_path: Path) -> None:
    one, two = script(tmp_path / "a_b" / "c.sh", "one"), script(tmp_path / "a" / "b_c.sh", "two")
    found = gathered(Paths(str(tmp_path / "prefix")), one, two, one)
    assert [Path(path).read_text() for path in found] == ["one", "two", "one"]
    assert found[0] == found[2] != found[1]


def test_a_script_of_a_long_path_is_stored(tmp_path: Path) -> None:
    long = script(tmp_path / ("d" * 150) / ("e" * 150) / "end.sh", "long")
    other = script(tmp_path / ("f" * 150) / ("e" * 150) / "end.sh", "other")
    found = gathered(Paths(str(tmp_path / "prefix")), long, other)
    assert [Path(path).read_text() for path in found] == ["long", "other"]
    assert all(path.endswith("_end.sh") for path in found)


def test_a_script_that_nobody_else_reads_is_kept_from_others(tmp_path: Path) -> None:
    found = gathered(Paths(str(tmp_path / "prefix")), script(tmp_path / "s.sh", "x", 0o500))
    assert stat.S_IMODE(os.stat(found[0]).st_mode) == 0o700
