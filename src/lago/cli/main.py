"""The program `lago`: `main(argv) -> int`, its parser, and what it says of failures."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Collection, Container, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn, cast

from .. import config, log
from ..errors import LagoError
from ..journal import calls
from . import output, settings
from .commands import COMMANDS, NAMES
from .parser import Commands, Parser, PrintVersion
from .result import Outcome


def build_parser(
    words: Collection[str] | None = (), *, to_list: bool = False
) -> tuple[argparse.ArgumentParser, Commands[argparse.ArgumentParser]]:
    """Build the parser of the command line, and return it with its commands.

    Args:
        words: of the command line. If one of them is a command of Lago's, commands of which none is among them may be
            left out, since making all takes longer than many a command; of plugins always. None: all that there are.
        to_list: commands that none of the words names need only be in the list of commands, those of plugins too.
    """
    from importlib import import_module

    from . import plugin_commands

    parser: argparse.ArgumentParser = Parser(
        prog="lago",
        description="Virtual machines and networks from one file: up, reachable and disposable.",
        epilog="To begin: lago new, lago init, lago start, lago shell vm0; in the end lago destroy. "
        "What a command takes: lago COMMAND --help",
        all_commands=lambda: build_parser(None)[1].choices,
    )
    parser.add_argument("--version", action=PrintVersion, nargs=0, help="print the version and exit")
    _add_globals(parser)
    commands = cast(
        settings.ConfiguredCommands,
        parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", action=settings.ConfiguredCommands),
    )
    for listed in COMMANDS.values():
        for names, help_ in listed.items():
            name, *others = names.split()
            commands.announce(name, others, help_)
    meant = dict.fromkeys(NAMES[word] for word in words or () if word in NAMES)
    for module in meant or (() if to_list else COMMANDS):
        import_module(f".{module}", __package__).add_parsers(commands)
    plugin_commands.add_parsers(commands, None if to_list else words)
    return parser, commands


def _add_globals(parser: argparse.ArgumentParser) -> None:
    """Add the global options. Their defaults are those of the configuration."""

    def add(*names: str, **more: Any) -> None:
        option = config.OPTIONS[names[-1].removeprefix("--").replace("-", "_")]
        if option.choices:
            more["choices"] = option.choices
        parser.add_argument(*names, help=option.help, **more)

    add("-l", "--loglevel")
    add("--logdepth", type=int, metavar="N")
    add("-f", "--out-format", choices=_Formats(), metavar="{default,flat,json,yaml}")
    add("-p", "--prefix-path", metavar="PATH")
    add("-w", "--workdir-path", metavar="PATH")
    add("-P", "--prefix-name", metavar="NAME")
    add("--ssh-user", metavar="USER")
    add("--ssh-password", metavar="PASSWORD")
    add("--ssh-tries", type=int, metavar="N")
    add("--ssh-timeout", type=int, metavar="SECONDS")
    add("--default_vm_type", metavar="NAME")
    add("--default_vm_provider", metavar="NAME")
    add("--libvirt_url", metavar="URI")
    add("--libvirt-user", metavar="USER")
    add("--libvirt-password", metavar="PASSWORD")
    add("--accel")
    add("--confine")
    add("--egress")
    add("--default_root_password", metavar="PASSWORD")
    add("--lease_dir", metavar="PATH")
    add("--reposync-dir", metavar="PATH")
    add("--ignore-warnings", action="store_const", const=True)


class _Formats(Container[str]):
    """The output formats; plugins are looked for only when a name is none of ours."""

    def __contains__(self, name: object) -> bool:
        return name in output.FORMATS or name in output.names()

    def __iter__(self) -> Iterator[str]:
        return iter(output.names())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _main(words)
    except LagoError as error:
        _complain(error)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has had enough; a second write at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        from . import refused

        told = refused.explain(error, words)
        if told is None:
            raise
        told.__cause__ = error
        _complain(told)
        return told.exit_code
    except KeyboardInterrupt:
        output.write("lago: interrupted", sys.stderr)
        return 128 + signal.SIGINT


def _main(words: Sequence[str]) -> int:
    log.setup_console("warning")
    # What plugins add is shown in the help; else only those are loaded that could be meant.
    parser, commands = build_parser(words, to_list=not words or not {"-h", "--help"}.isdisjoint(words))
    if words and not words[0].startswith("-") and words[0] not in commands.choices:
        from . import external

        external.become(words)
    args = parser.parse_args(words)
    if args.command is None:
        parser.print_help()
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    _settle(args)
    log.setup_console(args.loglevel, args.logdepth)
    for name in config.empty_variables():
        log.LOG.warning("environment variable %s is ignored: %s is empty", name, "it" if name[5:] else "its name")
    with warnings.catch_warnings():
        if args.ignore_warnings:
            warnings.simplefilter("ignore")
        outcome = _told(args, words)
    output.show(outcome, args.out_format, sys.stdout)
    return outcome.exit_code


def _told(args: argparse.Namespace, words: Sequence[str]) -> Outcome:
    """Run the command, as the journals of the environments tell that it does something to."""
    command = calls.run_command_line(args.command, words)
    try:
        result = args.run(args)
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
        command.end(code if isinstance(code, int) else 1, error)
        raise
    outcome = result if isinstance(result, Outcome) else Outcome(result)
    command.end(outcome.exit_code)
    return outcome


def _settle(args: argparse.Namespace) -> None:
    """Give the global options that were not given the values of the configuration. Raises ConfigError."""
    # Options of commands may have the names of settings; commands pass them on themselves.
    ours = [name for name in config.OPTIONS if hasattr(args, name) and not name.startswith("template_")]
    # A workdir that was given counts for more than a prefix that the environment names.
    explicit_workdir = args.workdir_path and not args.prefix_path
    config.set_command_line({name: getattr(args, name) for name in ours})
    written = config.written()
    for name in ours:
        if getattr(args, name) is None:
            setattr(args, name, config.get(name, files_say=written))
    if explicit_workdir:
        args.prefix_path = None
    args.out_format = output.formatter(args.out_format)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _complain(error: LagoError) -> None:
    log.LOG.debug("failed", exc_info=error)
    if error.hint:
        from . import hints

        error.hint = hints.for_this_environment(error.hint)
    output.write(f"lago: {error.render()}", sys.stderr)
