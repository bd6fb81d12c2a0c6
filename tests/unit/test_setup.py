"""What a clone asks of the machine that it is set up on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this is not Debian"),
]

REPOSITORY = Path(__file__).parents[2]
NETWORK = "libvirt-daemon-driver-network | libvirt-daemon (<< 10.6.0-2~)"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that wants three packages, one of them only since a release."""
    made = tmp_path / "clone"
    made.mkdir()
    shutil.copytree(REPOSITORY / "tools", made / "tools")
    (made / "packages.txt").write_text(f"# why\ngit\nlibvirt-daemon\n{NETWORK}\n")
    return made


def _machine(tmp_path: Path, **installed: str) -> dict[str, str]:
    """The environment in which dpkg knows these packages."""
    admin = tmp_path / "dpkg"
    shutil.rmtree(admin, ignore_errors=True)
    (admin / "updates").mkdir(parents=True)
    (admin / "info").mkdir()
    fields = "Status: install ok installed\nMaintainer: nobody\nArchitecture: all\nDescription: x\n"
    (admin / "status").write_text(
        "".join(
            f"Package: {name.replace('_', '-')}\nVersion: {version}\n{fields}\n" for name, version in installed.items()
        )
    )
    return {**os.environ, "DPKG_ADMINDIR": str(admin)}


def _missing(clone: Path, env: dict[str, str]) -> list[str]:
    program = clone / "tools" / "missing-packages"
    return subprocess.run([program], env=env, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ({}, ["git", "libvirt-daemon", NETWORK]),
        ({"git": "1:2.39", "libvirt_daemon": "9.0.0-4+deb12u2"}, []),
        ({"git": "1:2.47", "libvirt_daemon": "11.3.0-3+deb13u3"}, [NETWORK]),
        ({"git": "1:2.47", "libvirt_daemon": "11.3.0-3", "libvirt_daemon_driver_network": "11.3.0-3"}, []),
    ],
    ids=["nothing", "before the split", "after it", "after it, with the new package"],
)
def test_a_package_that_only_newer_releases_have_is_missing_only_there(
    clone: Path, tmp_path: Path, installed: dict[str, str], missing: list[str]
) -> None:
    assert _missing(clone, _machine(tmp_path, **installed)) == missing


def test_an_ordinary_user_is_told_what_root_has_to_run_from_the_lists_on(clone: Path, tmp_path: Path) -> None:
    # Without a map of ids whoever runs it is not root.
    argv = ["unshare", "--user", str(clone / "tools" / "setup")]
    done = subprocess.run(argv, env=_machine(tmp_path, git="1:2.47"), check=False, capture_output=True, text=True)
    if done.stderr.startswith("unshare:"):
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stdout) == (2, "")
    wanted = f"apt-get update && apt-get satisfy --no-install-recommends 'libvirt-daemon, {NETWORK}'\n"
    assert done.stderr.endswith(wanted)
    assert not (clone / ".venv").exists()


def test_apt_takes_what_is_missing_as_it_is_written(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tools", tmp_path / "tools")
    shutil.copy(REPOSITORY / "packages.txt", tmp_path)
    missing = ", ".join(_missing(tmp_path, _machine(tmp_path)))
    assert NETWORK in missing
    # On a machine that has them all, and needs no lists to know that.
    argv = ["apt-get", "satisfy", "--simulate", "--no-install-recommends", missing]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert "0 newly installed" in done.stdout


@pytest.mark.parametrize(("options", "missing"), [([], ["git", "dnf", "chromium"]), (["--run"], ["git", "dnf"])])
def test_to_run_lago_the_packages_of_its_tests_are_not_asked_for(
    clone: Path, tmp_path: Path, options: list[str], missing: list[str]
) -> None:
    (clone / "packages.txt").write_text(
        "git\ndnf\n\n# --- only for tests and the manual ---\n\n# a browser\nchromium\n"
    )
    program = clone / "tools" / "missing-packages"
    done = subprocess.run(
        [program, *options], env=_machine(tmp_path), check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == missing


def test_the_demo_asks_for_no_browser(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tools", tmp_path / "tools")
    shutil.copy(REPOSITORY / "packages.txt", tmp_path)
    argv = [str(tmp_path / "tools" / "missing-packages"), "--run"]
    done = subprocess.run(argv, env=_machine(tmp_path), check=True, capture_output=True, text=True, timeout=60)
    assert "qemu-system-x86" in done.stdout.splitlines()
    assert "chromium" not in done.stdout.splitlines()
    assert (
        "tools/setup --run"
        in subprocess.run(
            ["make", "-n", "demo"], cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60
        ).stdout
    )


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm")
def test_a_clone_without_a_registry_soon_goes_on_without_the_parts_of_the_page(clone: Path, tmp_path: Path) -> None:
    (clone / "src" / "lago" / "web").mkdir(parents=True)
    # Nothing listens on this port.
    env = {**os.environ, "npm_config_registry": "http://127.0.0.1:9", "npm_config_cache": str(tmp_path / "cache")}
    argv = [sys.executable, str(clone / "tools" / "page-parts"), "--if-possible"]
    done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "lago web has no terminals and no screens without them" in done.stderr
    assert "ECONNREFUSED" in done.stderr
    assert not (clone / "src" / "lago" / "web" / "parts").exists()
