"""oVirt environments: Lago with machines that are an engine and its hosts.

| module | alone knows |
|---|---|
| `prefix` | an environment as a whole: start and stop, snapshot and revert |
| `virt`, `machines` | which machines there are and what they are |
| `engine`, `login` | the engine's machine, and logging in to the engine |
| `connection`, `transport` | how requests get to machines that the host has no route to |
| `identity` | which certificate is the engine's |
| `waiting`, `events` | bounded waits, and the engine's own words |
| `hosts`, `storage`, `vms` | what the engine has, and how each comes to rest and wakes |
| `rest` | the order of that |
| `cpu` | what oVirt calls processors |
| `iso` | uploads |
| `status` | what `lago ovirt status` shows |
| `reposetup` | what the repositories of packages are made of, and what wins |
| `reposync`, `sources`, `builds` | packages from repositories, from elsewhere and from source code |
| `merge_repos`, `rpms`, `replacing` | how they become one repository, the order of versions, its replacement |
| `repoverify`, `repoconfig` | whether copies of repositories are complete, and what dnf is told about them |
| `utils`, `server` | serving repositories to the machines |
| `testlib` | what tests are made of: `polling`, `sequences` and `capabilities`, and decorators |
| `pytest_plugin` | the same as fixtures and markers |
| `testrun` | how pytest is run, and where its report goes |
| `paths`, `constants` | names of files, and numbers that several modules share |
| `cli` | `lago ovirt` |

It is built on Lago's public API only, as any plugin is. `ovirtsdk4` is needed for what talks to an engine and imported
there, as is `createrepo_c` for what reads packages: the extra `ovirt` of this distribution has both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .prefix import OvirtPrefix

__all__ = ["OvirtPrefix"]


def __getattr__(name: str) -> Any:
    # Lazily, as in `lago`.
    if name == "OvirtPrefix":
        from .prefix import OvirtPrefix

        return OvirtPrefix
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
