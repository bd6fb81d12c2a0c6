"""Repository documents: which templates there are, in which versions, and where to get them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from ..errors import TemplateError
from ..utils import near
from .providers import Provider, make_provider

EMBEDDED: Final = os.path.join(os.path.dirname(__file__), "data", "repository.json")
"""The one that comes with Lago."""
"""Stands for the repository that comes with Lago."""


class TemplateVersion:
    """One image of a template."""

    def __init__(self, name: str, source: Provider, handle: str, timestamp: float) -> None:
        self.name = name
        self._source = source
        self._handle = handle
        self._timestamp = timestamp
        self._hash: str | None = None
        self._metadata: dict[str, Any] | None = None

    def timestamp(self) -> float:
        """When it was published; the latest version is the one with the largest."""
        return self._timestamp

    def get_hash(self) -> str | None:
        """The published checksum of the image, if its source knows one beforehand."""
        if self._hash is None:
            self._hash = self._source.get_hash(self._handle)
        return self._hash

    def get_metadata(self) -> dict[str, Any]:
        """What its source says about it; of an image that is built, only after `download`."""
        if self._metadata is None:
            self._metadata = self._source.get_metadata(self._handle)
        return self._metadata

    def download(self, dest: str) -> None:
        """Write the image to `dest`, and what belongs to it beside it."""
        self._source.download_image(self._handle, dest)


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
    """A repository document `dom` that was read from `path`."""

    def __init__(self, dom: Mapping[str, Any], path: str | None = None) -> None:
        self._dom = dom
        self._path = path
        self._providers: dict[str, Provider] = {}
        where = path or "the repository document"
        for member in ("name", "sources", "templates"):
            if member not in dom:
                raise TemplateError(f"{where} has no member `{member}`")

    @classmethod
    def from_url(cls, path: str) -> TemplateRepository:
        """Read the repository document in a file."""
        try:
            with open(os.path.expanduser(path), encoding="utf-8") as file:
                dom = json.load(file)
        except OSError as error:
            raise TemplateError(
                f"cannot read the template repository {path}: {error.strerror}",
                hint="choose another with --template-repo-path, or leave it out for the one that comes with Lago",
            ) from None
        except ValueError as error:
            raise TemplateError(f"the template repository {path} is not JSON", details=str(error)) from None
        if not isinstance(dom, dict):
            raise TemplateError(f"the template repository {path} is not a JSON object")
        return cls(dom, path)

    @property
    def name(self) -> str:
        """First part of the names of its versions."""
        return str(self._dom["name"])

    @property
    def path(self) -> str | None:
        """Where the document was read from."""
        return self._path

    def names(self) -> list[str]:
        """Names of its templates."""
        return sorted(self._dom["templates"])

    def get_by_name(self, name: str) -> Template:
        """The template of that name.

        Raises:
            TemplateError: there is none; the hint has near names.
        """
        spec = self._dom["templates"].get(name)
        if spec is None:
            raise TemplateError(f"the repository {self.name} has no template {name}", hint=near(name, self.names()))
        return Template(name, {ver: self._version(name, ver, data) for ver, data in spec.get("versions", {}).items()})

    def _version(self, template: str, version: str, data: Mapping[str, Any]) -> TemplateVersion:
        try:
            provider = self._provider(data["source"])
            handle = data["handle"]
            timestamp = float(data["timestamp"])
        except KeyError as error:
            raise TemplateError(
                f"version {version} of the template {template} has no member `{error.args[0]}` in {self._path}"
            ) from None
        revision = provider.revision(handle)
        identity = f"{self.name}:{template}:{version}" + (f".{revision}" if revision else "")
        return TemplateVersion(identity, provider, handle, timestamp)

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            source = self._dom["sources"].get(name)
            if source is None:
                raise TemplateError(f"the repository {self.name} has no source {name}")
            self._providers[name] = make_provider(name, source)
        return self._providers[name]
