"""`lago template`: the images that disks start from."""

from __future__ import annotations

import argparse


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `template` with its verbs."""
    description = "Images that the disks of machines start from."
    template = subparsers.add_parser("template", help="list and build templates", description=description)
    verbs = template.add_subparsers(metavar="VERB", required=True)

    build = verbs.add_parser(
        "build",
        help="build a template on this host",
        description="Build a template from packages into the store, unless it is there already.",
    )
    build.add_argument("name", metavar="NAME", help="a template of the repository, such as mini or debian12")
    build.add_argument(
        "--version", metavar="VERSION", dest="template_version", help="its version (default: the latest)"
    )
    build.set_defaults(run=do_build)

    listing = verbs.add_parser(
        "list",
        help="list templates",
        description="List the templates of the repository and those in the store, with sizes in bytes.",
    )
    listing.set_defaults(run=do_list)


def do_build(args: argparse.Namespace) -> object:
    """Build a template, or get it in whatever way its source offers."""
    from .. import templates

    store = templates.default_store()
    version = templates.default_repository().get_by_name(args.name).get_version(args.template_version)
    image = store.ensure(version)
    return {image.id: {"path": image.path, "size": store.size(image.id)}}


def do_list(_args: argparse.Namespace) -> object:
    """Every template with its versions; those that only the store has come last."""
    from .. import templates

    store = templates.default_store()
    repository = templates.default_repository()
    listed: dict[str, dict[str, object]] = {}
    left = set(store.list())
    for name in repository.names():
        for version_name, version in repository.get_by_name(name).versions.items():
            present = version in store
            left.discard(version.name)
            listed[version.name] = {
                "template": name,
                "version": version_name,
                "in store": present,
                "size": store.size(version.name) if present else 0,
            }
    for identity in sorted(left):
        _, name, version_name = identity.split(":")
        size = store.size(identity)
        listed[identity] = {"template": name, "version": version_name, "in store": True, "size": size}
    return listed
