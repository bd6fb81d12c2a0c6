"""What the deploy scripts of a machine are told of itself and the others: as variables, and as files on it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from ..topology.model import Domain

_NONE: Final = "-"
"""What stands for the address of a machine that has none, so that names and addresses are in the same order."""

# The first directory that can be written to: an ordinary user can't have one in /etc.
_TELL: Final = """
for place in /etc/lago "${HOME:-/}/.lago"; do
    if { mkdir -p "$place" && printf %s "$1" >"$place/env" && printf %s "$2" >"$place/machines.json"; } 2>/dev/null
    then
        export LAGO_ENV_FILE="$place/env" LAGO_MACHINES_FILE="$place/machines.json"
        break
    fi
done
set -a
eval "$1"
set +a
shift 2
exec "$@"
"""


def variables(name: str, domains: Mapping[str, Domain]) -> dict[str, str]:
    """What a machine is told, by the name of the variable; lists have blanks between.

    Args:
        name: the machine.
        domains: all of its environment.
    """
    own = domains[name]
    found = {
        "LAGO_VM_NAME": name,
        "LAGO_VM_IP": own.ip or _NONE,
        "LAGO_VM_GROUPS": " ".join(own.groups),
        "LAGO_VMS": " ".join(domains),
        "LAGO_IPS": _ips(domains.values()),
    }
    members: dict[str, dict[str, Domain]] = {}
    for vm, domain in domains.items():
        for group in domain.groups:
            members.setdefault(_word(group), {})[vm] = domain
    for word, there in members.items():
        found[f"LAGO_VMS_OF_{word}"] = " ".join(there)
        found[f"LAGO_IPS_OF_{word}"] = _ips(there.values())
    return found


def _ips(domains: Iterable[Domain]) -> str:
    return " ".join(domain.ip or _NONE for domain in domains)


def _word(group: str) -> str:
    """A group as a part of the name of a variable."""
    return re.sub(r"[^A-Z0-9]", "_", group.upper())


def as_json(name: str, domains: Mapping[str, Domain]) -> str:
    """What a machine is told, with groups as they are called and the addresses on all nets."""
    machines = {
        vm: {
            "host_name": domain.host_name,
            "ip": domain.ip,
            "ips": {net: [str(nic.ip) for nic in domain.nics if nic.net == net and nic.ip] for net in _nets(domain)},
            "groups": list(domain.groups),
        }
        for vm, domain in domains.items()
    }
    groups = dict.fromkeys(group for domain in domains.values() for group in domain.groups)
    members = {group: [vm for vm, domain in domains.items() if group in domain.groups] for group in groups}
    return json.dumps({"name": name, "groups": members, "machines": machines}) + "\n"


def _nets(domain: Domain) -> list[str]:
    return list(dict.fromkeys(nic.net for nic in domain.nics))


def telling(name: str, domains: Mapping[str, Domain], command: Iterable[str]) -> list[str]:
    """A command for a machine that runs another one, which has the variables, when the files are there.

    Args:
        command: the other one, as words.
    """
    shell = "".join(f"{key}={shlex.quote(value)}\n" for key, value in variables(name, domains).items())
    return ["sh", "-c", _TELL, "sh", shell, as_json(name, domains), *command]
