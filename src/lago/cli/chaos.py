"""The command `chaos`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .environment import the_prefix
from .output import write
from .parser import Commands
from .result import Outcome


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    chaos = commands.add_parser(
        "chaos",
        description="Faults at random times, from a seed that makes the same plan again, which is shown "
        "first. In the end all is healed, also after Ctrl-C and if Lago is killed. With -f json the plan and what "
        "happened when are data. Exit status 1 if the check failed, or a fault could not be inflicted.",
    )
    chaos.add_argument("--seed", type=int, metavar="N", help="number that the plan follows from (a random one)")
    chaos.add_argument("--for", dest="chaos_time", type=_seconds, default=60.0, metavar="TIME", help="how long (1m)")
    chaos.add_argument("--faults", dest="chaos_kinds", default="", metavar="KIND,...", help="kinds of faults (all)")
    chaos.add_argument(
        "--check", dest="chaos_check", default="", metavar="CMD", help="a shell command that must succeed after each"
    )
    chaos.add_argument("--keep-going", action="store_true", help="go on when the check fails")
    chaos.add_argument("--plan", dest="only_plan", action="store_true", help="show the plan and break nothing")
    chaos.set_defaults(run=_chaos)


def _seconds(text: str) -> float:
    from ..environment.faults.values import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _chaos(args: argparse.Namespace) -> Outcome:
    import secrets

    from ..environment.chaos import Chaos, line
    from ..environment.faults.plans import plan

    prefix = the_prefix(args)
    seed = secrets.randbelow(1 << 32) if args.seed is None else args.seed
    steps = plan(prefix.topology, seed, args.chaos_time, [kind for kind in args.chaos_kinds.split(",") if kind])

    def say(text: str) -> None:
        write(text, sys.stderr)

    say(f"seed {seed}")
    for step in steps:
        say(f"{step.at:7.1f} s to {step.until:.1f} s  {step.fault}")
    data: dict[str, Any] = {"seed": seed, "seconds": args.chaos_time, "plan": [step._asdict() for step in steps]}
    if args.only_plan:
        return Outcome(None if args.out_format.for_people else data)
    chaos = Chaos(prefix, args.chaos_check, keep_going=args.keep_going, tell=lambda event: say(line(event)))
    well = chaos.run(steps)
    data |= {"ok": well, "timeline": chaos.timeline}
    # People have read it all as it came.
    shown = data if not args.out_format.for_people else None
    return Outcome(shown, exit_code=0 if well else 1)
