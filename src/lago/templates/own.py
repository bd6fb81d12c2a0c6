"""Templates of users' own recipes: built into the store as images of the repository `local`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from ..errors import TemplateError
from ..host.files import json_text
from ..host.locks import lock_file
from ..log import task
from .build import RECIPES, build
from .build.recipe import Recipe
from .build.recipe_file import extend, read
from .local import LOCAL, import_image
from .store import TemplateStore

_PATIENCE = 3600.0


def recipe(name: str, file: str | None, packages: Iterable[str], size: int | None) -> Recipe:
    """The recipe of a template of one's own.

    Args:
        name: of the template.
        file: what it is made of; without it, `debian12`.
        packages: to install besides.
        size: of the disk in bytes, if another than the recipe says.

    Raises:
        TemplateError: the recipe has mistakes, or Lago has a template of that name.
    """
    if name in RECIPES:
        raise TemplateError(
            f"{name} comes with Lago and is built as it is", hint=f"choose another name, such as my-{name}"
        )
    found = read(file, name, RECIPES) if file is not None else RECIPES["debian12"]
    if found.base != "install" and packages:
        raise TemplateError(f"{file}: its base has no package manager", hint="write base: debian12")
    return extend(found, name, packages, size)


def ensure(store: TemplateStore, wanted: Recipe) -> str:
    """Build a recipe into the store, unless it is there; the identity of the image.

    Raises:
        HostError: a program or package source is missing, or there is no space.
        TemplateError: the mirror cannot be reached, or a command of the recipe fails.
    """
    version = wanted.digest()[:8]
    identity = f"{LOCAL}:{wanted.name}:{version}"
    os.makedirs(store.path, exist_ok=True)
    work = os.path.join(store.path, f".{identity}.build")
    with lock_file(f"{work}.lock", what=f"the template {identity}", timeout=_PATIENCE):
        if identity in store.list():
            return identity
        # We hold the lock: whoever left this is gone.
        shutil.rmtree(work, ignore_errors=True)
        try:
            with task(f"Build template {identity}"):
                os.makedirs(os.path.join(work, "work"))
                image = os.path.join(work, "image")
                metadata = build(wanted, image, os.path.join(work, "work"))
                with open(f"{image}.metadata", "w", encoding="utf-8") as file:
                    file.write(json_text(metadata))
                import_image(store, image, wanted.name, version)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return identity
