"""What an init file may not do when it is somebody else's: the rules of `--restrict`.

They refuse whatever leads from guests to this host but its networks of their own: files outside of the init file's
directory, shared directories, programs that are run over disks or in guests with files of this host, bridges of the
host, and plugins that run machines.
"""

from __future__ import annotations

import os
import stat
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..constants import DEPLOY_SCRIPTS, INITFILE_PATH_VARIABLE, OVIRT_SCRIPTS
from ..errors import LagoError
from ..initfile.document import Mistake
from ..plugins import machines
from ..topology.place import Place
from ..topology.spec import EnvSpec
from ..topology.variables import expand, fill_in

if TYPE_CHECKING:
    from ..initfile.checks import Rule

_IF_TRUSTED: Final = "leave it out, or leave out --restrict (setting restrict) if you trust whoever wrote the file"


@dataclass(frozen=True)
class Restrictions:
    """Rules for an init file that is not trusted.

    Args:
        variables: what may stand in its paths as `$NAME`.
    """

    variables: Mapping[str, str]

    def rules(self) -> tuple[Rule, ...]:
        """Return them, for `lago.initfile.parse`."""
        return (self.disks, self.appliances, self.shares, self.programs, self.nets, self.providers)

    def disks(self, env: EnvSpec) -> Iterator[Mistake]:
        """Images are files beside the init file or below it, or come from a server."""
        for domain in env.domains.values():
            for disk in domain.disks:
                if disk.path and (disk.type == "file" or disk.template_type == "qcow2"):
                    yield from self._file(disk.at / "path", disk.path)
                if disk.url:
                    yield from self._address(disk.at / "url", disk.url)
                if disk.build:
                    what = "build runs programs over the disk, and may take files of this host into it"
                    yield Mistake(disk.at / "build", f"{what}: {_IF_TRUSTED}", of_key=True)

    def appliances(self, env: EnvSpec) -> Iterator[Mistake]:
        """Appliances likewise."""
        for domain in env.domains.values():
            if domain.ova:
                yield from self._address(domain.at / "url", domain.ova)

    def shares(self, env: EnvSpec) -> Iterator[Mistake]:
        """No directory of this host is shared with a guest."""
        for domain in env.domains.values():
            if domain.shares:
                what = "shares let the guest read and write directories of this host"
                yield Mistake(domain.at / "shares", f"{what}: {_IF_TRUSTED}", of_key=True)

    def programs(self, env: EnvSpec) -> Iterator[Mistake]:
        """No file of this host is run in a guest."""
        for domain in env.domains.values():
            for key in (DEPLOY_SCRIPTS, OVIRT_SCRIPTS):
                if domain.metadata.get(key):
                    what = f"{key} are read on this host and run in the guest"
                    yield Mistake(domain.at / "metadata" / key, f"{what}: {_IF_TRUSTED}", of_key=True)

    def nets(self, env: EnvSpec) -> Iterator[Mistake]:
        """No guest is on a network of this host."""
        for net in env.nets.values():
            if net.type == "bridge":
                what = "a bridge puts guests on a network of this host"
                yield Mistake(net.at / "type", f"{what}: write nat or isolated, or {_IF_TRUSTED}")

    def providers(self, env: EnvSpec) -> Iterator[Mistake]:
        """Machines are run by libvirt, and not by a plugin."""
        for domain in env.domains.values():
            if domain.vm_provider and not machines.is_own(domain.vm_provider):
                what = f"the plugin {domain.vm_provider} runs the machine elsewhere"
                yield Mistake(domain.at / "vm-provider", f"{what}: {_IF_TRUSTED}")

    def _address(self, at: Place, url: str) -> Iterator[Mistake]:
        # One that can't be filled in is told of as such.
        address = self._filled_in(url)
        if address is not None and address.lower().startswith("file:"):
            yield from self._file(at, urllib.parse.unquote(urllib.parse.urlsplit(address).path))

    def _filled_in(self, text: str) -> str | None:
        try:
            return fill_in(text, self.variables)
        except LagoError:
            return None

    def _file(self, at: Place, path: str) -> Iterator[Mistake]:
        try:
            found = os.path.realpath(expand(path, self.variables))
        except LagoError:
            return
        home = os.path.realpath(self.variables[INITFILE_PATH_VARIABLE])
        if os.path.commonpath((home, found)) != home:
            what = f"{found} is outside of {home}, the directory of the init file"
            yield Mistake(at, f"{what}: put it there, or {_IF_TRUSTED}")
        elif os.path.exists(found) and not stat.S_ISREG(os.stat(found).st_mode):
            yield Mistake(at, f"{found} is no file: {_IF_TRUSTED}")
