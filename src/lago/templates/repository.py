"""Repository documents: which templates there are, in which versions, and where to get them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .. import config
from ..errors import TemplateError
from ..host.fetch import read_text
from ..host.suggest import near
from .metadata import check_metadata
from .providers import Provider, make_provider

EMBEDDED: Final = os.path.join(os.path.dirname(__file__), "data", "repository.json")
"""The one that comes with Lago: what is built on this host."""

CATALOGUE: Final = os.path.join(os.path.dirname(__file__), "catalogue.json")
"""The other that comes with Lago: what distributions publish."""

_REVISION: Final = re.compile(r"\.[0-9a-f]{8}$")


def base_of(identity: str) -> str:
    """The identity of a version without its revision."""
    return _REVISION.sub("", identity)


class TemplateVersion:
    """One image of a template.

    Attributes:
        base: `<repository>:<template>:<version>`.
        known: the metadata in the repository document.
    """

    def __init__(
        self,
        name: str,
        source: Provider,
        handle: str,
        timestamp: float,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.base = name
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
        where = path or "the repository document"
        for member in ("name", "sources", "templates"):
            if member not in dom:
                raise TemplateError(f"{where} has no member `{member}`")
        self._sources = _mapping(dom["sources"], f"`sources` of {where}")
        self._templates = _mapping(dom["templates"], f"`templates` of {where}")
        self.name = str(dom["name"])
        """First part of the names of its versions."""

    @classmethod
    def from_url(cls, path: str) -> TemplateRepository:
        """Read the repository document in a file, or at an address.

        Raises:
            TemplateError: it can't be read, or is none.
            FetchError: it can't be had.
        """
        try:
            dom = json.loads(_text(path))
        except json.JSONDecodeError as error:
            raise TemplateError(
                f"the template repository {path} is not JSON",
                details=f"line {error.lineno}, column {error.colno}: {error.msg}",
                hint="correct it there; or is that another file?",
            ) from None
        return cls(_mapping(dom, f"the template repository {path}"), path)

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
            spec = _mapping(self._templates[name], f"the template {name} of {self._path}")
            own = _mapping(spec.get("versions") or {}, f"`versions` of the template {name} of {self._path}")
            metadata = _mapping(spec.get("metadata") or {}, f"`metadata` of the template {name} of {self._path}")
            versions |= {ver: self._version(name, ver, data, metadata) for ver, data in own.items()}
        elif not versions:
            raise TemplateError(f"the repository {self.name} has no template {name}", hint=near(name, self.names()))
        return Template(name, versions)

    def _version(self, template: str, version: str, data: Any, metadata: Mapping[str, Any]) -> TemplateVersion:
        what = f"version {version} of the template {template} of {self._path}"
        data = _mapping(data, what)
        try:
            source, handle, timestamp = data["source"], str(data["handle"]), float(data["timestamp"])
        except KeyError as error:
            raise TemplateError(f"{what} has no member `{error.args[0]}`") from None
        except (TypeError, ValueError):
            raise TemplateError(f"{what}: its timestamp is no number of seconds: {data['timestamp']!r}") from None
        more = _mapping(data.get("metadata") or {}, f"`metadata` of {what}")
        identity = f"{self.name}:{template}:{version}"
        return TemplateVersion(identity, self._provider(source), handle, timestamp, {**metadata, **more})

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            if name not in self._sources:
                raise TemplateError(f"the repository {self.name} has no source {name}", hint=near(name, self._sources))
            source = _mapping(self._sources[name], f"the source {name} of {self._path}")
            self._providers[name] = make_provider(name, source)
        return self._providers[name]


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


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TemplateError(f"{what} is not a JSON object")
    return value


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
