"""`lago start` of `mini` machines, from the start of the process until all answer ssh, against bare QEMU.

Both boot from fresh overlays on the same image, with the same kernel, seed disk, memory, processors and accelerator.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from common import bare, compare, finish, options, report, say, timed
from common.environment import Environment, environment

from lago import config
from lago.hypervisor import accel

BUDGET = 1.25


def measured(one: Environment) -> float:
    """Seconds of `lago start`; it returns when all machines have run `true` over ssh."""
    if not one.path.exists():
        one.init()
    seconds = one.lago("start")
    one.destroy()
    return seconds


def floor(one: Environment) -> float:
    """Seconds of the same under bare QEMU; the environment lends its seed disks, addresses and key."""
    one.init()
    prefix = one.prefix
    where = one.room / "bare"
    where.mkdir(exist_ok=True)
    topology = prefix.topology
    spec = {
        "accel": "tcg,thread=multi" if accel.choose(config.get("accel")).kind == "tcg" else "kvm",
        "room": str(where),
        "gateway": topology.nets["net0"].gw,
        "user": prefix.guest("vm0").user,
        "key": prefix.paths.ssh_id_rsa(),
        "vms": [_machine(one, where, name) for name in topology.domains],
    }
    return bare.boot(spec)


def _machine(one: Environment, where: Path, name: str) -> dict[str, Any]:
    domain = one.prefix.topology.domains[name]
    image = domain.disks[0].template
    assert image is not None
    disk = where / f"{name}.qcow2"
    disk.unlink(missing_ok=True)
    timed("qemu-img", "create", "-q", "-f", "qcow2", "-b", image.path, "-F", image.format, disk)
    return {
        "ip": domain.ip,
        "mac": domain.nics[0].mac,
        "memory": domain.memory,
        "vcpu": domain.vcpu,
        "disk": str(disk),
        "seed": one.prefix.paths.images(f"{name}_seed.iso"),
        **{key: image.metadata[key] for key in ("kernel", "initrd", "cmdline")},
    }


def main() -> int:
    """Measure and report."""
    args = options(__doc__, vms="1,3")
    say("warm-up: a first lago start, which fills caches and is not counted")
    with environment(1) as one:
        measured(one)
    results = []
    for vms in args.vms:
        with environment(vms) as one:
            name = f"start of {vms} VM{'s' if vms > 1 else ''}"
            results.append(
                compare(name, partial(measured, one), partial(floor, one), repeat=args.repeat, budget=BUDGET)
            )
    return report("boot", args, results, warm_up="one lago start, for libvirt's cache of QEMU's capabilities")


if __name__ == "__main__":
    finish(main)
