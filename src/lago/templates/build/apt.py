"""Debian packages from the mirrors that this host's apt is set up with, by an apt with a state of its own."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import IO

from ... import config
from ...errors import CommandError, HostError, TemplateError
from ...log import LOG
from .programs import run

_ETC = "/etc/apt"
_CARRIED_OVER = re.compile(r"Acquire::(http|https|ftp|Retries|Check-Valid-Until|Check-Date|ForceIPv)", re.IGNORECASE)


def sources(suite: str, *, etc: str = _ETC) -> str:
    """The host's package sources of a Debian release, deb822; those of other vendors are left out.

    Raises:
        HostError: the host has none.
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    stanzas = []
    for entry in _entries(etc):
        suites = [s for s in entry.get("suites", "").split() if s in wanted]
        uris = [u for u in entry.get("uris", "").split() if not u.startswith("cdrom:")]
        if "deb" not in entry.get("types", "").split() or entry.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        if suites and uris and "main" in entry.get("components", "").split():
            stanzas.append(_stanza(uris, suites, entry.get("signed-by", "")))
    mirror = config.get("debian_mirror")
    if mirror:
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        stanzas = [_stanza([mirror], [suite, f"{suite}-updates"], keyring if os.path.exists(keyring) else "")]
    if not stanzas:
        raise HostError(
            f"apt on this host has no source of Debian {suite}, from which the template is built",
            hint="say where to get it from: LAGO_DEBIAN_MIRROR=http://... (a mirror of Debian)",
        )
    return "\n".join(stanzas)


def _stanza(uris: list[str], suites: list[str], signed_by: str) -> str:
    lines = ["Types: deb", f"URIs: {' '.join(uris)}", f"Suites: {' '.join(suites)}", "Components: main"]
    return "\n".join(lines + ([f"Signed-By: {signed_by}"] if signed_by else [])) + "\n"


def _entries(etc: str) -> Iterator[dict[str, str]]:
    for path in [f"{etc}/sources.list", *sorted(glob.glob(f"{glob.escape(etc)}/sources.list.d/*"))]:
        if not path.endswith((".list", ".sources")) or not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        yield from _deb822(text) if path.endswith(".sources") else _one_line(text)


def _deb822(text: str) -> Iterator[dict[str, str]]:
    for block in re.split(r"\n\s*\n", text):
        entry: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and key:
                # A key block inside the file goes over as it stands.
                entry[key] += f"\n{line}"
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                entry[key] = value.strip()
        if entry:
            yield entry


def _one_line(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        match = re.match(r"\s*(deb)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            types, options, uri, suite, components = match.groups()
            entry = {"types": types, "uris": uri, "suites": suite, "components": components}
            for option in (options or "").split():
                name, _, value = option.partition("=")
                entry[name.lower()] = value
            yield entry


def carried_over() -> list[str]:
    """What the host's apt configuration says about reaching mirrors, such as a proxy, as lines of apt.conf."""
    try:
        dump = run(["apt-config", "dump"]).out.decode(errors="replace")
    except CommandError as error:
        LOG.warning("cannot read the configuration of apt: %s", error)
        return []
    return [line for line in dump.splitlines() if _CARRIED_OVER.match(line) and not line.endswith(' "";')]


class Apt:
    """An apt with its own state in the directory `work`, which knows one Debian release."""

    def __init__(self, work: str, suite: str) -> None:
        self._work = work
        for name in ("state/lists/partial", "cache/archives/partial", "none"):
            os.makedirs(os.path.join(work, name))
        self.sources_file = os.path.join(work, "debian.sources")
        _write(self.sources_file, sources(suite))
        _write(os.path.join(work, "status"), "")
        self.settings = [*carried_over(), 'Acquire::Languages "none";', 'Acquire::http::Timeout "30";']
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
        self._run("update", failure="cannot fetch the lists of Debian packages")

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
            return run([program, "-q", *arguments], env=self._env, cwd=self._work).out.decode(errors="replace")
        except CommandError as error:
            raise TemplateError(
                failure, details=error.details, hint=f"the mirrors are those of {_ETC}; check that they can be reached"
            ) from None


def package_versions(files: dict[str, str]) -> dict[str, str]:
    """Versions of downloaded packages, from the names of their files."""
    return {name: os.path.basename(path).split("_")[1].replace("%3a", ":") for name, path in sorted(files.items())}


def open_package(path: str, work: str) -> IO[bytes]:
    """The tar archive inside a package, ready to read."""
    archive = os.path.join(work, "package.tar")
    run(["dpkg-deb", "--fsys-tarfile", path], output=archive)
    return open(archive, "rb")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
