"""The commands that reach into an environment: shell, nsexec."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import LagoError, VMNotFound
from ..journal.calls import before_another_program, doing
from .environment import the_prefix
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..environment.prefix import Prefix
    from ..guest.ssh import Guest
    from ..journal.commands import Command


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    shell = commands.add_parser(
        "shell",
        usage="lago shell HOST [[-c] COMMAND... | SCRIPT | -]",
        description="Without more, an interactive shell (or the script on standard input). A single word that is a "
        "local file is run as a bash script, - is a script on standard input, anything else is a command.",
        prefix_chars="\0",
        add_help=False,
    )
    shell.add_argument("host", metavar="HOST", action=_HostOrHelp, help="the machine, or an end that only its name has")
    shell.add_argument("args", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run there")
    shell.set_defaults(run=_shell)
    nsexec = commands.add_parser(
        "nsexec",
        usage="lago nsexec -- CMD [ARG...]",
    )
    nsexec.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="what to run, with its arguments")
    nsexec.set_defaults(run=_nsexec)


class _HostOrHelp(argparse.Action):
    """No word after the host is for us, so nothing but the place of `--help` tells that it is."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, _option: str | None = None
    ) -> None:
        if value in ("-h", "--help"):
            parser.print_help()
            parser.exit()
        setattr(namespace, self.dest, value)


def find(prefix: Prefix, host: str) -> str:
    """Name of the machine that is called `host`, or else of the only one whose name ends so. Raises VMNotFound."""
    names = prefix.topology.domains
    ends_so = [host] if host in names else [name for name in names if host and name.endswith(host)]
    if len(ends_so) > 1:
        raise VMNotFound(f"{host} may be {' or '.join(ends_so)}", hint="write the whole name")
    return prefix.domain(ends_so[0] if ends_so else host).name


def _shell(args: argparse.Namespace) -> Outcome:
    prefix = the_prefix(args)
    name = find(prefix, args.host)
    words = args.args[1:] if args.args[:1] == ["-c"] else args.args
    script = words[0] if len(words) == 1 and words == args.args and _is_script(words[0]) else None
    # Words are joined into a line for the guest's shell, as ssh joins them.
    line = " ".join(words) or "bash"
    tty = script is None and sys.stdin.isatty() and (not words or sys.stdout.isatty())
    with doing(prefix.journal, "shell"), _told(prefix, name, line, script, tty=tty) as told:
        guest = connect(prefix, name)
        if script is not None:
            code = _script(guest, script)
        elif tty:
            code = guest.interact(line)
        else:
            code = guest.feed(line, sys.stdin.fileno())
        told.ended_with(code)
    return Outcome(None, code)


def _is_script(word: str) -> bool:
    return word == "-" or os.path.isfile(word)


@contextlib.contextmanager
def _told(prefix: Prefix, name: str, line: str, script: str | None, *, tty: bool) -> Iterator[Command]:
    """Context manager: something runs on a machine, as the journal tells."""
    from ..bootstrap import logins
    from ..journal import commands

    text = line if script is None else f"bash -s < {shlex.quote(script)}"
    with commands.command(prefix.journal, name, logins.user(prefix.domain(name)), text, tty=tty) as told:
        yield told


def connect(prefix: Prefix, name: str) -> Guest:
    """How to log in to a machine, to which there is a connection. Raises VMNotRunning, VMNotReady."""
    guest = prefix.guest(name)
    # One that is frozen on purpose would let us wait.
    if not guest.connected() or os.path.exists(prefix.paths.faults()):
        env = prefix.virt_env
        try:
            env.get_vm(name).connect()
        finally:
            env.close()
    return guest


def _script(guest: Guest, path: str) -> int:
    if path == "-":
        return guest.feed("bash -s", sys.stdin.fileno())
    with open(path, "rb") as script:
        return guest.feed("bash -s", script)


def _become(argv: list[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(argv[0], argv)  # noqa: S606 - an argument list


def _nsexec(args: argparse.Namespace) -> NoReturn:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise LagoError("nsexec needs a program to run", hint="lago nsexec -- CMD [ARG...]")
    prefix = the_prefix(args)
    hypervisor = prefix.hypervisor
    if hypervisor.shared:
        raise LagoError(
            "this environment has no network namespace of its own, its networks are the host's",
            hint="run the program as it is",
        )
    with doing(prefix.journal, "nsexec"):
        prefix.resume()
        argv = hypervisor.command(command)
    before_another_program()
    _become(argv)
