"""The commands of `lago template` for the images of the store: list, info, fetch, import, verify, rm, prune."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import TemplateError
from ..host.suggest import near
from . import output
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..templates import TemplateStore


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to `lago template`."""

    def add(name: str, run: Callable[[argparse.Namespace], object], help_: str, more: str = "") -> Any:
        parser = commands.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.{more}")
        parser.set_defaults(run=run)
        return parser

    add("list", _list, "list the templates of the repository and those in the store", " Sizes are in bytes.")
    info = add("info", _info, "tell what is known of a template")
    info.add_argument("name", metavar="NAME", help="a template, or an image by its identity")
    fetch = add("fetch", _fetch, "get templates into the store, unless they are there")
    fetch.add_argument("names", nargs="+", metavar="NAME[:VERSION]", help="templates; without a version the latest")
    import_ = add(
        "import",
        _import,
        "take an image from a file into the store",
        " Init files then have it as a template. It is unpacked if need be, and becomes qcow2 unless it is that "
        "or raw; FILE.hash, FILE.metadata, FILE.kernel and FILE.initrd are taken along if they are there.",
    )
    import_.add_argument("file", metavar="FILE", help="qcow2, raw, VMDK, VDI, VHDX, VHD or OVA, packed or not")
    import_.add_argument("new_name", metavar="NAME", help="of the template")
    import_.add_argument("--version", default="1", metavar="VERSION", dest="template_version", help="its version (1)")
    import_.add_argument(
        "--format",
        choices=("qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc"),
        dest="image_format",
        help="its format, if it is not to be seen; raw takes any file as a disk",
    )
    verify = add("verify", _verify, "compare images of the store with their checksums")
    verify.add_argument("images", nargs="*", metavar="IMAGE", help="a template or an identity (all)")
    rm = add("rm", _rm, "remove images from the store that no environment uses")
    rm.add_argument("images", nargs="+", metavar="IMAGE", help="a template or an identity")
    prune = add(
        "prune",
        _prune,
        "remove old images that no environment uses, and what broken downloads left",
        " Of each template the image that came last stays.",
    )
    prune.add_argument("--all", action="store_true", help="also the one that came last")
    prune.add_argument(
        "--missing",
        action="store_true",
        help="also images of environments on other file systems that are not where they were",
    )


def _identities(store: TemplateStore, name: str) -> list[str]:
    """The images of the store that a person means: by identity, template, or template and version."""
    known = store.list()
    found = [one for one in known if name in _names(one)]
    if not found:
        candidates = sorted({word for one in known for word in _names(one)})
        raise TemplateError(f"the store {store.path} has no image {name}", hint=near(name, candidates))
    return found


def _names(identity: str) -> tuple[str, ...]:
    from ..templates.repository import base_of

    base = base_of(identity)
    _, template, version = base.split(":")
    return (template, f"{template}:{version}", base, identity)


def _identities_of(store: TemplateStore, names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(identity for name in names for identity in _identities(store, name)))


def _list(_args: argparse.Namespace) -> Outcome:
    from .. import templates

    store = templates.default_store()
    repository = templates.default_repository()
    listed = {identity: _row_of_stored(store, identity) for identity in store.list()}
    for name in repository.names():
        for version in repository.get_by_name(name).versions.values():
            if not store.of_base(version.base):
                listed[version.base] = _row(version.base, False, 0, [])
    return Outcome(listed, show=lambda stream: _table(listed, stream))


def _row_of_stored(store: TemplateStore, identity: str) -> dict[str, Any]:
    return _row(identity, True, store.size(identity), [user.path for user in store.users.of(identity)])


def _row(identity: str, stored: bool, size: int, users: list[str]) -> dict[str, Any]:
    _, template, version = identity.split(":")
    return {"template": template, "version": version, "in store": stored, "size": size, "users": users}


def _table(listed: Mapping[str, Mapping[str, Any]], stream: TextIO) -> None:
    rows = [
        (identity, f"{row['size'] >> 20}" if row["in store"] else "", "\n".join(row["users"]))
        for identity, row in sorted(listed.items())
    ]
    output.print_table(stream, ("image", "MiB", "used by"), rows)


def _info(args: argparse.Namespace) -> dict[str, Any]:
    from .. import templates

    store, repository = templates.default_store(), templates.default_repository()
    stored = [identity for identity in store.list() if args.name in _names(identity)]
    found: dict[str, Any] = {identity: _about(store, identity) for identity in stored}
    if args.name in repository.names() or not stored:
        # Whatever is unknown here is told with near names.
        for version in repository.get_by_name(args.name).versions.values():
            if not store.of_base(version.base):
                metadata = dict(version.known)
                found[version.base] = {**_row(version.base, False, 0, []), "metadata": metadata}
    return found


def _about(store: TemplateStore, identity: str) -> dict[str, Any]:
    image = store.image(identity)
    return {
        **_row_of_stored(store, identity),
        "path": image.path,
        "format": image.format,
        "sha256": store.digest(identity),
        "since": output.when(store.since(identity)),
        "metadata": dict(image.metadata),
    }


def _fetch(args: argparse.Namespace) -> dict[str, Any]:
    from .. import templates
    from ..host.parallel import in_parallel
    from ..templates.choose import Chooser

    store = templates.default_store()
    chooser = Chooser(templates.default_repository(), store)

    def get(name: str) -> str:
        template, _, version = name.partition(":")
        return chooser.get(template, version or None).id

    found = in_parallel(get, dict.fromkeys(args.names), what="fetch templates")
    return {identity: _about(store, identity) for identity in found}


def _import(args: argparse.Namespace) -> dict[str, Any]:
    from .. import templates
    from ..templates.local import import_image

    store = templates.default_store()
    identity = import_image(store, args.file, args.new_name, args.template_version, args.image_format)
    return {identity: _about(store, identity)}


def _verify(args: argparse.Namespace) -> dict[str, Any]:
    from .. import templates
    from ..host.parallel import in_parallel

    store = templates.default_store()
    names = _identities_of(store, args.images) if args.images else store.list()
    results = dict(zip(names, in_parallel(store.verify, names, what="verify images"), strict=True))
    if damaged := [identity for identity, good in results.items() if not good]:
        raise TemplateError(
            f"{len(damaged)} of {len(results)} images are damaged",
            details="\n".join(f"{store.path}/{identity}" for identity in damaged),
            hint=f"lago template rm {' '.join(damaged)}, to get them again",
        )
    return dict.fromkeys(results, "ok")


def _rm(args: argparse.Namespace) -> dict[str, int]:
    from .. import templates

    store = templates.default_store()
    removed = {}
    for identity in _identities_of(store, args.images):
        size = store.size(identity)
        store.remove(identity)
        removed[identity] = size
    return removed


def _prune(args: argparse.Namespace) -> Outcome:
    from .. import templates

    store = templates.default_store()
    freed = store.prune(everything=args.all, missing=args.missing)
    held = {user.path: sorted(user.images) for user in store.users.all() if user.state == "missing"}
    data = {"removed": freed, "bytes freed": sum(freed.values()), "kept for missing environments": held}
    return Outcome(data, show=lambda stream: _print_pruned(data, stream))


def _print_pruned(data: Mapping[str, Any], stream: TextIO) -> None:
    for identity, size in data["removed"].items():
        output.write(f"{identity}: {size >> 20} MiB", stream)
    output.write(f"{data['bytes freed'] >> 20} MiB freed", stream)
    for path, images in data["kept for missing environments"].items():
        output.write(f"kept {', '.join(images)} of {path}, which is not there any more (--missing)", stream)
