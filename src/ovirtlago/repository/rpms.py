"""RPM packages: their headers, and rpm's own order of versions."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from lago.errors import HostError, LagoError
from lago.utils import in_parallel, package_hint

ARCHITECTURES: Final = (platform.machine(), "noarch")
"""Architectures of packages that machines can install, as rpm and the kernel call them. `src` is none of them."""

_LIBRARIES: Final = ("librpm.so.10", "librpm.so.9")

T = TypeVar("T")


class RepoError(LagoError):
    """A package, or a repository of packages, is damaged or incomplete."""


class Evr(NamedTuple):
    """What tells versions of a package apart: epoch, version and release."""

    epoch: str
    version: str
    release: str

    def __str__(self) -> str:
        return f"{self.epoch}:{self.version}-{self.release}" if int(self.epoch) else f"{self.version}-{self.release}"


class Rpm(NamedTuple):
    """The file of a package."""

    path: str
    name: str
    arch: str
    evr: Evr

    @property
    def file_name(self) -> str:
        """The usual name of the file, whatever its name is."""
        return f"{self.name}-{self.evr.version}-{self.evr.release}.{self.arch}.rpm".replace(os.sep, "_")


def createrepo() -> Any:
    """Import the library createrepo_c, which reads packages and metadata. Raises HostError if it is not installed."""
    try:
        import createrepo_c
    except ModuleNotFoundError:
        raise HostError("the Python package createrepo_c is not installed", hint="pip install createrepo_c") from None
    return createrepo_c


def read(path: str) -> Rpm:
    """Read the header of a package. Raises RepoError if it is no package."""
    library = createrepo()
    try:
        found = library.package_from_rpm(path)
    except (OSError, library.CreaterepoCError) as error:
        why = "it can't be read" if isinstance(error, PermissionError) else "it is no package, or only a part of one"
        raise RepoError(
            f"{path}: {why}",
            details=str(error),
            hint=f"have it made or fetched again, or remove it: rm {shlex.quote(path)}",
        ) from None
    return Rpm(path, found.name, found.arch, Evr(found.epoch or "0", found.version, found.release))


def find(place: str) -> list[Rpm]:
    """Find all packages for our machines in a directory and those below it, or the one in a file.

    Raises:
        RepoError: there is no such directory, or what looks like a package is none.
    """
    return [rpm for rpm in in_parallel(read, _files(place), what=f"packages in {place}") if rpm.arch in ARCHITECTURES]


def _files(place: str) -> Iterator[str]:
    if os.path.isfile(place):
        yield place
        return
    if not os.path.isdir(place):
        raise RepoError(f"there is no directory {place}", hint="correct the path, or make it")
    for directory, _, names in os.walk(place):
        # Hidden files are what somebody is still writing.
        found = (name for name in names if name.endswith(".rpm") and not name.startswith("."))
        yield from (os.path.join(directory, name) for name in sorted(found))


def newest(packages: Iterable[T], identity: Callable[[T], Any], evr: Callable[[T], Evr]) -> list[T]:
    """Of all packages with the same `identity` the one of the highest version, the first of equal ones."""
    best: dict[Any, T] = {}
    for package in packages:
        key = identity(package)
        if key not in best or compare(evr(package), evr(best[key])) > 0:
            best[key] = package
    return list(best.values())


def compare(one: Evr, other: Evr) -> int:
    """Below 0 if `one` is the older version, 0 if they are the same, above 0 if it is the newer.

    Raises:
        HostError: rpm is not installed.
    """
    epochs = int(one.epoch) - int(other.epoch)
    return epochs or _vercmp(one.version, other.version) or _vercmp(one.release, other.release)


def _vercmp(one: str, other: str) -> int:
    return int(_librpm().rpmvercmp(one.encode(), other.encode()))


@functools.cache
def _librpm() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise HostError("rpm, whose order of versions is needed, is not installed", hint=package_hint("rpm"))
