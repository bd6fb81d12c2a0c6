"""The machines of an environment as an inventory for Ansible, in its INI format or as a dynamic inventory has it.

A key is a path into the description of a machine, such as `vm-type` or `disks/0/name`; each value there makes a group
`<key>=<value>`. A machine is also in the groups that its init file names.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ..errors import LagoError
from ..host import ssh_option
from ..hypervisor import Hypervisor, proxy
from ..paths import Paths
from ..topology import state
from ..topology.model import Domain
from .ssh import Guest

KEYS: Final = ("vm-type", "groups", "vm-provider")
"""The keys that make groups if nothing else is said."""

UNGROUPED: Final = "ungrouped"
"""Ansible's own name for the group of those that are in no other."""

_NO_NAME: Final = re.compile(r"[\s:\[\]#]")
"""What can't be in the name of a group in an INI inventory."""


class Inventory:
    """Machines in groups.

    Attributes:
        groups: names of machines by group, sorted.
        hosts: variables by machine; those of machines that have no address are not there.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], hosts: Mapping[str, Mapping[str, str]]) -> None:
        self.groups = groups
        self.hosts = hosts

    def ini(self) -> str:
        """Text of a file for `ansible-playbook -i`."""
        lines = []
        for group, names in self.groups.items():
            lines.append(f"[{group}]")
            lines += [" ".join([name, *map(_assignment, self.hosts[name].items())]) for name in names]
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """Data of a dynamic inventory."""
        groups = {group: {"hosts": list(names)} for group, names in self.groups.items()}
        return {**groups, "_meta": {"hostvars": {name: dict(variables) for name, variables in self.hosts.items()}}}


def inventory(
    domains: Mapping[str, Domain],
    guest: Callable[[str], Guest],
    paths: Paths,
    hypervisor: Hypervisor,
    keys: Iterable[str] = KEYS,
) -> Inventory:
    """The inventory of machines that have an address to be managed at.

    Args:
        guest: how to log in to a machine.
        keys: what makes groups; where a machine has nothing at a key, it is in no group of it.

    Raises:
        LagoError: a key leads to a mapping, which is no name of a group.
    """
    groups: dict[str, set[str]] = {}
    hosts: dict[str, dict[str, str]] = {}
    keys = list(keys)
    for name, domain in domains.items():
        login = guest(name)
        if not login.address:
            continue
        hosts[name] = _variables(login, paths, hypervisor)
        spec = state.vm_to_json(domain)
        found = [*domain.groups, *(one for key in keys for one in _groups(spec, key))]
        for group in found or [UNGROUPED]:
            groups.setdefault(_NO_NAME.sub("_", group), set()).add(name)
    return Inventory({group: sorted(groups[group]) for group in sorted(groups)}, hosts)


def _variables(guest: Guest, paths: Paths, hypervisor: Hypervisor) -> dict[str, str]:
    # Other environments have machines of the same addresses: neither a known key nor a shared connection may be theirs.
    options = [f"-o{key}={value}" for key, value in guest.settings.items()]
    if not hypervisor.shared and not guest.outside:
        options.append(f"-oProxyCommand={proxy.command(paths.prefix())}")
    sockets = os.path.join(hypervisor.socket_dir(), "ansible")
    # Ansible makes this directory, and passes it to ssh, in the one spelling that it is given.
    shared = sockets == _in_quotes(sockets)
    if not shared:
        options.append("-oControlPath=none")
    return {
        "ansible_host": guest.address,
        "ansible_ssh_private_key_file": _in_quotes(guest.key),
        "ansible_user": guest.user,
        "ansible_ssh_common_args": shlex.join(options),
        **({"ansible_control_path_dir": sockets} if shared else {}),
    }


def _in_quotes(path: str) -> str:
    """A path as ssh reads it in the quotes that Ansible puts around it."""
    return ssh_option.quote(path)[1:-1]


def _assignment(variable: tuple[str, str]) -> str:
    name, value = variable
    return f"{name}={shlex.quote(value)}"


def _groups(spec: Mapping[str, Any], key: str) -> list[str]:
    """The groups that a key makes for a machine."""
    found = _at(spec, [part for part in key.split("/") if part])
    values = found if isinstance(found, list | tuple) else [] if found is None else [found]
    if any(isinstance(value, Mapping | list | tuple) for value in values):
        raise LagoError(
            f"the key {key!r} leads to more than a value, which can't be the name of a group",
            hint="go on to a value: disks/0/name",
        )
    return [f"{key}={value}" for value in values]


def _at(value: Any, parts: Sequence[str]) -> Any:
    """What is at a path; None if there is nothing."""
    for part in parts:
        try:
            value = value[part] if isinstance(value, Mapping) else value[int(part)]
        except (KeyError, ValueError, IndexError, TypeError):
            return None
    return value
