"""Removing a snapshot, and what nothing needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...host.parallel import in_parallel
from ...virt import checkpoint
from . import layers
from .index import Index

if TYPE_CHECKING:
    from ...virt import VM, VirtEnv


def remove(env: VirtEnv, name: str) -> None:
    """Remove a snapshot with the files that nothing else needs; all others stay valid. Raises LagoError."""
    index = Index.load(env.paths)
    index.remove(name)
    index.save(env.paths)
    tidy(env, index)


def tidy(env: VirtEnv, index: Index) -> None:
    """Remove files that nothing needs, and merge layers that only one other needs."""
    paths = env.paths
    domains = [vm.spec for vm in env.get_vms().values()]
    live = live_layers(env)
    layers.prune(paths, index, domains, [*live, *live_memory(env)])
    used = {path for top in live for path in index.chain(top)}
    found = layers.merges(paths, index, layers.tops_of(index, domains))
    for one in [one for one in found if one.path not in used]:
        layers.merge(paths, index, one)

    def pull(one: layers.Merge) -> layers.Merge:
        vm, dev = live[one.path]
        checkpoint.pull(vm, dev, layers.full(paths, one.below.backing))
        return one

    for one in in_parallel(pull, [one for one in found if one.path in live], what="merge layers"):
        layers.record_merge(paths, index, one)


def live_layers(env: VirtEnv) -> dict[str, tuple[VM, str]]:
    """The images that running machines write to, with machine and device."""
    return {
        layers.in_index(env.paths, path): (vm, dev)
        for vm in _running(env)
        for dev, path in checkpoint.live_tops(vm).items()
    }


def live_memory(env: VirtEnv) -> set[str]:
    """The files that running machines have mapped as their memory, and that their next snapshots are counted from."""
    bases = [checkpoint.base(vm) for vm in _running(env)]
    return {layers.in_index(env.paths, path) for path in bases if path}


def _running(env: VirtEnv) -> list[VM]:
    return [vm for vm in env.get_vms().values() if vm.provider is None and env.live and vm.alive()]
