"""Templates: images that disks start from, repositories that name them, the store that keeps them."""

from __future__ import annotations

from .. import config
from .imported import imported
from .providers import (
    BuildProvider,
    CloudImageProvider,
    FileSystemTemplateProvider,
    HttpTemplateProvider,
    Provider,
)
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
]


def default_store() -> TemplateStore:
    """The store of the configuration, `template_store`, or that of this user."""
    return TemplateStore(config.template_store())


def default_repository() -> TemplateRepository:
    """The repository of the configuration, `template_repo_path` or else `template_repo_name`, or those of Lago.

    What was made or taken into the store on this host is always among its templates.
    """
    ours = imported(default_store())
    if path := config.get("template_repo_path"):
        return TemplateRepository.from_url(path).with_more(ours)
    if name := config.get("template_repo_name"):
        return find_repo_by_name(name).with_more(ours)
    return TemplateRepository.from_url(EMBEDDED).with_more(TemplateRepository.from_url(CATALOGUE), ours)
