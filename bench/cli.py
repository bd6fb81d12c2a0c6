"""What the command line costs: `lago --help`, `lago status` of a stopped environment, `lago shell VM true`.

The floor is starting Python; for `shell` also plain `ssh` over a shared connection to the same guest.
"""

from __future__ import annotations

from functools import partial

from common import LAGO, PYTHON, compare, finish, options, report, say, timed
from common.environment import Environment, environment, fetch_template

HELP_BUDGET = 4.5
STATUS_BUDGET = 6.0
SHELL_BUDGET = 3.0
_TIMEOUT = 120.0


def python() -> float:
    """Seconds of starting Python."""
    return timed(PYTHON, "-c", "pass")


def connected_ssh(one: Environment) -> list[str]:
    """A command line of plain ssh that runs `true` over a connection that stands."""
    ours = one.room / "ssh"
    guest = one.prefix.guest("vm0")._replace(control=str(ours))
    guest.open(_TIMEOUT)
    return ["ssh", "-F", "/dev/null", f"-oControlPath={ours}", f"{guest.user}@{guest.address}", "true"]


def main() -> int:
    """Measure and report."""
    args = options(__doc__)
    fetch_template()
    with environment(1) as one:
        one.init()
        against = partial(compare, repeat=args.repeat)
        timed(LAGO, "--help")
        results = [against("--help", lambda: timed(LAGO, "--help"), python, budget=HELP_BUDGET)]
        one.lago("status")
        results.append(against("status, stopped", lambda: one.lago("status"), python, budget=STATUS_BUDGET))
        say("lago start, and the first lago shell, which are not counted")
        one.lago("start")
        one.lago("shell", "vm0", "true")
        ssh = connected_ssh(one)
        timed(*ssh)
        shell = partial(one.lago, "shell", "vm0", "true")
        results.append(against("shell", shell, lambda: python() + timed(*ssh), budget=SHELL_BUDGET))
    return report("cli", args, results, warm_up="each command once")


if __name__ == "__main__":
    finish(main)
