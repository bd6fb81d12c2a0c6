"""Repository documents: which templates there are, in which versions, and where to get them."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .. import config
from ..errors import TemplateError
from ..host import shape
from ..host.fetch import read_text
from ..host.suggest import near
from .metadata import check_metadata
from .providers import EXTRAS, Anywhere, Origin, Provider, Stranger, make_provider

EMBEDDED: Final = os.path.join(os.path.dirname(__file__), "data", "repository.json")
"""The one that comes with Lago: what is built on this host."""

CATALOGUE: Final = os.path.join(os.path.dirname(__file__), "catalogue.json")
"""The other that comes with Lago: what distributions publish."""

RESERVED: Final = ("lago", "catalogue", "local")
"""Names of repositories that are Lago's own. No document may have them, or its images would be taken for those."""

OTHERS: Final = (".hash", ".metadata", *(f".{extra}" for extra in EXTRAS))
"""Endings of what belongs to an image."""

NO_IMAGES: Final = (*OTHERS, ".lock", ".users", ".tmp")
"""Endings that no identity of an image has."""

_NAME: Final = shape.text(rf"(?![.])[^:{shape.CONTROL}]+", "a name without colons on one line", 200)
_WORD: Final = shape.text(longest=200)
_SOURCE: Final = shape.record({"type": _WORD}, {"args": shape.optional(shape.mapping(_WORD, shape.text()))})
_METADATA: Final = shape.optional(shape.mapping(_WORD, lambda raw: raw))


def _timestamp(raw: Any) -> float:
    """Read a number of seconds, which earlier releases took as text as well."""
    try:
        return shape.number(float(raw) if isinstance(raw, str) else raw)
    except ValueError:
        raise ValueError("its timestamp is no number of seconds") from None


def _handle(raw: Any) -> str:
    return shape.text()(str(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw)


_VERSION: Final = shape.record({"source": _WORD, "handle": _handle, "timestamp": _timestamp}, {"metadata": _METADATA})
_TEMPLATE: Final = shape.record(
    {}, {"versions": shape.optional(shape.mapping(_NAME, lambda raw: raw)), "metadata": _METADATA}
)
_REVISION: Final = re.compile(r"\.[0-9a-f]{8}$")


def base_of(identity: str) -> str:
    """The identity of a version without its revision."""
    return _REVISION.sub("", identity)


class TemplateVersion:
    """One image of a template.

    Attributes:
        base: `<repository>:<template>:<version>`.
        known: the metadata in the repository document.
        origin: address of the server that has the document; empty if it is on this host.
    """

    def __init__(
        self,
        name: str,
        source: Provider,
        handle: str,
        timestamp: float,
        metadata: Mapping[str, Any] | None = None,
        origin: str = "",
    ) -> None:
        self.base = name
        self.origin = origin
        self._source = source
        self._handle = handle
        self._timestamp = timestamp
        self.known = metadata or {}
        self._name: str | None = None
        self._hash: str | None = None
        self._metadata: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Its identity: `base`, and the revision if its source has several of the same name.

        Raises:
            FetchError: the source can't be asked.
        """
        if self._name is None:
            revision = self._source.revision(self._handle)
            self._name = self.base + (f".{revision}" if revision else "")
        return self._name

    def timestamp(self) -> float:
        """When it was published; the latest version is the one with the largest."""
        return self._timestamp

    def get_hash(self) -> str | None:
        """The published checksum, if its source knows one beforehand."""
        if self._hash is None:
            self._hash = self._source.get_hash(self._handle)
        return self._hash

    def get_metadata(self) -> dict[str, Any]:
        """What the repository and its source say about it; of an image that is built, only after `download`.

        Raises:
            TemplateError: it can't be used.
        """
        if self._metadata is None:
            found = {**self.known, **self._source.get_metadata(self._handle)}
            self._metadata = check_metadata(
                found, f"the template {self.base}", "ask who made it, or runs its repository"
            )
        return self._metadata

    def download(self, dest: str) -> str:
        """Write the image to `dest`, verified, and what belongs to it beside it; its SHA-256."""
        return self._source.download_image(self._handle, dest)


class Template:
    """A template with its versions by name."""

    def __init__(self, name: str, versions: Mapping[str, TemplateVersion]) -> None:
        self.name = name
        self.versions = dict(versions)

    def get_version(self, ver_name: str | None = None) -> TemplateVersion:
        """The version of that name, or the latest.

        Raises:
            TemplateError: there is no such version.
        """
        if ver_name is None:
            return self.get_latest_version()
        try:
            return self.versions[ver_name]
        except KeyError:
            raise TemplateError(
                f"the template {self.name} has no version {ver_name}",
                hint=f"its versions are: {', '.join(sorted(self.versions))}",
            ) from None

    def get_latest_version(self) -> TemplateVersion:
        """The version with the largest timestamp."""
        if not self.versions:
            raise TemplateError(f"the template {self.name} has no versions")
        return max(self.versions.values(), key=lambda version: version.timestamp())


class TemplateRepository:
    """A repository document `dom` that was read from `path`.

    Args:
        more: repositories whose templates it has too; versions of one name come together.
    """

    def __init__(
        self, dom: Mapping[str, Any], path: str | None = None, more: tuple[TemplateRepository, ...] = ()
    ) -> None:
        self._dom = dom
        self._path = path
        self._more = more
        self._providers: dict[str, Provider] = {}
        self._where = path or "the repository document"
        for member in ("name", "sources", "templates"):
            if member not in dom:
                raise TemplateError(f"{self._where} has no member `{member}`")
        # What is in them is read when it is asked for: one mistake is not to keep all the others away.
        self._sources = self._read(shape.mapping(_NAME, lambda raw: raw), dom["sources"], f"`sources` of {self._where}")
        self._templates = self._read(
            shape.mapping(_NAME, lambda raw: raw), dom["templates"], f"`templates` of {self._where}"
        )
        self.name = self._read(_NAME, dom["name"], f"`name` of {self._where}")
        """First part of the names of its versions."""

    def _read(self, read: shape.Read[Any], raw: Any, what: str) -> Any:
        try:
            return read(raw)
        except ValueError as error:
            raise TemplateError(
                f"{what} can't be used: {error}", hint="correct it there, or ask who runs the repository"
            ) from None

    @classmethod
    def from_url(cls, path: str) -> TemplateRepository:
        """Read the repository document in a file, or at an address.

        Raises:
            TemplateError: it can't be read, or is none.
            FetchError: it can't be had.
        """
        text = _text(path)
        try:
            dom = shape.parse(text)
        except ValueError as error:
            raise TemplateError(
                f"the template repository {path} is not JSON",
                details=str(error),
                hint="correct it there; or is that another file?",
            ) from None
        if not isinstance(dom, dict):
            raise TemplateError(f"the template repository {path} is not a JSON object")
        found = cls(dom, path)
        if found.name in RESERVED and path not in (EMBEDDED, CATALOGUE):
            raise TemplateError(
                f"the template repository {path} is called {found.name}, as one of Lago's own",
                hint="give it another name, by its member `name`",
            )
        return found

    from_file = from_url

    def with_more(self, *more: TemplateRepository) -> TemplateRepository:
        """The same, with the templates of others."""
        return TemplateRepository(self._dom, self._path, more)

    @property
    def path(self) -> str | None:
        """Where the document was read from."""
        return self._path

    def names(self) -> list[str]:
        """Names of the templates."""
        return sorted({*self._templates, *(name for other in self._more for name in other.names())})

    def get_by_name(self, name: str) -> Template:
        """The template of that name.

        Raises:
            TemplateError: there is none; the hint has near names.
        """
        versions: dict[str, TemplateVersion] = {}
        for other in self._more:
            if name in other.names():
                versions |= other.get_by_name(name).versions
        if name in self._templates:
            spec = self._read(_TEMPLATE, self._templates[name], f"the template {name} of {self._where}")
            metadata = spec.get("metadata") or {}
            own = spec.get("versions") or {}
            versions |= {ver: self._version(name, ver, data, metadata) for ver, data in own.items()}
        elif not versions:
            raise TemplateError(f"the repository {self.name} has no template {name}", hint=near(name, self.names()))
        return Template(name, versions)

    def _version(self, template: str, version: str, raw: Any, metadata: Mapping[str, Any]) -> TemplateVersion:
        what = f"version {version} of the template {template} of {self._where}"
        data = self._read(_VERSION, raw, what)
        identity = f"{self.name}:{template}:{version}"
        if identity.endswith(NO_IMAGES):
            raise TemplateError(
                f"{what} can't be used: what ends so is no image", hint="give it another name in the document"
            )
        metadata = {**metadata, **(data.get("metadata") or {})}
        source = self._provider(data["source"])
        return TemplateVersion(
            identity, source, data["handle"], data["timestamp"], metadata, _address(self._path) or ""
        )

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            if name not in self._sources:
                raise TemplateError(f"the repository {self.name} has no source {name}", hint=near(name, self._sources))
            source = self._read(_SOURCE, self._sources[name], f"the source {name} of {self._where}")
            self._providers[name] = make_provider(name, source, _origin(self._path))
        return self._providers[name]


def _address(path: str | None) -> str | None:
    """The address of a document that is not on this host, without what may be secret."""
    if path is None or "://" not in path:
        return None
    parts = urllib.parse.urlsplit(path)
    if parts.scheme.lower() == "file":
        return None
    return urllib.parse.urlunsplit((parts.scheme.lower(), parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _origin(path: str | None) -> Origin:
    """What a document at `path` may name."""
    if path is None:
        return Anywhere()
    if _address(path) is not None:
        return Stranger(f"{path} is on a server")
    if config.get("restrict") and path not in (EMBEDDED, CATALOGUE):
        return Stranger(f"{path} is restricted")
    return Anywhere()


def _text(path: str) -> str:
    if "://" in path:
        return read_text(path)
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(
            f"cannot read the template repository {path}: {getattr(error, 'strerror', error)}",
            hint="choose another with --template-repo-path, or leave it out for the one that comes with Lago",
        ) from None


def find_repo_by_name(name: str, repo_dir: str | None = None) -> TemplateRepository:
    """The repository of that name, of all documents (`*.json`) below a directory, or of those that come with Lago.

    Args:
        repo_dir: the directory, in place of the setting `template_repos`.

    Raises:
        TemplateError: there is none; the hint has near names.
    """
    directory = repo_dir or config.template_repos()
    known = {}
    for path in (*_documents(directory), EMBEDDED, CATALOGUE):
        try:
            repository = TemplateRepository.from_url(path)
        except TemplateError:
            # There may be JSON of other kinds.
            continue
        if repository.name == name:
            return repository
        known[repository.name] = path
    raise TemplateError(f"there is no template repository {name} in {directory}", hint=near(name, known))


def _documents(directory: str) -> Iterator[str]:
    for place, directories, files in os.walk(directory):
        directories[:] = sorted(one for one in directories if one != ".git")
        yield from (os.path.join(place, file) for file in sorted(files) if file.endswith(".json"))
