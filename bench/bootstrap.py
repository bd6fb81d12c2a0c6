"""Time from start to ssh with each way of telling a guest its keys, against the same image with the key inside.

All boot `debian12`, for cloud-init with that installed. What virt-sysprep costs at init is told in `init_seconds`.
"""

from __future__ import annotations

import json
from functools import partial

from common import LAGO, compare, finish, options, report, room, say, timed, undisturbed

BUDGETS = {"credentials": 1.05, "cloud-init": None, "virt-sysprep": None}
"""Times the floor; what has none is only reported."""

TEMPLATES = {"cloud-init": "debian12-cloudinit"}


def measured(method: str, init_seconds: list[float] | None = None) -> float:
    """Seconds from start to ssh of one machine; those of its init are added to `init_seconds`."""
    disk: dict[str, object] = {"template_name": TEMPLATES.get(method, "debian12")}
    if method == "none":
        disk["build"] = [{"virt-customize": {"ssh-inject": ""}}]
    machine = {"memory": 512, "vcpu": 1, "bootstrap": method, "nics": [{"net": "net0"}], "disks": [disk]}
    with room() as where:
        init_file, workdir = where / "LagoInitFile", where / "environment"
        init_file.write_text(json.dumps({"domains": {"vm0": machine}, "nets": {"net0": {}}}), encoding="utf-8")
        path = workdir / "default"
        try:
            seconds = timed(LAGO, "--libvirt_url", "private", "-P", "default", "init", workdir, init_file)
            if init_seconds is not None:
                init_seconds.append(round(seconds, 2))
            return timed(LAGO, "--prefix-path", path, "start")
        finally:
            if path.exists():
                with undisturbed():
                    timed(LAGO, "--prefix-path", path, "destroy", "--yes")


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    say("warm-up: templates, and the appliance of libguestfs")
    for method in ("none", *BUDGETS):
        measured(method)
    results = []
    for method, budget in BUDGETS.items():
        init: list[float] = []
        floor = partial(measured, "none")
        limit = budget or float("inf")
        found = compare(method, partial(measured, method, init), floor, repeat=args.repeat, budget=limit)
        results.append({**found, "budget": budget, "init_seconds": init})
    return report("bootstrap", args, results, warm_up="one machine of each method")


if __name__ == "__main__":
    finish(main)
