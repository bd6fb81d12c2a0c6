"""Machines that are elsewhere: a host has each of them, and a script there that starts and stops it.

Everything goes over plain ssh. The metadata of a machine says where it is:

    domains:
      builder:
        vm-provider: remote
        metadata:
          remote:
            host: lab7.example.com                  # has the machine; a name of ssh_config(5) will do
            options: [-F, lab.conf]                 # more for ssh to the host, if need be
            control: /usr/local/sbin/machine        # the script there
            address: builder.example.com            # the machine itself
            port: 22
            known-hosts: lab.known_hosts            # without it those of the user

The script is run as `CONTROL COMMAND [NAME]`. Commands are `prepare`, which reads the public key that Lago logs in
with, `on`, `off`, `shutdown`, `reboot`, `save NAME`, `restore NAME`, and `state`, which prints `running` or `down`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lago.errors import VMError
from lago.plugins.contracts import Login, Machine
from lago.utils import run_command

_NEEDED: Final = ("host", "control", "address")
_SSH: Final = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")


class Remote:
    """Run a machine of a host elsewhere."""

    def __init__(self, vm: Machine) -> None:
        self._vm = vm

    def _settings(self) -> Mapping[str, Any]:
        """What the init file says. Raises VMError if something is missing."""
        said = self._vm.metadata.get("remote")
        settings = said if isinstance(said, Mapping) else {}
        if missing := [key for key in _NEEDED if key not in settings]:
            raise VMError(
                f"{self._vm.name()}: its vm-provider does not know where it is",
                details=f"its metadata lacks {', '.join(f'remote: {{{key}: ...}}' for key in missing)}",
                hint="say it in the init file, and lago init again",
            )
        return settings

    def _control(self, command: str, *names: str, data: str | None = None) -> str:
        """Run the script on the host; what it prints. Raises VMError if it fails, or can't be run."""
        settings = self._settings()
        host, control = str(settings["host"]), str(settings["control"])
        options = [str(option) for option in settings.get("options", ())]
        status = run_command([*_SSH, *options, "--", host, shlex.join([control, command, *names])], input_data=data)
        if status:
            raise VMError(
                f"{self._vm.name()}: {control} {command} failed on {host}",
                details=status.err.decode(errors="replace").strip(),
                hint=f"ssh {host} {control} {command}",
            )
        return status.out.decode(errors="replace").strip()

    def login(self) -> Login:
        """Log in with the key of the environment, which `prepare` has brought there."""
        settings = self._settings()
        known = settings.get("known-hosts")
        return Login(
            address=str(settings["address"]),
            port=int(settings.get("port", 22)),
            known_hosts=None if known is None else str(Path(known).expanduser().absolute()),
        )

    def bootstrap(self) -> None:
        """Let the environment's key in."""
        self._control("prepare", data=Path(self._vm.env.paths.ssh_id_rsa_pub()).read_text())

    def start(self) -> None:
        """Switch it on."""
        self._control("on")

    def stop(self) -> None:
        """Pull its plug."""
        self._control("off")

    def shutdown(self) -> None:
        """Let it power off."""
        self._control("shutdown")

    def reboot(self) -> None:
        """Let it boot again."""
        self._control("reboot")

    def state(self) -> str:
        """Ask the host."""
        return self._control("state")

    def running(self) -> bool:
        """Ask the host."""
        return self.state() != "down"

    def create_snapshot(self, name: str) -> None:
        """Let the host save its disk."""
        self._control("save", name)

    def revert_snapshot(self, name: str) -> None:
        """Let the host bring its disk back."""
        self._control("restore", name)
