"""Templates that are built on this host from the packages of a Debian release, without privileges."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Final

from ...disks import qemu_img
from ...errors import CommandError, DiskError, HostError, TemplateError
from ...host.full import says_full
from ...host.programs import tail
from ...log import task
from . import debian12, ext4, kernel, mini, variants
from .apt import Apt, package_versions
from .recipe import CMDLINE, Recipe, data_file
from .tree import Tree

_FREE_SOME: Final = "free some, about 1 GiB is needed, or choose another place with LAGO_TEMPLATE_STORE"

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (mini.RECIPE, debian12.RECIPE, variants.CLOUD_INIT, variants.SYSVINIT)
}
"""Those that come with Lago."""


def get_recipe(name: str) -> Recipe:
    """The recipe of that name."""
    try:
        return RECIPES[name]
    except KeyError:
        raise TemplateError(f"there is no recipe {name}", hint=f"there are: {', '.join(RECIPES)}") from None


def build(recipe: Recipe, image: str, work: str) -> dict[str, Any]:
    """Build a template.

    The kernel and the initrd are written beside the image, as `<image>.kernel`, `<image>.kernel-efi` (the same as the
    distribution signed it) and `<image>.initrd`.

    Args:
        image: file to write, a qcow2 image.
        work: an empty directory for temporary files; what is left in it can be thrown away.

    Returns:
        The metadata of the image.

    Raises:
        HostError: a program or package source is missing, or there is no space.
        TemplateError: the mirror cannot be reached, a package is not as expected, or a command of the recipe fails.
    """
    try:
        return _build(recipe, image, work)
    except OSError as error:
        if not says_full(error):
            raise
        where = f"in {os.path.dirname(image)}, where the template {recipe.name} is built"
        raise HostError(f"no space left {where}", hint=_FREE_SOME) from None
    except (CommandError, TemplateError, DiskError) as error:
        if not says_full(error.details):
            raise
        what = "no space left on the device while building a template"
        raise HostError(what, details=tail(error.details, 5), hint=_FREE_SOME) from None


def _build(recipe: Recipe, image: str, work: str) -> dict[str, Any]:
    tree = Tree(os.path.join(work, "spool"))
    with task("Download packages"):
        apt = Apt(os.path.join(work, "apt"), recipe.suite)
        apt.update()
        kernel_package = kernel.package(apt)
        names = {kernel_package, *kernel.TOOLS}
        packages = apt.download(sorted(names | set(recipe.packages if recipe.base == "unpack" else ())))
    with task("Prepare kernel and initrd"):
        unpacked = kernel.Kernel(work, packages, kernel_package)
        _write(f"{image}.kernel", unpacked.image())
        _write(f"{image}.kernel-efi", unpacked.signed())
        _write(f"{image}.initrd", unpacked.initrd(data_file("initrd-init")))
    with task("Unpack packages" if recipe.base == "unpack" else "Install packages"):
        if recipe.base == "unpack":
            mini.fill(tree, recipe, packages, unpacked.busybox, work)
        else:
            debian12.fill(tree, recipe, apt, work)
        unpacked.add_modules(tree)
    with task("Pack image"):
        raw = os.path.join(work, "image.raw")
        ext4.pack(tree, raw, size=recipe.size, label=recipe.name, work=work)
        qemu_img.convert(raw, "raw", image, "qcow2")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(raw)
    return {
        **recipe.metadata,
        "cmdline": CMDLINE,
        "format": "qcow2",
        "kernel-version": unpacked.version,
        "packages": package_versions(packages),
        "recipe": recipe.digest(),
    }


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
