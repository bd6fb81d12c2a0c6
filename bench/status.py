"""What `lago status` costs with 1, 10 and 100 running machines, at libvirt's test driver.

The floor is the same with one machine. How often libvirt is asked for the states of all is counted, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import libvirt
from common import LAGO, compare, finish, options, report, room, timed

from lago.environment.prefix import Prefix
from lago.host.files import json_text
from lago.paths import Paths
from lago.topology import state
from lago.topology.address import Address
from lago.topology.model import Domain, Net, Nic, Topology
from lago.topology.names import libvirt_domain_name

BUDGET = 2.0
_UUID = "0123456789abcdef" * 2


class Counted:
    """A connection to libvirt that counts what it is asked."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name != "isAlive":  # libvirt's client answers that by itself
            self.asked[name] += 1
        found: Callable[..., Any] = getattr(self._connection, name)
        return found


def prefix(path: Path, vms: int) -> Path:
    """An environment with so many machines, all of which run at a test driver of its own."""
    (path / "virt").mkdir(parents=True)
    names = [f"vm{number}" for number in range(vms)]
    domains = "".join(
        f"<domain type='test'><name>{libvirt_domain_name(_UUID, name)}</name><memory>1024</memory>"
        "<os><type>hvm</type></os></domain>"
        for name in names
    )
    (path / "node.xml").write_text(f"<node>{domains}</node>")
    (path / "uuid").write_text(_UUID)
    (path / "metadata").write_text(json_text({"libvirt_url": f"test://{path}/node.xml"}))
    lab = Net(name="lab", type="nat", management=True, gw=Address("192.168.200.1"), dhcp=None, mapping={})
    machines = {}
    for number, name in enumerate(names):
        nic = Nic(index=0, net="lab", mac=f"54:52:c0:a8:c8:{number + 2:02x}", ip=Address(f"192.168.200.{number + 2}"))
        machines[name] = Domain(name=name, memory=1, vcpu=1, nics=(nic,), disks=(), mgmt_net="lab")
    state.save(Paths(str(path)), Topology(domains=machines, nets={"lab": lab}))
    (path / "initialized").touch()
    return path


def questions(path: Path) -> dict[str, int]:
    """What libvirt is asked for the states of all machines."""
    env = Prefix(str(path)).virt_env
    counted = Counted(env.libvirt_con)
    kept = env._connection
    env._connection = counted, env.lifecycle
    try:
        states = env.states()
    finally:
        env._connection = kept
        env.close()
    if set(states.values()) != {"running"}:
        raise RuntimeError(f"not all run: {states}")
    return dict(counted.asked)


def main() -> int:
    """Measure and report."""
    args = options(__doc__, vms="10,100")
    results = []
    with room() as path:
        status = [LAGO, "-f", "json", "-p"]
        single = prefix(path / "1vm", 1)
        timed(*status, single, "status")
        floor = partial(timed, *status, single, "status")
        for vms in args.vms:
            several = prefix(path / f"{vms}vms", vms)
            asked = questions(several)
            measured = partial(timed, *status, several, "status")
            result = compare(f"status, {vms} VMs", measured, floor, repeat=args.repeat, budget=BUDGET)
            results.append({**result, "questions": asked, "ok": result["ok"] and sum(asked.values()) == 1})
    return report("status", args, results, warm_up="the floor once")


if __name__ == "__main__":
    finish(main)
