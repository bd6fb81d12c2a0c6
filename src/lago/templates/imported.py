"""Images that were made or taken into the store on this host: the templates of the repository `local`."""

from __future__ import annotations

import os
from typing import Any, Final

from ..errors import TemplateError
from .providers import FileSystemTemplateProvider
from .repository import TemplateRepository, TemplateVersion
from .store import TemplateStore

LOCAL: Final = "local"


def imported(store: TemplateStore) -> TemplateRepository:
    """The repository of these images; their timestamp is when they came."""
    templates: dict[str, Any] = {}
    for identity in store.list():
        repository, name, version = identity.split(":")
        if repository == LOCAL:
            versions = templates.setdefault(name, {"versions": {}})["versions"]
            versions[version] = {"source": "store", "handle": identity, "timestamp": store.since(identity)}
    sources = {"store": {"type": "file", "args": {"root": store.path}}}
    return TemplateRepository({"name": LOCAL, "sources": sources, "templates": templates}, store.path)


def import_image(store: TemplateStore, path: str, name: str, version: str) -> str:
    """Take an image into the store, unpacked; what lies beside it as in a repository is taken too.

    Args:
        path: of the image.
        name: of the template.
        version: of the template.

    Returns:
        Its identity.

    Raises:
        TemplateError: it is no image, the name can't be one, or is taken.
    """
    if any(not word or set(word) & set(":/") or word.startswith(".") for word in (name, version)):
        raise TemplateError(f"{name}:{version} can't be the name of an image", hint="leave out colons and slashes")
    identity = f"{LOCAL}:{name}:{version}"
    if store.has(identity):
        raise TemplateError(
            f"the store has {name} {version} already", hint=f"choose another --version, or lago template rm {identity}"
        )
    directory, file = os.path.split(os.path.abspath(path))
    store.download(TemplateVersion(identity, FileSystemTemplateProvider(directory), file, 0))
    return identity
