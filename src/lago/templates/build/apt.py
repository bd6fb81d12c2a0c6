"""Debian packages from the mirrors that this host's apt is set up with, by an apt with a state of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from signal import SIGKILL
from typing import IO

from ... import config
from ...errors import CommandError, TemplateError
from ...host.programs import run
from ...log import LOG
from .mirrors import ETC, sources

_CARRIED_OVER = re.compile(r"Acquire::(http|https|ftp|Retries|Check-Valid-Until|Check-Date|ForceIPv)", re.IGNORECASE)


def settings_of_host() -> list[str]:
    """What the host's apt configuration says about reaching mirrors, such as a proxy, as lines of apt.conf."""
    try:
        dump = run(["apt-config", "dump"]).text
    except CommandError as error:
        LOG.warning("cannot read the configuration of apt: %s", error)
        return []
    return [line for line in dump.splitlines() if _CARRIED_OVER.match(line) and not line.endswith(' "";')]


class Apt:
    """An apt with its own state in the directory `work`, which knows one Debian release."""

    def __init__(self, work: str, suite: str) -> None:
        self._work = work
        self._suite = suite
        for name in ("state/lists/partial", "cache/archives/partial", "none"):
            os.makedirs(os.path.join(work, name))
        self.sources_file = os.path.join(work, "debian.sources")
        self._sources = sources(suite)
        _write(self.sources_file, self._sources)
        _write(os.path.join(work, "status"), "")
        self.settings = [*settings_of_host(), 'Acquire::Languages "none";', 'Acquire::http::Timeout "30";']
        # From where it is run: there is no spelling for a quote in a path.
        lines = [
            'Dir::State "./state";',
            'Dir::State::status "./status";',
            'Dir::Cache "./cache";',
            f'Dir::Etc::sourcelist "./{os.path.basename(self.sources_file)}";',
            'Dir::Etc::sourceparts "./none";',
            # What else the host has configured, hooks above all, is not for us.
            'Dir::Etc::parts "./none";',
            'Dir::Etc::main "./none/apt.conf";',
            'Dir::Etc::preferencesparts "./none";',
            'APT::Architecture "amd64";',
            'APT::Architectures { "amd64"; };',
            'APT::Sandbox::User "";',
            'APT::Update::Error-Mode "any";',
            *self.settings,
        ]
        self._env = {"APT_CONFIG": os.path.join(work, "apt.conf"), "LC_ALL": "C"}
        _write(self._env["APT_CONFIG"], "\n".join(lines) + "\n")

    def update(self) -> None:
        """Fetch the lists of packages."""
        failure = "cannot fetch the lists of Debian packages"
        try:
            self._run("update", failure=failure)
        except TemplateError as error:
            # A mirror is also named where those of the host can't be reached, and security updates come from there.
            rest = sources(self._suite, security=False) if config.get("debian_mirror") else self._sources
            if rest == self._sources:
                raise
            _write(self.sources_file, rest)
            self._run("update", failure=failure)
            LOG.warning("security updates of Debian are left out: %s", error.details or error.what)

    def depends(self, package: str) -> list[str]:
        """Names of the packages it depends on directly."""
        text = self._run("depends", package, program="apt-cache", failure=f"cannot find the package {package}")
        return re.findall(r"^\s+Depends: (\S+)$", text, re.MULTILINE)

    def download(self, packages: Iterable[str]) -> dict[str, str]:
        """Fetch packages; the result maps each name to its file."""
        names = list(packages)
        self._run("download", *names, failure="cannot fetch Debian packages")
        files = [file for file in sorted(os.listdir(self._work)) if file.endswith(".deb")]
        found = {file.partition("_")[0]: os.path.join(self._work, file) for file in files}
        missing = [name for name in names if name not in found]
        if missing:
            raise TemplateError(f"apt did not deliver {', '.join(missing)}")
        return {name: found[name] for name in names}

    def _run(self, *arguments: str, failure: str, program: str = "apt-get") -> str:
        try:
            return run([program, "-q", *arguments], env=self._env, cwd=self._work, dies_with_us=SIGKILL).text
        except CommandError as error:
            raise TemplateError(
                failure,
                details=error.details,
                hint=f"the mirrors are those of {ETC}; check that they can be reached, or set LAGO_DEBIAN_MIRROR",
            ) from None


def package_versions(files: dict[str, str]) -> dict[str, str]:
    """Versions of downloaded packages, from the names of their files."""
    return {name: os.path.basename(path).split("_")[1].replace("%3a", ":") for name, path in sorted(files.items())}


def open_package(path: str, work: str) -> IO[bytes]:
    """Open the tar archive inside a package."""
    archive = os.path.join(work, "package.tar")
    run(["dpkg-deb", "--fsys-tarfile", path], output=archive, dies_with_us=SIGKILL)
    return open(archive, "rb")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
