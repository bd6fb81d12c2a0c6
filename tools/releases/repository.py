"""The repository that releases are fetched from.

    stable/X.0/     ChangeLog_X.0.txt, rpm/<dist>, deb/<dist>, sources, python, SHA256SUMS
    unstable/X.0/   snapshot-lago_X.0_pipeline_N with the same, latest -> the newest of them

A release is what `SHA256SUMS` of a stable directory lists: that is written last.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lago import log
from lago.errors import LagoError
from lago.host.locks import lock_file
from lago.host.programs import run
from lago.host.suggest import near

from . import metadata

_SNAPSHOT: Final = re.compile(r"snapshot-lago_(\d+\.0)_pipeline_(\d+)")
_VERSION: Final = re.compile(r"/lago[-_](\d+\.\d+\.\d+)")
_CHANGELOG: Final = re.compile(r"ChangeLog_\d+\.0\.txt")
_PACKAGES: Final = {"rpm", "deb", "sources", "python"}


def publish(built: Path, repository: Path, pipeline: int | None = None, keep: int | None = None) -> Path:
    """Make a snapshot of what `build` has built, make it the latest, and return it.

    Args:
        pipeline: its number; without it the one after the highest there is.
        keep: how many snapshots of the series are kept, the newest.

    Raises:
        LagoError: nothing is built, or there is a snapshot of that number.
    """
    if keep is not None and keep < 1:
        raise LagoError("at least one snapshot must be kept", hint="give a higher number, or none to keep all")
    series = _series(built)
    place = repository / "unstable" / series
    place.mkdir(parents=True, exist_ok=True)
    with _locked(repository):
        number = pipeline if pipeline is not None else max(snapshots(place), default=0) + 1
        snapshot = place / f"snapshot-lago_{series}_pipeline_{number}"
        if snapshot.exists():
            raise LagoError(f"{snapshot} is there already", hint="give another number")
        with _staging(place) as stage:
            _copy(_files(built), built, stage)
            metadata.index(stage)
            metadata.write_sums(stage, {name: metadata.checksum(stage / name) for name in _files(stage)})
            stage.chmod(0o755)
            stage.rename(snapshot)
        _point(place / "latest", snapshots(place))
        if keep is not None:
            prune(place, keep)
    return snapshot


def _series(place: Path) -> str:
    """The series of the packages in a directory. Raises LagoError unless they are of one version, with a changelog."""
    versions = {m[1] for name in _files(place) if (m := _VERSION.search(name))}
    series = {f"{version.split('.')[0]}.0" for version in versions}
    if len(versions) != 1 or not (place / f"ChangeLog_{min(series)}.txt").is_file():
        found = f"there are: {', '.join(sorted(versions)) or 'none'}"
        raise LagoError(
            f"{place} has no packages of one version", details=found, hint="let tools/release build make them anew"
        )
    return min(series)


def _files(place: Path) -> list[str]:
    """Names of packages and changelogs, without indexes, which are made anew."""
    names = [str(path.relative_to(place)) for path in sorted(place.rglob("*")) if path.is_file()]
    return [name for name in names if _CHANGELOG.fullmatch(name) or _is_package(name)]


def _copy(names: Iterable[str], source: Path, target: Path) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / name)


def _is_package(name: str) -> bool:
    return name.split("/")[0] in _PACKAGES and name.endswith((".rpm", ".deb", ".tar.gz", ".whl"))


def snapshots(place: Path) -> dict[int, Path]:
    """The snapshots of a directory of `unstable` by number, ascending."""
    found = {int(m[2]): path for path in place.iterdir() if (m := _SNAPSHOT.fullmatch(path.name))}
    return dict(sorted(found.items()))


def _point(link: Path, there: dict[int, Path]) -> None:
    new = link.with_name(".latest")
    new.unlink(missing_ok=True)
    new.symlink_to(there[max(there)].name)
    new.rename(link)


def prune(place: Path, keep: int) -> list[Path]:
    """Remove all but the newest `keep` snapshots of a directory of `unstable`; the latest stays."""
    latest = (place / "latest").resolve()
    gone = [path for path in list(snapshots(place).values())[:-keep] if path != latest]
    for path in gone:
        # It has another name before it is half removed.
        dying = path.rename(place / f".new-{path.name}")
        shutil.rmtree(dying)
    return gone


def find(repository: Path, name: str) -> Path:
    """A snapshot by its name, by `X.0/latest` or by its path. Raises LagoError if there is none of that name."""
    there = {path.name: path for place in repository.glob("unstable/*") for path in snapshots(place).values()}
    path = there.get(name) or next((p for p in (repository / "unstable" / name, Path(name)) if p.exists()), None)
    if path is None or _SNAPSHOT.fullmatch(path.resolve().name) is None:
        raise LagoError(f"there is no snapshot {name}", hint=near(name, there))
    return path.resolve()


def promote(
    repository: Path, snapshot: Path, check: str, key: str | None = None, *, dry_run: bool = False
) -> dict[str, str]:
    """Make a snapshot a release, and return what is copied: target by source.

    Args:
        check: a command with arguments that must succeed before; it finds the snapshot in `LAGO_SNAPSHOT`.
        key: who signs, a key of gpg.
        dry_run: only tell.

    Raises:
        LagoError: the snapshot is damaged, there is no such key, the check failed, or a file of it is released already.
    """
    series = _series(snapshot)
    stable = repository / "stable" / series
    sums = metadata.read_sums(snapshot)
    packages = [name for name in sums if _is_package(name)]
    metadata.verify(snapshot, sums, sums)
    if not packages:
        raise LagoError(f"{snapshot} has no packages", hint="tools/release publish makes snapshots")
    _refuse_released(stable, packages, sums)
    if key:
        metadata.check_key(key)
    plan = {str(snapshot / name): str(stable / name) for name in sorted(sums)}
    argv = _words(check)
    if dry_run:
        return plan
    with log.task(f"Check: {check}"):
        run(argv, env={"LAGO_SNAPSHOT": str(snapshot)}, hint="what fails its check is not released")
    stable.mkdir(parents=True, exist_ok=True)
    with _locked(repository), _staging(stable) as stage:
        _refuse_released(stable, packages, sums)
        _copy(sums, snapshot, stage)
        # What is released is what was checked, whatever happened to the snapshot since.
        metadata.verify(stage, sums, sums)
        for name in packages:
            (stable / name).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # left by a promotion that was killed: the same file
                os.link(stage / name, stable / name)
        changes = f"ChangeLog_{series}.txt"
        (stage / changes).rename(stable / changes)
        metadata.index(stable, key)
        released = {**metadata.read_sums(stable), **sums}
        metadata.write_sums(stable, released, key)
    return plan


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise LagoError(f"the check is no command: {error}: {command}", hint="quote it as for a shell") from None
    if not words:
        raise LagoError("the check is no command: it is empty", hint="what is not checked is not released")
    return words


def _refuse_released(stable: Path, packages: list[str], sums: dict[str, str]) -> None:
    released = metadata.read_sums(stable)
    taken = [
        name
        for name in packages
        if name in released or ((stable / name).exists() and metadata.checksum(stable / name) != sums[name])
    ]
    if taken:
        details = "\n".join(str(stable / name) for name in taken)
        raise LagoError("this version is released already", details=details, hint="promote a later snapshot")


@contextlib.contextmanager
def _locked(repository: Path) -> Iterator[None]:
    with lock_file(str(repository / ".lock"), what=f"the repository {repository}"):
        yield


@contextlib.contextmanager
def _staging(place: Path) -> Iterator[Path]:
    """A directory beside what is to be made, hidden, and gone at the end unless it was renamed; needs the lock."""
    for left in place.glob(".new-*"):  # by one that was killed
        shutil.rmtree(left)
    stage = Path(tempfile.mkdtemp(prefix=".new-", dir=place))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
