"""argparse, with Lago's errors for what it does not understand."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn, cast

from ..errors import LagoError
from ..host.suggest import near

# Each parser asks for argparse's few words anew, and so for files of translations that are never there, some 800 times.
argparse._ = str  # type: ignore[attr-defined]

Commands = argparse._SubParsersAction
"""The commands of a parser, as argparse has them."""

_COLUMNS: Final = 80
"""Width of what is no terminal."""


class CommandsAction(Commands):  # type: ignore[type-arg]
    """The commands of a parser; the help of one without a description begins with what its line in the list says."""

    def announce(self, name: str, others: Sequence[str], help_: str) -> None:
        """Put a command into the list, whether it is added later or not; `others` are more names of it."""
        self._choices_actions.append(self._ChoicesPseudoAction(name, others, help_))

    def add_parser(self, name: str, **options: Any) -> Any:
        """Add a command; options as for `argparse`, without `help` if it has been announced."""
        if help_ := options.get("help") or help_of(self).get(name):
            options.setdefault("description", f"{help_[0].upper()}{help_[1:]}.")
        return super().add_parser(name, **options)


def take_negative(parser: argparse.ArgumentParser) -> None:
    """Let a parser take words that begin with - and a digit, such as `-1h`, for values and not for options."""
    parser._negative_number_matcher = re.compile(r"^-[0-9]")


class PrintVersion(argparse.Action):
    """Prints the version of Lago, and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from .. import version

        print(f"{parser.prog} {version.installed()}")
        parser.exit()


def remove_command(commands: Commands[argparse.ArgumentParser], name: str) -> None:
    """Remove a command, or what there is of one that could not be added."""
    commands.choices.pop(name, None)
    commands._choices_actions[:] = [action for action in commands._choices_actions if action.dest != name]


def help_of(commands: Commands[argparse.ArgumentParser]) -> dict[str, str]:
    """What the list of commands says of each, by name."""
    return {action.dest: action.help or "" for action in commands._choices_actions}


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments, options and commands of a parser."""
    return parser._actions


def commands_below(parser: argparse.ArgumentParser) -> Commands[argparse.ArgumentParser] | None:
    """The commands of a parser, if it has some."""
    return next((one for one in parser._actions if isinstance(one, Commands)), None)


def not_taken(namespace: argparse.Namespace) -> list[str]:
    """The words that nothing of a command line took."""
    left: list[str] = getattr(namespace, argparse._UNRECOGNIZED_ARGS_ATTR, [])
    return left


def usage(parser: argparse.ArgumentParser, width: int) -> str:
    """Its usage in lines of at most `width` characters, without the option -h that all have."""
    formatter = argparse.HelpFormatter(parser.prog, width=width)
    shown = [one for one in parser._actions if not isinstance(one, argparse._HelpAction)]
    formatter.add_usage(parser.usage, shown, parser._mutually_exclusive_groups, prefix="")
    return formatter.format_help().strip()


def describe(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    """How the values of an option are written, and what is said of it."""
    formatter = argparse.HelpFormatter(parser.prog)
    values = "" if action.nargs == 0 else formatter._format_args(action, action.dest.upper())
    return values, formatter._expand_help(action)


def _columns() -> int:
    """The width of the terminal, found as by `shutil`, which takes longer to import than many a command to run."""
    try:
        told = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        told = 0
    if told > 0:
        return told
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _COLUMNS  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return _COLUMNS


class Parser(argparse.ArgumentParser):
    """Raises LagoError where argparse prints and exits.

    Args:
        all_commands: names of the commands that there are, if not all of them have been added.
    """

    def __init__(self, *args: Any, all_commands: Callable[[], Iterable[str]] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("action", "parsers", CommandsAction)
        #: What to say of words that it does not take but somebody may try, by word; of all without a dash by "".
        self.instead: dict[str, str] = {}
        self._all_commands = all_commands

    def _get_formatter(self) -> argparse.HelpFormatter:
        if self.formatter_class is argparse.HelpFormatter:
            return argparse.HelpFormatter(self.prog, width=_columns() - 2)
        return super()._get_formatter()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, Commands) and value not in action.choices:
            known = self._all_commands() if self._all_commands else action.choices
            raise LagoError(f"{self.prog} has no command {value}", hint=near(value, known))
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        """Raise the error; the usage of a command is in its details, but that of all Lago would only hide it."""
        raise LagoError(message, details=self.format_usage() if " " in self.prog else "", hint=f"{self.prog} --help")

    def refuse(self, words: Sequence[str], above: argparse.ArgumentParser) -> NoReturn:
        """Raise an error for words after a command that it does not take; `above` is the parser that has it."""
        first = words[0].partition("=")[0]
        hint = f"{self.prog} --help"
        if remedy := self.instead.get(first if first.startswith("-") else ""):
            hint = remedy.format(first)
        elif first in above._option_string_actions:
            hint = f"{first} comes before the command: {above.prog} {' '.join(words)} {self.prog.partition(' ')[2]}"
        elif first.startswith("-"):
            hint = near(first, self._option_string_actions)
        raise LagoError(f"{self.prog} does not take {' '.join(words)}", details=self.format_usage(), hint=hint)

    def meant(self, words: Iterable[str]) -> Parser:
        """The parser of the innermost command that words after this one's name."""
        parser: Parser = self
        for word in words:
            inner = commands_below(parser)
            if inner is None or word not in inner.choices:
                break
            parser = cast(Parser, inner.choices[word])
        return parser
