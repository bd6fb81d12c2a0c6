"""The command line. The only room that prints or exits.

`main` reads the arguments, calls the verb's function, prints what it returns in the wanted format, and turns errors
into text and an exit status: 0; 2 for what the user can mend; 1 for what we must mend; 128 + n for signals; the status
of a guest's command as it is.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final, NoReturn

from .. import config, log
from ..errors import LagoError
from . import output
from .outcome import Outcome

_FOR_THE_USER: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, your quota is used up",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "choose a place that is yours to read and write",
    errno.EPERM: "choose a place that is yours to read and write",
}
"""What the system refuses for reasons that are not ours."""

_GLOBALS_FOR_CONFIG: Final = ("libvirt_url", "accel", "ssh_user", "egress")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    from . import doctor, environment, guests, template

    parser = argparse.ArgumentParser(
        prog="lago", description="Virtual machines and networks from one file: up, reachable and disposable."
    )
    add = parser.add_argument
    add("--version", action=_Version, nargs=0, help="print the version and exit")
    add("-l", "--loglevel", choices=("info", "debug", "error", "warning"), default="info", help="what is shown (info)")
    add("--logdepth", type=int, default=3, metavar="N", help="how deep steps are shown, -1 for all (3)")
    add("-f", "--out-format", choices=tuple(output.FORMATS), default="default", help="how data is printed")
    add("-p", "--prefix-path", metavar="PATH", default=config.get("prefix_path", None), help="the prefix, by path")
    add("-w", "--workdir-path", metavar="PATH", default=config.get("workdir_path", None), help="the workdir, by path")
    add("-P", "--prefix-name", metavar="NAME", default="current", help="the prefix, by name in the workdir (current)")
    add("--ssh-user", metavar="USER", help=config.OPTIONS["ssh_user"].help)
    add("--libvirt_url", metavar="URI", help=config.OPTIONS["libvirt_url"].help)
    add("--accel", choices=("auto", "kvm", "tcg"), help=config.OPTIONS["accel"].help)
    add("--egress", choices=("auto", "slirp4netns", "pasta", "none"), help=config.OPTIONS["egress"].help)
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB")
    for family in (environment, guests, template, doctor):
        family.add_parsers(verbs)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from .. import __version__

        print(f"{parser.prog} {__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    try:
        return _main(argv)
    except LagoError as error:
        _complain(error)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has had enough; a second write at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        hint = _FOR_THE_USER.get(error.errno or 0)
        if hint is None:
            raise
        _complain(LagoError(f"{error.strerror}{f': {error.filename}' if error.filename else ''}", hint=hint))
        return LagoError.exit_code
    except KeyboardInterrupt:
        print("lago: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _main(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help()
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    log.setup_console(args.loglevel, args.logdepth)
    config.set_command_line({name: getattr(args, name) for name in _GLOBALS_FOR_CONFIG})
    result = args.run(args)
    outcome = result if isinstance(result, Outcome) else Outcome(result)
    output.show(outcome, args.out_format, sys.stdout)
    return outcome.exit_code


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _complain(error: LagoError) -> None:
    log.LOG.debug("failed", exc_info=error)
    print(f"lago: {error.render()}", file=sys.stderr)


def run() -> NoReturn:
    """What the console scripts call."""
    sys.exit(main())
