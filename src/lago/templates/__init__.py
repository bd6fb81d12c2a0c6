"""Templates: images that disks start from, repositories that name them, the store that keeps them."""

from __future__ import annotations

from .. import config
from .providers import BuildProvider, FileSystemTemplateProvider, Provider
from .repository import EMBEDDED, Template, TemplateRepository, TemplateVersion
from .store import TemplateStore

__all__ = [
    "BuildProvider",
    "FileSystemTemplateProvider",
    "Provider",
    "Template",
    "TemplateRepository",
    "TemplateStore",
    "TemplateVersion",
    "default_repository",
    "default_store",
]


def default_store() -> TemplateStore:
    """The store of the configuration, `template_store`, or that of this user."""
    return TemplateStore(config.template_store())


def default_repository() -> TemplateRepository:
    """The repository of the configuration, `template_repo_path`, or the one that comes with Lago."""
    return TemplateRepository.from_url(config.get("template_repo_path") or EMBEDDED)
