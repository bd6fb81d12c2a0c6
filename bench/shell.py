"""What `lago shell VM true` costs as a process, when the machine was connected to before.

The floor is starting Python, and plain `ssh` over a shared connection to the same guest.
"""

from __future__ import annotations

from cli import connected_ssh, python
from common import compare, finish, options, report, timed
from common.environment import environment, fetch_template

BUDGET = 2.5


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    fetch_template()
    with environment(1) as one:
        one.init()
        one.lago("start")
        one.lago("shell", "vm0", "true")
        ssh = connected_ssh(one)
        timed(*ssh)
        result = compare(
            "shell, second call",
            lambda: one.lago("shell", "vm0", "true"),
            lambda: python() + timed(*ssh),
            repeat=args.repeat,
            budget=BUDGET,
        )
    return report("shell", args, [result])


if __name__ == "__main__":
    finish(main)
