"""oVirt environments: Lago with machines that are an engine and its hosts.

| module | alone knows |
|---|---|
| `pytest_plugin` | fixtures and markers for tests |
| `testlib` | the same as functions and decorators |
| `cli` | `lago ovirt` |
| `prefix` | an environment as a whole: start and stop, snapshot and revert |
| `testing.run` | how pytest is run, and where its report goes |
| `testing.polling`, `testing.sequences`, `testing.capabilities` | what tests are made of |
| `virt` | which machines there are, and which of them is the engine |
| `engine.machine` | the engine's machine, which offers what `engine.contract` says |
| `engine.rest` | the order in which everything gets to rest, and wakes |
| `engine.hosts`, `engine.storage`, `engine.vms` | what the engine has, and how each comes to rest and wakes |
| `engine.cpu`, `engine.iso`, `engine.status` | what oVirt calls processors; uploads; what `lago ovirt status` shows |
| `engine.login`, `engine.identity` | logging in to the engine, and which certificate is its own |
| `engine.steps`, `engine.waiting` | what is done side by side; bounded waits |
| `engine.events` | the engine's own words |
| `engine.connection`, `engine.transport` | how requests get to machines that the host has no route to |
| `engine.contract` | what an engine offers to all of these |
| `machines` | what machines of an oVirt environment have in common, and what hosts are |
| `packages.setup` | what the repositories of packages are made of, and what wins |
| `packages.sync`, `packages.sources`, `packages.builds` | packages of repositories, from elsewhere, of sources |
| `utils`, `packages.server` | serving repositories to the machines |
| `merge_repos`, `repoverify` | how packages become one repository; whether copies of repositories are complete |
| `repository.rpms` | headers of packages, and the order of versions |
| `repository.config`, `repository.replace` | what dnf is told of repositories; their replacement as a whole |
| `paths`, `errors`, `constants` | names of files, what goes wrong, and names and numbers that several modules share |

The modules stand from the top down: each imports only what is below it.

It is a plugin that comes with Lago. It uses what the manual documents of Lago, as any plugin may, and besides these
names, which may change with any release:

| of `lago` | for |
|---|---|
| `log`: `LOG`, `task`, `to_file`, `no_phase` | steps that are logged and shown as Lago's own, or heard by nobody |
| `host.files`: `replacing` | files that are there as a whole |
| `host.fetch`: `fetch`, `read_text` | what lies on servers |
| `host.programs`: `spawn`, `PIPE`, `Process`, `tail` | programs beside us, and the last words of one |
| `host.waiting`: `poll`, `readable` | bounded waits |
| `environment.workdir`: `find_prefix` | the environment that a command line or a directory means |
| `environment.collect`: `flat_names` | names of collected files |
| `cli.environment`: `deploy` | commands that are as Lago's own |
| `cli.parser`: `Commands`, `PrintVersion` | a type; an option |
| `cli.artifacts`: `add_collect_options` | their options |
| `cli.output`: `announce` | what is printed before a command ends |
| `cli.progress`: `shown` | progress |
| `environment.report`: `file_name`, `of_environment`, `of_error` | what a failed test is told of its environment |
| `topology.model`: `Domain`, `Net`, `Topology` | types |
| `environment.snapshots.index`: `Snapshot` | a type |
| `guest.ssh`: `Guest` | a type |
| `hypervisor`: `Hypervisor` | a type |
| `hypervisor.accel`: `Accel` | a type |
| `virt.readiness`: `Phase` | a type |

`ovirtsdk4` is needed for what talks to an engine and imported there, as is `createrepo_c` for what reads packages: the
extra `ovirt` of this distribution has both.
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
