"""What an environment needs of this host before anything is made, as rules: images, scripts, templates, plugins.

Nothing is fetched to find it out. What only fetching would show is a note, which says what was not checked.
"""

from __future__ import annotations

import functools
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .. import config, templates
from ..constants import DEPLOY_SCRIPTS, OVIRT_SCRIPTS, PREFIX_PATH_VARIABLE, WORKDIR_PATH_VARIABLE
from ..errors import LagoError, TemplateError
from ..initfile.document import Mistake
from ..initfile.mistakes import expected
from ..plugins import machines
from ..topology.place import Place
from ..topology.spec import DiskSpec, DomainSpec, EnvSpec
from ..topology.variables import expand, fill_in_address
from .faults import words
from .faults.registry import KINDS

if TYPE_CHECKING:
    from ..initfile.checks import Rule
    from ..templates.lockfile import LockFile
    from ..templates.repository import TemplateRepository
    from ..templates.store import TemplateStore

_NOT_YET: Final = re.compile(rf"\$\{{?({PREFIX_PATH_VARIABLE}|{WORKDIR_PATH_VARIABLE})\b")
"""What is there only when the environment is."""

_FILE: Final = "file://"

_WITHOUT_NET: Final = "lago console and lago vnc reach it, lago shell does not"


@dataclass(frozen=True)
class Prerequisites:
    """Rules for an environment on this host.

    Args:
        variables: what may stand in paths of the init file as `$NAME`.
        repository: where templates come from, in place of the one of the configuration.
        store: where their images are kept, in place of the one of the configuration.
        lock: which images were used before.
    """

    variables: Mapping[str, str]
    repository: TemplateRepository | None = None
    store: TemplateStore | None = None
    lock: LockFile | None = None

    def rules(self) -> tuple[Rule, ...]:
        """Return them, for `lago.initfile.parse`."""
        return (
            self.known_templates,
            self.images,
            self.appliances,
            self.scripts,
            self.shares,
            self.plugins,
            self.reached,
            self.faults,
        )

    @functools.cached_property
    def templates(self) -> TemplateRepository | LagoError:
        """The repository that is asked for templates, or why none is."""
        try:
            return self.repository or _local_repository()
        except LagoError as error:
            return error

    def faults(self, env: EnvSpec) -> Iterator[Mistake]:
        """What may be broken by a name can be read, and is about machines and nets that there are."""
        for name, texts in env.faults.items():
            place = Place(("faults", name))
            if name in KINDS:
                yield Mistake(place, f"{name} can't be the name of faults, it is a fault itself", of_key=True)
            for text in texts:
                try:
                    fault = words.parse(text)
                except LagoError as error:
                    yield Mistake(place, f"{text!r} can't be inflicted: {error.what}")
                    continue
                for known, what, named in ((env.domains, "machine", fault.machines), (env.nets, "net", fault.nets)):
                    for one in sorted(named - set(known)):
                        yield Mistake(place, f"{text!r}: there is no {what} {one}{expected(one, known)}")

    def known_templates(self, env: EnvSpec) -> Iterator[Mistake]:
        """A template is in the repository, unless the lock file has an image of it that the store has."""
        wanted = [disk for disk in _disks(env) if disk.template_name and not self._stored(disk)]
        if not wanted:
            return
        repository = self.templates
        if isinstance(repository, LagoError):
            names = ", ".join(dict.fromkeys(str(disk.template_name) for disk in wanted))
            message = f"whether there is a template {names} was not checked: {repository.what}"
            yield Mistake(wanted[0].at / "template_name", message, kind="note")
            return
        for disk in wanted:
            key = "template_name"
            try:
                template = repository.get_by_name(str(disk.template_name))
                key = "template_version" if disk.template_version else key
                template.get_version(disk.template_version)
            except LagoError as error:
                yield Mistake(disk.at / key, _told(error))

    def _stored(self, disk: DiskSpec) -> bool:
        locked = self.lock.wanted(str(disk.template_name), disk.template_version) if self.lock else None
        return locked is not None and (self.store or templates.default_store()).has(locked.image)

    def images(self, env: EnvSpec) -> Iterator[Mistake]:
        """An image that a disk is made of is there."""
        for disk in _disks(env):
            if disk.url:
                yield from self._address(disk.at / "url", disk.url)
            elif disk.path and (disk.type == "file" or disk.template_type == "qcow2"):
                yield from self._there(disk.at / "path", disk.path, "the image {} is not there, correct its path")

    def appliances(self, env: EnvSpec) -> Iterator[Mistake]:
        """An appliance is there, as far as it is on this host."""
        for domain in env.domains.values():
            if domain.ova:
                yield from self._address(domain.at / "url", domain.ova)

    def scripts(self, env: EnvSpec) -> Iterator[Mistake]:
        """Deploy scripts are there."""
        remedy = "correct the path; what is relative begins where the init file is"
        for domain in env.domains.values():
            missing = f"the deploy script {{}} of {domain.name} is not there, {remedy}"
            for key in (DEPLOY_SCRIPTS, OVIRT_SCRIPTS):
                listed = domain.metadata.get(key)
                for index, script in enumerate(listed if isinstance(listed, list) else ()):
                    at = domain.at / "metadata" / key / index
                    if isinstance(script, str) and script:
                        yield from self._there(at, script, missing)

    def shares(self, env: EnvSpec) -> Iterator[Mistake]:
        """Directories that are shared are there."""
        for domain in env.domains.values():
            for share in domain.shares:
                if share.path:
                    missing = "{} is no directory, make it, or correct the path"
                    yield from self._there(share.at / "path", share.path, missing, directory=True)

    def plugins(self, env: EnvSpec) -> Iterator[Mistake]:
        """What makes machines, and what runs them, is installed."""
        for domain in env.domains.values():
            yield from _plugin(domain, "vm-type", machines.kind, domain.vm_type or config.get("default_vm_type"))
            yield from _plugin(domain, "vm-provider", machines.provider, _provider(domain))

    def reached(self, env: EnvSpec) -> Iterator[Mistake]:
        """A machine that libvirt runs can be reached over a net."""
        bridges = {net.name for net in env.nets.values() if net.type == "bridge"}
        for domain in [one for one in env.domains.values() if machines.is_own(_provider(one))]:
            at, nets = domain.at, {nic.net for nic in domain.nics}
            if not nets:
                message = f"it has no nic, so it has no address: {_WITHOUT_NET}"
                yield Mistake(at, message, of_key=True, unless=at / "nics", kind="warning")
            elif nets <= bridges:
                message = f"its nics are on bridges only, where Lago knows no address of it: {_WITHOUT_NET}"
                yield Mistake(at / "nics", message, of_key=True, unless=at / "nics", kind="warning")

    def _there(self, at: Place, path: str, missing: str, *, directory: bool = False) -> Iterator[Mistake]:
        try:
            found = expand(path, self.variables)
        except LagoError as error:
            yield Mistake(at, _told(error))
            return
        there = os.path.isdir(found) if directory else os.path.exists(found) and not os.path.isdir(found)
        if not there and not _NOT_YET.search(path):
            yield Mistake(at, missing.format(found))

    def _address(self, at: Place, url: str) -> Iterator[Mistake]:
        try:
            address = fill_in_address(url, self.variables)
        except LagoError as error:
            yield Mistake(at, _told(error))
            return
        if address.startswith(_FILE) and not _NOT_YET.search(url):
            path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
            if not os.path.isfile(path):
                yield Mistake(at, f"{path} is not there, correct the address")


def _disks(env: EnvSpec) -> Iterator[DiskSpec]:
    return (disk for domain in env.domains.values() for disk in domain.disks)


def _local_repository() -> TemplateRepository:
    """The repository of the configuration. Raises LagoError if it is not on this host, or can't be used."""
    path = config.get("template_repo_path")
    if "://" in path and not path.startswith(_FILE):
        raise TemplateError(f"the template repository {path} is not on this host")
    return templates.default_repository()


def _provider(domain: DomainSpec) -> str:
    return domain.vm_provider or str(config.get("default_vm_provider"))


def _plugin(domain: DomainSpec, key: str, find: Any, name: str) -> Iterator[Mistake]:
    try:
        find(name, domain.name)
    except LagoError as error:
        yield Mistake(domain.at / key, _told(error).removeprefix(f"{domain.name}: "))


def _told(error: LagoError) -> str:
    return f"{error.what}, {error.hint}" if error.hint else error.what
