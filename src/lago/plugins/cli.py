"""Commands from plugins: a class with three members, or a decorated function.

    @cli_plugin(help="greet a machine")
    @cli_plugin_add_argument("vm_name", help="the machine")
    def hello(vm_name, **kwargs):
        print(f"hello {vm_name}")

The entry point of such a function is `lago.plugins.cli`: `hello = my_package.hello:hello`.
"""

from __future__ import annotations

import abc
import argparse
from collections.abc import Callable, Mapping
from typing import Any


class CLIPlugin(abc.ABC):
    """A command. Its name is that of its entry point."""

    @property
    @abc.abstractmethod
    def init_args(self) -> Mapping[str, Any]:
        """Arguments for `add_parser` of argparse, such as `help` and `description`."""

    @abc.abstractmethod
    def populate_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments.

        Args:
            parser: what to add them to; the global options are there already.
        """

    @abc.abstractmethod
    def do_run(self, args: argparse.Namespace) -> Any:
        """Run the command.

        Args:
            args: the command's arguments and all global options; `args.out_format` is the output format wanted, an
                `OutFormatPlugin`.

        Returns:
            None; an exit status (int); or data, which is printed in the output format wanted.
        """


class CLIPluginFuncWrapper(CLIPlugin):
    """A function as a command; it gets all arguments and global options as keywords.

    Args:
        do_run: the function; it returns what `CLIPlugin.do_run` does.
        init_args: arguments for `add_parser` of argparse; without `help` the first line of the function's docstring is
            it.
    """

    def __init__(self, do_run: Callable[..., Any], init_args: Mapping[str, Any] | None = None) -> None:
        self._function = do_run
        self._init_args = dict(init_args or {})
        self._arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.__doc__ = do_run.__doc__
        self.__name__ = getattr(do_run, "__name__", type(self).__name__)

    @property
    def init_args(self) -> Mapping[str, Any]:
        """Arguments for `add_parser`; without `help` among them that is the first line of the function's docstring."""
        words = (self._function.__doc__ or "").strip().splitlines()
        return {"help": words[0] if words else "", **self._init_args}

    def set_init_args(self, **init_args: Any) -> None:
        """Set arguments for `add_parser` of argparse.

        Args:
            init_args: such as `help` and `description`, in place of those set before.
        """
        self._init_args.update(init_args)

    def add_argument(self, *args: Any, **kwargs: Any) -> None:
        """Add an argument of the command, after those there are.

        Args:
            args: its name or flags, as for `add_argument` of argparse.
            kwargs: such as `help` and `default`, as for `add_argument` of argparse.
        """
        self._arguments.append((args, kwargs))

    def populate_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments that `add_argument` was told of.

        Args:
            parser: what to add them to.
        """
        for args, kwargs in self._arguments:
            parser.add_argument(*args, **kwargs)

    def do_run(self, args: argparse.Namespace) -> Any:
        """Call the function with all arguments and global options as keywords, and return what it returns.

        Args:
            args: the arguments and options.
        """
        return self._function(**vars(args))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


Function = Callable[..., Any]


def _wrapped(function: Function) -> CLIPluginFuncWrapper:
    return function if isinstance(function, CLIPluginFuncWrapper) else CLIPluginFuncWrapper(function)


def cli_plugin(func: Function | None = None, **init_args: Any) -> Any:
    """Decorator: make a function a command.

    Args:
        func: the function, if the decorator is written without parentheses.
        init_args: arguments for `add_parser` of argparse, such as `help`; without that the first line of the function's
            docstring is shown.
    """

    def decorate(function: Function) -> CLIPluginFuncWrapper:
        wrapped = _wrapped(function)
        wrapped.set_init_args(**init_args)
        return wrapped

    return decorate if func is None else decorate(func)


def cli_plugin_add_argument(*args: Any, **kwargs: Any) -> Callable[[Function], CLIPluginFuncWrapper]:
    """Decorator: give a command an argument. Those nearest the function come first.

    Args:
        args: its name or flags, as for `add_argument` of argparse.
        kwargs: such as `help` and `default`, as for `add_argument` of argparse.
    """

    def decorate(function: Function) -> CLIPluginFuncWrapper:
        wrapped = _wrapped(function)
        wrapped.add_argument(*args, **kwargs)
        return wrapped

    return decorate


def cli_plugin_add_help(help: str) -> Callable[[Function], CLIPluginFuncWrapper]:
    """Decorator: give a command its line in `lago --help`.

    Args:
        help: the line.
    """

    def decorate(function: Function) -> CLIPluginFuncWrapper:
        wrapped = _wrapped(function)
        wrapped.set_init_args(help=help)
        return wrapped

    return decorate
