"""Filling a new prefix: what an init file leaves open is decided, disks are made and prepared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import config
from ..bootstrap import logins, prepare
from ..constants import (
    DEFAULT_INIT_FILE,
    INITFILE_PATH_VARIABLE,
    PREFIX_PATH_VARIABLE,
    WORKDIR_PATH_VARIABLE,
)
from ..disks import qemu_img
from ..errors import Finding, InitFileError, LagoError
from ..guestfs import customize
from ..host.parallel import in_parallel
from ..initfile import parse
from ..log import LOG, task
from ..paths import Paths
from ..plugins import machines
from ..templates import backing
from ..templates.choose import Chooser
from ..topology import resolve, state
from ..topology.address import Address
from ..topology.model import Disk, TemplateImage, Topology
from ..topology.spec import EnvSpec
from ..topology.variables import expand
from . import appliances, deploy
from .prerequisites import Prerequisites
from .restrict import Restrictions

if TYPE_CHECKING:
    from ..initfile.parse import Examined
    from ..templates.lockfile import LockFile
    from ..templates.repository import TemplateRepository
    from ..templates.store import TemplateStore


def populate(
    paths: Paths,
    uuid: str,
    wanted: EnvSpec,
    variables: Mapping[str, str],
    chosen: Chooser,
    *,
    subnets: Mapping[str, Address] | None,
    bootstrap: bool,
    build: bool,
) -> None:
    """Make the disks of an environment, and describe it in the prefix.

    Args:
        uuid: of the prefix.
        variables: what may stand in paths of the init file.
        chosen: where images come from.
        subnets: by net, where they were leased.
        bootstrap: tell machines their names and keys; otherwise `bootstrap` is none for all.
        build: do what `build` of disks says.

    Raises:
        InitFileError: all mistakes of the init file.
        LagoError: an image can't be had, a disk not be made.
    """
    with task("Fetch images"):
        names = wanted.templates()
        images = dict(zip(names, in_parallel(lambda n: chosen.get(*n), names, what="fetch images"), strict=True))
        wanted = appliances.unpack(wanted, paths, variables)
        plain = {path: backing.image(expand(path, variables), chosen) for path in wanted.layered()}
    resolved = _resolve(wanted, uuid, images, subnets, plain, variables)
    if not bootstrap:
        domains = {name: replace(one, bootstrap="none") for name, one in resolved.domains.items()}
        resolved = replace(resolved, domains=domains)
    resolved = _with_root_passwords(resolved)
    resolved = deploy.gather(resolved, paths, variables)
    all_disks = [disk for domain in resolved.domains.values() for disk in domain.disks]
    with task("Create disks"):
        in_parallel(lambda disk: qemu_img.create(disk, paths.prefix()), all_disks, what="create disks")
    with open(paths.ssh_id_rsa_pub(), encoding="utf-8") as file:
        key = file.read().strip()
    with task("Bootstrap VMs"):
        # Those of plugins are prepared by them, when they can be made.
        ours = [domain for domain in resolved.domains.values() if machines.is_own(domain.vm_provider)]
        in_parallel(lambda domain: prepare(domain, paths, key), ours, what="bootstrap VMs")
    if build:
        _build([disk for disk in all_disks if disk.build], paths, variables)
    state.save(paths, resolved)


def _resolve(
    wanted: EnvSpec,
    uuid: str,
    images: Mapping[tuple[str, str | None], TemplateImage],
    subnets: Mapping[str, Address] | None,
    plain: Mapping[str, TemplateImage],
    variables: Mapping[str, str],
) -> Topology:
    resolved = resolve.resolve(
        wanted,
        uuid=uuid,
        templates=images,
        subnets=subnets,
        layered=plain,
        variables=variables,
        defaults={
            "vm_type": config.get("default_vm_type"),
            "vm_provider": config.get("default_vm_provider"),
        },
    )
    for domain in resolved.domains.values():
        if domain.memory < (least := int(domain.image.get("minimum-memory", 0))):
            LOG.warning("%s has %d MiB of memory, its template needs %d", domain.name, domain.memory, least)
        machines.kind(domain.vm_type, domain.name)
        machines.provider(domain.vm_provider, domain.name)
    return resolved


def _with_root_passwords(resolved: Topology) -> Topology:
    """Let machines know the root password that they are given."""
    domains = {name: replace(one, root_password=logins.root_password(one)) for name, one in resolved.domains.items()}
    return replace(resolved, domains=domains)


def _build(todo: Iterable[Disk], paths: Paths, variables: Mapping[str, str]) -> None:
    if todo := list(todo):
        directory = variables[INITFILE_PATH_VARIABLE]
        with task("Build disks"):
            in_parallel(lambda disk: customize.build(disk, paths, directory), todo, what="build disks")


def path_variables(path: str, init_file: str) -> dict[str, str]:
    """What may stand in paths of an init file as `$NAME`, for a prefix that will be at `path`."""
    return {
        **os.environ,
        PREFIX_PATH_VARIABLE: path,
        WORKDIR_PATH_VARIABLE: os.path.dirname(path),
        INITFILE_PATH_VARIABLE: os.path.dirname(os.path.abspath(init_file)),
    }


class Wanted(NamedTuple):
    """What an init file wants, and what may stand in its paths as `$NAME`.

    Attributes:
        repository: where its templates come from, if that was found out.
    """

    spec: EnvSpec
    variables: Mapping[str, str]
    repository: TemplateRepository | None


def examine(
    init_file: str | Mapping[str, Any],
    path: str,
    repository: TemplateRepository | None = None,
    store: TemplateStore | None = None,
    lock: LockFile | None = None,
) -> tuple[Examined, Prerequisites]:
    """Find what is to be said of an init file before anything is made of it.

    Args:
        init_file: its path, or what it would say.
        path: where the prefix will be.
        repository: where templates come from, in place of the one of the configuration.
        store: where their images are kept, in place of the one of the configuration.
        lock: which images were used before.

    Returns:
        That, and what it was held against; relative paths of the file begin where it is.

    Raises:
        InitFileError: it is no init file at all.
    """
    from ..initfile import document

    if isinstance(init_file, str):
        read, place = document.read(init_file), init_file
    else:
        read, place = document.loads(_as_json(init_file), "the configuration"), DEFAULT_INIT_FILE
    variables = path_variables(path, place)
    needs = Prerequisites(variables, repository, store, lock)
    limits = Restrictions(variables).rules() if config.get("restrict") else ()
    return parse.examine(read, (*needs.rules(), *limits)), needs


def read_spec(
    init_file: str | Mapping[str, Any],
    path: str,
    repository: TemplateRepository | None = None,
    store: TemplateStore | None = None,
    lock: LockFile | None = None,
) -> Wanted:
    """Return what an init file wants, with the arguments of `examine`.

    Raises:
        InitFileError: all its mistakes.
        LagoError: there are not enough addresses for what it wants, say.
    """
    found, needs = examine(init_file, path, repository, store, lock)
    spec, asked = found.sound(), needs.templates
    resolve.check(spec, needs.variables)
    return Wanted(spec, needs.variables, None if isinstance(asked, LagoError) else asked)


def _as_json(configuration: Mapping[str, Any]) -> str:
    try:
        return json.dumps(configuration)
    except (TypeError, ValueError) as error:
        raise InitFileError(
            [Finding("the configuration", None, None, "", str(error))],
            hint="it is made of mappings, lists, text, numbers and truth values",
        ) from None
