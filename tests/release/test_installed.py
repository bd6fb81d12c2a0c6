"""Packages of this repository, installed by the package managers, and run."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ..users import REPOSITORY
from ..vm.box import ONE, Box
from .conftest import History

_NAME = "lago-2.0.1"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# Layers over the host's own directories, seen by what runs in it and gone with it.
_LAYERS = """
set -e
mount -t tmpfs layers "$1"
# Relative, as commas, colons and quotes in the option have a meaning.
cd "$1"
for name in usr etc var; do
    mkdir "$name" "$name.work"
    mount -t overlay layer -o "lowerdir=/$name,upperdir=$name,workdir=$name.work" "/$name"
done
cd "$OLDPWD"
# An index of all man pages of the host takes longer than all else.
rm -f /var/lib/man-db/auto-update
"""
_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount layers and install packages")


def _one(packages: Path, pattern: str) -> Path:
    [found] = packages.glob(pattern)
    return found


def _clean() -> dict[str, str]:
    """An environment that leads to nothing of the working copy."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}, "PATH": _PATH}


def _bash(script: str, *words: str, cwd: Path) -> str:
    argv = ["unshare", "--mount", "bash", "-c", script, "bash", *words]
    done = subprocess.run(argv, cwd=cwd, env=_clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_all_packages_are_there(packages: Path) -> None:
    release = _one(packages, "rpm/*/*.rpm").name.removeprefix(f"{_NAME}-").removesuffix(".noarch.rpm")
    assert sorted(str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()) == [
        "ChangeLog_2.0.txt",
        f"deb/test1/lago_2.0.1-{release}_all.deb",
        f"python/{_NAME}-py3-none-any.whl",
        f"rpm/test1/{_NAME}-{release}.noarch.rpm",
        f"sources/{_NAME}-{release}.src.rpm",
        f"sources/{_NAME}.tar.gz",
    ]


def test_the_sdist_has_what_building_and_testing_need(packages: Path, lago_history: History) -> None:
    with tarfile.open(_one(packages, "sources/*.tar.gz")) as archive:
        names = {name.removeprefix(f"{_NAME}/") for name in archive.getnames()}
        change = archive.extractfile(f"{_NAME}/ChangeLog")
        assert change is not None
        assert b"Something new at 100%\n    SEM-VER: feature\n    FIXED BUGS: BZ#7\n" in change.read()
    listed = set(lago_history.git("ls-files").splitlines())
    assert listed - names == {".git_archival.txt", ".gitattributes", ".gitignore"}


def test_the_wheel_installs(packages: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", system_site_packages=False, with_pip=False)
    [modules] = tmp_path.glob("venv/lib/python3.*/site-packages")
    with zipfile.ZipFile(_one(packages, "python/*.whl")) as wheel:
        mode = wheel.getinfo("lago/guest/askpass").external_attr >> 16
        _has_the_viewer(wheel.namelist())
        wheel.extractall(modules)
    assert mode & 0o111 == 0o111, "ssh runs it as a program"
    argv = [str(tmp_path / "venv/bin/python"), "-I", "-m", "lago", "--version"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "lago 2.0.1\n"


def _has_the_viewer(names: Iterable[str]) -> None:
    """Among names of files are those that pages of reports are made of."""
    ours = {path.name for path in REPOSITORY.joinpath("src", "lago", "report", "page").iterdir() if path.is_file()}
    assert len(ours) > 20
    assert {name.rpartition("/")[2] for name in names if "/lago/report/page/" in f"/{name}"} >= ours


def test_the_wheel_has_what_the_page_shows_terminals_and_screens_with_and_its_licences(packages: Path) -> None:
    with zipfile.ZipFile(_one(packages, "python/*.whl")) as wheel:
        names = {name.removeprefix("lago/web/") for name in wheel.namelist()}
    assert {"page/web.js", "page/web.css"} <= names
    parts = {name.removeprefix("parts/") for name in names if name.startswith("parts/")}
    assert {"xterm/xterm.js", "xterm/xterm.css", "xterm/LICENSE"} <= parts
    assert {"xterm-fit/addon-fit.js", "xterm-fit/LICENSE", "versions"} <= parts
    assert {"novnc/core/rfb.js", "novnc/LICENSE.txt", "novnc/LICENSE.MPL-2.0"} <= parts
    assert any(name.startswith("novnc/vendor/pako/") for name in parts)


def test_a_wheel_from_the_sdist_alone_has_the_version(packages: Path, tmp_path: Path) -> None:
    with tarfile.open(_one(packages, "sources/*.tar.gz")) as archive:
        archive.extractall(tmp_path)
    argv = [sys.executable, "setup.py", "--version"]
    done = subprocess.run(argv, cwd=tmp_path / _NAME, capture_output=True, text=True, check=True)
    assert done.stdout == "2.0.1\n"


@_as_root
def test_the_debian_package_is_installed_and_removed(packages: Path, tmp_path: Path) -> None:
    script = """
    dpkg --install "$2" >&2
    lago --version
    lagocli --version
    dpkg --verify lago
    dpkg-query --show --showformat '${Package} ${Version}\n' lago
    cd /usr/lib/python3/dist-packages
    test -e lago/__pycache__
    dpkg --purge lago >&2
    ls -d lago* /usr/bin/lago* /usr/share/doc/lago /usr/share/man/man?/lago* 2>/dev/null || true
    """
    package = _one(packages, "deb/*/*.deb")
    said = _bash(_LAYERS + script, str(tmp_path), str(package), cwd=tmp_path)
    assert said == f"lago 2.0.1\nlago 2.0.1\n{package.name.removesuffix('_all.deb').replace('_', ' ')}\n"
    assert not Path("/usr/bin/lagocli").exists()


@_as_root
def test_the_rpm_is_installed_and_removed(packages: Path, tmp_path: Path) -> None:
    script = """
    # The directories of the host are below its own, so that its programs are there; rpm's database is new.
    rpm --dbpath "$1/db" --initdb
    rpm --dbpath "$1/db" --install --nodeps "$2"
    export PYTHONPATH=/usr/lib/python$3/site-packages
    lago --version
    lagocli --version
    rpm --dbpath "$1/db" --verify --nodeps lago
    rpm --dbpath "$1/db" --query lago
    rpm --dbpath "$1/db" --erase lago
    ls -d "$PYTHONPATH"/lago* /usr/bin/lago* /usr/share/man/man?/lago* 2>/dev/null || true
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    package = _one(packages, "rpm/*/*.rpm")
    said = _bash(_LAYERS + script, str(tmp_path), str(package), version, cwd=tmp_path)
    assert said == f"lago 2.0.1\nlago 2.0.1\n{package.name.removesuffix('.rpm')}\n"


def test_packages_have_man_pages_of_their_version(packages: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", _one(packages, "deb/*/*.deb"), tmp_path / "deb"], check=True)
    argv = ["rpm", "--query", "--package", "--list", str(_one(packages, "rpm/*/*.rpm"))]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    for page in ("man1/lago.1", "man5/lago-initfile.5"):
        content = gzip.decompress((tmp_path / "deb/usr/share/man" / f"{page}.gz").read_bytes()).decode()
        assert re.search(r'^\.TH "LAGO.*" "[15]" "Nov 14, 2023" "2\.0\.1" "Lago"$', content, re.MULTILINE)
        assert f"/usr/share/man/{page}" in listed


def test_packages_have_what_pages_of_reports_are_made_of(packages: Path) -> None:
    for *argv, pattern in (["dpkg-deb", "--contents", "deb/*/*.deb"], ["rpm", "-q", "-p", "--list", "rpm/*/*.rpm"]):
        listed = subprocess.run([*argv, _one(packages, pattern)], capture_output=True, text=True, check=True).stdout
        _has_the_viewer(line.split()[-1] for line in listed.splitlines())


def test_the_rpm_has_its_changelog(packages: Path) -> None:
    argv = ["rpm", "--query", "--package", "--changelog", str(_one(packages, "rpm/*/*.rpm"))]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.startswith("* Tue Nov 14 2023 Ada Example <ada@example.org> - 2.0.1-1\n")
    assert "Something new at 100% BZ#7\n" in said


@pytest.fixture
def installed(packages: Path, tmp_path: Path, store: Path) -> Iterator[Box]:
    """A box whose `lago` is that of the Debian package; `/usr` is the host's with the package over it."""
    tree = tmp_path / "package"
    subprocess.run(["dpkg-deb", "--extract", _one(packages, "deb/*/*.deb"), tree], check=True)
    script = '(cd "$1" && mount -t overlay layer -o lowerdir=usr:/usr /usr) && shift && exec "$@"'
    place = tmp_path / "box"
    place.mkdir()
    box = Box(place, env=_clean(), wrap=["unshare", "--mount", "sh", "-c", script, "sh", str(tree)])
    yield box
    box.close()


@pytest.mark.vm
@_as_root
def test_a_machine_runs_from_the_installed_package(installed: Box) -> None:
    where = subprocess.run(
        installed.argv("/usr/bin/python3", "-Ic", "import lago; print(lago.__file__, lago.__version__)"),
        env=installed.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout == "/usr/lib/python3/dist-packages/lago/__init__.py 2.0.1\n"
    installed.up(ONE)
    assert installed.shell("vm0", "echo $((6 * 7))").strip() == "42"
    supervisor = installed.supervisor()
    assert supervisor is not None
    assert Path(f"/proc/{supervisor}/exe").resolve().parent == Path("/usr/bin")
    installed.lago("destroy", "--yes")
