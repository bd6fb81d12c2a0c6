"""What it costs to read an init file and decide everything it leaves open: 10, 100 and 1000 machines on 1 to 20 nets.

The floor of the largest is starting Python, `python -c pass`. That of each other step is the step before, ten times:
more than that is growth faster than linear.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise

from common import PYTHON, compare, finish, options, report, timed

from lago.initfile import document, parse
from lago.topology import model
from lago.topology import resolve as resolving
from lago.topology.address import Address

SIZES = ((10, 1), (100, 5), (1000, 20))
GROWTH_BUDGET = 1.2
BUDGET = 20.0


def init_file(vms: int, nets: int) -> str:
    """An init file as people write them."""
    lines = ["nets:", *(f"  net{n}: {{management: true}}" for n in range(nets)), "domains:"]
    for number in range(vms):
        lines += [
            f"  vm{number}:",
            "    memory: 512",
            "    vcpu: 1",
            f"    nics: [{{net: net{number % nets}}}]",
            "    disks:",
            "      - template_name: mini",
            "      - size: 1G",
        ]
    return "\n".join(lines)


def resolve(text: str) -> None:
    """From text to topology."""
    wanted = parse.parse(document.loads(text, "LagoInitFile"))
    image = model.TemplateImage(id="bench:mini:1", path="/store/mini", format="qcow2")
    subnets = {name: Address.of(10, 0, number, 1) for number, name in enumerate(wanted.nets)}
    images = dict.fromkeys(wanted.templates(), image)
    resolving.resolve(wanted, uuid="0" * 32, templates=images, subnets=subnets)


def spent(text: str, times: int = 1) -> float:
    """Seconds that it takes, `times` over."""
    began = time.perf_counter()
    for _ in range(times):
        resolve(text)
    return time.perf_counter() - began


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    texts = {vms: init_file(vms, nets) for vms, nets in SIZES}
    for text in texts.values():
        resolve(text)
    against = partial(compare, repeat=args.repeat)
    results = []
    for (small, _), (large, nets) in pairwise(SIZES):
        name = f"{large} VMs on {nets} nets, against {large // small} times {small} VMs"
        one, many = partial(spent, texts[large]), partial(spent, texts[small], large // small)
        results.append(against(name, one, many, budget=GROWTH_BUDGET))
    largest = SIZES[-1][0]
    python = partial(timed, PYTHON, "-c", "pass")
    results.append(against(f"{largest} VMs", partial(spent, texts[largest]), python, budget=BUDGET))
    return report("resolve", args, results, warm_up="each once")


if __name__ == "__main__":
    finish(main)
