"""Packages of a commit: wheel, sdist, RPM and Debian package.

Output has the layout of a snapshot (see `repository`), so that what several distributions build can be put together.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Final

from lago import log
from lago.errors import LagoError
from lago.host.programs import run

from . import changelog
from .version import commit, git, of_commit, package_release

KINDS: Final = ("python", "rpm", "deb")
"""What can be built: wheel and sdist; source and binary RPM; Debian package."""

_PYTHON: Final = "/usr/bin/python3"
_HINT: Final = f"{sys.executable} needs the development dependencies: pip install -e '.[dev,docs]'"


def distribution() -> str:
    """The short name of the distribution we run on, such as el9, fc41 or debian12."""
    if name := run(["rpm", "--eval", "%{?dist}"]).out.decode().strip().lstrip("."):
        return name
    release = platform.freedesktop_os_release()
    return release["ID"] + release.get("VERSION_ID", "")


def build(repo: Path, ref: str, output: Path, kinds: Sequence[str] = KINDS, dist: str | None = None) -> list[Path]:
    """Build packages of a commit, of what is committed only, and return the files in `output`.

    Raises:
        LagoError: there is no such commit, or it does not build; `output` is as before.
    """
    with tempfile.TemporaryDirectory(prefix="lago-release-") as directory:
        work = Path(directory)
        made = work / "made"
        tree = _checkout(repo, ref, work / "tree")
        version, release = str(of_commit(tree)), package_release(tree)
        env = {"SOURCE_DATE_EPOCH": git(tree, "log", "-1", "--format=%ct")}
        with log.task("Build man pages"):
            _man(tree, work / "doctrees", env)
        with log.task("Build sdist and wheel"):
            _python(tree, made, env)
        if "rpm" in kinds:
            with log.task("Build RPM"):
                _rpm(tree, work / "rpm", made, version, release, dist, env)
        if "deb" in kinds:
            with log.task("Build Debian package"):
                _deb(tree, work / "deb", made, version, release, dist, env)
        if "python" not in kinds:
            # The other kinds are made of them; several runs with a kind each have no file in common.
            shutil.rmtree(made / "python")
            next((made / "sources").glob("*.tar.gz")).unlink()
        (made / f"ChangeLog_{of_commit(tree).series}.txt").write_bytes((tree / "ChangeLog").read_bytes())
        return _move(made, output)


def _checkout(repo: Path, ref: str, tree: Path) -> Path:
    name = commit(repo, ref)
    run(["git", "-c", "safe.directory=*", "clone", "--quiet", "--shared", "--no-checkout", str(repo), str(tree)])
    git(tree, "checkout", "--quiet", "--detach", name)
    entries = changelog.entries(tree, since=changelog.start(tree, major=True))
    (tree / "ChangeLog").write_text(changelog.text(entries), encoding="utf-8")
    return tree


def _man(tree: Path, scratch: Path, env: dict[str, str]) -> None:
    """Make the man pages in the tree, from where they get into the sdist and so into all packages."""
    argv = [sys.executable, "-m", "sphinx", "-q", "-W", "-d", str(scratch), "-b", "man"]
    run([*argv, str(tree / "docs" / "man"), str(tree / "man")], env=env, hint=_HINT)


def _python(tree: Path, made: Path, env: dict[str, str]) -> None:
    (made / "sources").mkdir(parents=True)
    # The wheel is built from the sdist, which shows that nothing is missing in it.
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made / "python"), str(tree)]
    run(argv, env=env, hint=_HINT)
    [sdist] = (made / "python").glob("*.tar.gz")
    sdist.rename(made / "sources" / sdist.name)


def _fill(template: Path, **values: str) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(values)


def _rpm(tree: Path, top: Path, made: Path, version: str, release: str, dist: str | None, env: dict[str, str]) -> None:
    (top / "SOURCES").mkdir(parents=True)
    [sdist] = (made / "sources").glob("lago-*.tar.gz")
    shutil.copy(sdist, top / "SOURCES")
    history = changelog.rpm(changelog.entries(tree, since=changelog.start(tree, major=True)))
    spec = top / "lago.spec"
    spec.write_text(_fill(tree / "packaging" / "lago.spec.in", version=version, release=release, changelog=history))
    # Build requirements are looked up in rpm's database, which only distributions with RPM have.
    # Of a build that fails its scripts stay in `_tmppath`.
    leftovers = os.path.join(top, "tmp")
    defined = (f"_topdir {top}", f"_tmppath {leftovers}", f"__python3 {shlex.quote(sys.executable)}")
    macros = [word for one in defined for word in ("--define", one)]
    run(["rpmbuild", "-ba", "--nodeps", *macros, str(spec)], env=env)
    target = made / "rpm" / (dist or distribution())
    target.mkdir(parents=True)
    for package in top.glob("RPMS/*/*.rpm"):
        shutil.move(package, target)
    for package in top.glob("SRPMS/*.rpm"):
        shutil.move(package, made / "sources")


def _deb(
    tree: Path, stage: Path, made: Path, version: str, release: str, dist: str | None, env: dict[str, str]
) -> None:
    [wheel] = (made / "python").glob("*.whl")
    _install(wheel, stage)
    docs = stage / "usr/share/doc/lago"
    docs.mkdir(parents=True)
    shutil.copy(tree / "packaging" / "debian" / "copyright", docs)
    (docs / "changelog.gz").write_bytes(gzip.compress((tree / "ChangeLog").read_bytes(), mtime=0))
    for page in (tree / "man").iterdir():
        place = stage / "usr/share/man" / f"man{page.suffix[1:]}"
        place.mkdir(parents=True)
        (place / f"{page.name}.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
    control = stage / "DEBIAN"
    control.mkdir()
    files = sorted(p for p in stage.rglob("*") if p.is_file())
    size = sum((p.stat().st_size + 1023) // 1024 for p in files)
    sums = (f"{hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest()}  {p.relative_to(stage)}" for p in files)
    (control / "md5sums").write_text("".join(f"{line}\n" for line in sums))
    maintainer = git(tree, "log", "-1", "--format=%aN <%aE>")
    values = {"version": f"{version}-{release}", "size": str(size), "maintainer": maintainer}
    (control / "control").write_text(_fill(tree / "packaging" / "debian" / "control.in", **values))
    for script in ("postinst", "prerm"):
        shutil.copy(tree / "packaging" / "debian" / script, control)
    target = made / "deb" / (dist or distribution())
    target.mkdir(parents=True)
    for path in (stage, *stage.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    name = f"lago_{version}-{release}_all.deb"
    run(["dpkg-deb", "--root-owner-group", "--build", str(stage), str(target / name)], env=env)


def _install(wheel: Path, stage: Path) -> None:
    """Put a wheel where Debian's Python looks for packages."""
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    modules = "/usr/lib/python3/dist-packages"
    scheme = {"purelib": modules, "platlib": modules, "scripts": "/usr/bin", "data": "/usr"}
    destination = SchemeDictionaryDestination(scheme, _PYTHON, "posix", destdir=str(stage))
    with WheelFile.open(wheel) as source:
        install(source, destination, {"INSTALLER": b"dpkg"})


def _move(made: Path, output: Path) -> list[Path]:
    files = {path: output / path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()}
    if there := [str(path) for path in files.values() if path.exists() and not path.name.startswith("ChangeLog_")]:
        raise LagoError("packages of this version are there already", details="\n".join(there), hint="remove them")
    for source, target in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
    return list(files.values())
