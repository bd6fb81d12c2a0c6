"""`lago template`: the images that disks start from."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from . import store
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..templates import TemplateStore


def add_parsers(subparsers: Commands[argparse.ArgumentParser]) -> None:
    """Add `template` with its commands."""
    description = "Images that the disks of machines start from."
    template = subparsers.add_parser("template", description=description)
    commands = template.add_subparsers(metavar="COMMAND", required=True)

    build = commands.add_parser(
        "build",
        help="build a template on this host",
        description="Build a template from packages into the store, unless it is there already. With any of --file, "
        "--include and --size it is one of your own, NAME, which init files can then name.",
    )
    build.add_argument("name", metavar="NAME", help="a template of the repository, such as mini, or a new name")
    build.add_argument("--file", metavar="RECIPE", dest="recipe", help="recipe, in YAML (see docs/recipes.md)")
    build.add_argument(
        "--include", metavar="PKG", action="append", default=[], help="Debian packages to install too, with commas"
    )
    build.add_argument("--size", metavar="SIZE", help="size of its disk, such as 10G")
    build.add_argument(
        "--version", metavar="VERSION", dest="template_version", help="its version (default: the latest)"
    )
    build.set_defaults(run=do_build)

    update = commands.add_parser(
        "update",
        help="make new versions of templates by a script",
        description="Run a shell script as root on a throw-away machine for each template and keep the changed image "
        "as a new version. Templates whose script fails are left as they are.",
    )
    update.add_argument("names", nargs="+", metavar="NAME", help="templates")
    update.add_argument("--script", metavar="FILE", required=True, help="shell script, run as root")
    update.set_defaults(run=do_update)

    store.add_commands(commands)


def do_build(args: argparse.Namespace) -> object:
    """Build a template, or get it in whatever way its source offers."""
    from .. import templates

    images = templates.default_store()
    if args.recipe or args.include or args.size:
        identity = _own(args, images)
    else:
        version = templates.default_repository().get_by_name(args.name).get_version(args.template_version)
        identity = images.ensure(version).id
    return {identity: {"path": os.path.join(images.path, identity), "size": images.size(identity)}}


def _own(args: argparse.Namespace, images: TemplateStore) -> str:
    from ..errors import TemplateError
    from ..templates import own
    from ..templates.build import recipe_file

    if args.template_version:
        raise TemplateError("the version of a template of your own is that of its recipe", hint="remove --version")
    try:
        packages = [recipe_file.package(one) for many in args.include for one in many.split(",")]
        size = recipe_file.size(args.size) if args.size else None
    except ValueError as error:
        raise TemplateError(str(error)) from None
    return own.ensure(images, own.recipe(args.name, args.recipe, packages, size))


def do_update(args: argparse.Namespace) -> Outcome:
    """Make new versions; the exit code is 1 if none could be made, 2 if some could not."""
    from .. import templates
    from ..environment.template_update import update

    done = update(args.names, args.script, templates.default_store())
    failed = [name for name, one in done.items() if "error" in one]
    return Outcome(done, exit_code=0 if not failed else 1 if len(failed) == len(done) else 2)
