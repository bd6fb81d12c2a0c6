"""`lago init` with the template in the store, against the programs that it can't do without, one after another."""

from __future__ import annotations

from functools import partial

from common import PYTHON, compare, finish, options, report, timed
from common.environment import Environment, environment, fetch_template

from lago import templates

BUDGET = 2.0


def measured(one: Environment) -> float:
    """Seconds of `lago init`."""
    seconds = one.init()
    one.destroy()
    return seconds


def floor(one: Environment, vms: int) -> float:
    """Seconds of starting Python, making a key and making the overlays."""
    version = templates.default_repository().get_by_name("mini").get_version()
    image = templates.default_store().get_image(version)
    where = one.room / "floor"
    where.mkdir()
    seconds = timed(PYTHON, "-c", "pass")
    seconds += timed("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", where / "key")
    disks = [where / f"vm{number}.qcow2" for number in range(vms)]
    for disk in disks:
        seconds += timed("qemu-img", "create", "-q", "-f", "qcow2", "-b", image.path, "-F", image.format, disk)
    for file in (*disks, where / "key", where / "key.pub"):
        file.unlink()
    where.rmdir()
    return seconds


def main() -> int:
    """Measure and report."""
    args = options(__doc__, vms="3,30")
    fetch_template()
    results = []
    for vms in args.vms:
        with environment(vms) as one:
            name = f"init of {vms} VM{'s' if vms > 1 else ''}"
            results.append(
                compare(name, partial(measured, one), partial(floor, one, vms), repeat=args.repeat, budget=BUDGET)
            )
    return report("init", args, results, warm_up="one lago init")


if __name__ == "__main__":
    finish(main)
