"""Where packages of a Debian release come from: the mirrors that this host's apt is set up with."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ... import config
from ...errors import CommandError, HostError
from ...host.programs import run
from ...log import LOG

ETC: Final = "/etc/apt"
_LISTS: Final = "/var/lib/apt/lists"
_KEYRING_PREFIX: Final = "debian-archive-"


class Source(NamedTuple):
    """Places that have the same suites, and the keys that these are signed with."""

    uris: list[str]
    suites: list[str]
    signed_by: str

    def text(self) -> str:
        """It as a stanza of deb822."""
        lines = ["Types: deb", f"URIs: {' '.join(self.uris)}", f"Suites: {' '.join(self.suites)}", "Components: main"]
        return "\n".join(lines + ([f"Signed-By: {self.signed_by}"] if self.signed_by else [])) + "\n"


def sources(suite: str, *, security: bool = True, etc: str = ETC, lists: str = _LISTS) -> str:
    """The host's package sources of a Debian release, deb822; those of other vendors are left out.

    A host of another release has that release at the same places: Debian's mirrors have them all. A mirror that the
    config names comes in place of the host's, but for security updates, which most mirrors do not have.

    Args:
        suite: the name of the release, such as `bookworm`.
        security: with security updates.
        etc: where apt is configured.
        lists: where apt keeps what it knows of its sources.

    Raises:
        HostError: the host has none.
    """
    entries = [entry for entry in _entries(etc) if _has_packages(entry)]
    found = _of_release(entries, suite) or _of_debian(entries, suite, etc, lists)
    mirror = config.get("debian_mirror")
    if mirror:
        updates = [f"{suite}-security"]
        found = [Source(one.uris, updates, one.signed_by) for one in found if updates[0] in one.suites]
        found.insert(0, Source([mirror], [suite, f"{suite}-updates"], _keyring()))
    if not security:
        found = [one for one in found if one.suites != [f"{suite}-security"]]
    if not found:
        known = "apt-get update, so that apt knows which of its sources are Debian's; or " if entries else ""
        raise HostError(
            f"apt on this host has no source of Debian {suite}, from which the template is built",
            hint=f"{known}say where to get it from: LAGO_DEBIAN_MIRROR=http://... (a mirror of Debian)",
        )
    return "\n".join(one.text() for one in found)


def _has_packages(entry: dict[str, str]) -> bool:
    enabled = entry.get("enabled", "yes").lower() not in ("no", "false", "0")
    return (
        enabled
        and bool(_uris(entry))
        and "deb" in entry.get("types", "").split()
        and "main" in entry.get("components", "").split()
    )


def _uris(entry: dict[str, str]) -> list[str]:
    return [uri for uri in entry.get("uris", "").split() if not uri.startswith("cdrom:")]


def _of_release(entries: Iterable[dict[str, str]], suite: str) -> list[Source]:
    """Those that name the release; none, if they have only updates of it."""
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    suites = [[name for name in entry.get("suites", "").split() if name in wanted] for entry in entries]
    if not any(suite in names for names in suites):
        return []
    return [
        Source(_uris(entry), names, entry.get("signed-by", ""))
        for entry, names in zip(entries, suites, strict=True)
        if names
    ]


def _of_debian(entries: Iterable[dict[str, str]], suite: str, etc: str, lists: str) -> list[Source]:
    """Those that have another release of Debian, with the suites of this one."""
    known: set[tuple[str, str]] | None = None
    found: dict[str, Source] = {}
    for entry in entries:
        uris, signed_by = _uris(entry), entry.get("signed-by", "")
        ours = _KEYRING_PREFIX in signed_by
        if not ours and known is None:
            known = _known_as_debian(etc, lists)
        suites = [
            f"{suite}{match[1] or ''}"
            for name in entry.get("suites", "").split()
            if (match := re.fullmatch(r"[a-z]+(-updates|-security)?", name))
            and (ours or any((uri.rstrip("/"), name) in (known or ()) for uri in uris))
        ]
        if suites:
            # That of the host's release may have no keys of this one.
            keys = _keyring() or signed_by if ours or not signed_by else signed_by
            source = Source(uris, list(dict.fromkeys(suites)), keys)
            found.setdefault(source.text(), source)
    return list(found.values())


def _known_as_debian(etc: str, lists: str) -> set[tuple[str, str]]:
    """Place and suite of the sources that call themselves Debian in what apt fetched of them."""
    argv = ["apt-get", "-o", f"Dir::Etc={etc}", "-o", f"Dir::State::lists={lists}", "indextargets"]
    try:
        out = run([*argv, "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)", "Created-By: Packages"]).text
    except CommandError as error:
        LOG.warning("cannot ask apt for its sources: %s", error)
        return set()
    rows = [line.split(" ") for line in out.splitlines()]
    return {(row[2].rstrip("/"), row[1]) for row in rows if len(row) == 3 and row[0] == "Debian"}


def _keyring() -> str:
    """The keys of all releases of Debian; empty where they are not installed."""
    # Since Debian 13 there is one with the other ending as well, which the systems of before do not have.
    for ending in ("gpg", "pgp"):
        path = f"/usr/share/keyrings/{_KEYRING_PREFIX}keyring.{ending}"
        if os.path.exists(path):
            return path
    return ""


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
