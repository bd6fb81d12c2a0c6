"""Templates: images that disks start from, repositories that name them, the store that keeps them."""

from __future__ import annotations

from .. import config
from ..errors import TemplateError
from .local import local_repository
from .providers import BuildProvider, CloudImageProvider, FileSystemTemplateProvider, HttpTemplateProvider, Provider
from .repository import CATALOGUE, EMBEDDED, Template, TemplateRepository, TemplateVersion, find_repo_by_name
from .store import TemplateStore

__all__ = [
    "BuildProvider",
    "CloudImageProvider",
    "FileSystemTemplateProvider",
    "HttpTemplateProvider",
    "Provider",
    "Template",
    "TemplateRepository",
    "TemplateStore",
    "TemplateVersion",
    "default_repository",
    "default_store",
    "find_repo_by_name",
    "own_repository",
]


def own_repository() -> TemplateRepository:
    """The repository of what Lago builds on this host, whatever the configuration names."""
    return TemplateRepository.from_url(EMBEDDED)


def default_store() -> TemplateStore:
    """The store of the configuration, `template_store`, or that of this user."""
    return TemplateStore(config.template_store())


def default_repository() -> TemplateRepository:
    """The repository of the configuration, `template_repo_path` or else `template_repo_name`, or those of Lago.

    What was made or taken into the store on this host is always among its templates.

    Raises:
        TemplateError: there is none, or the one at the path does not have the name that is given too.
        FetchError: it can't be had.
    """
    ours = local_repository(default_store())
    name = config.get("template_repo_name")
    if path := config.get("template_repo_path"):
        found = TemplateRepository.from_url(path)
        if name and found.name != name:
            raise TemplateError(
                f"the template repository {path} is called {found.name}, not {name}",
                hint=f"leave out template_repo_name, or write {found.name}",
            )
        return found.with_more(ours)
    if name:
        return find_repo_by_name(name).with_more(ours)
    return own_repository().with_more(TemplateRepository.from_url(CATALOGUE), ours)
