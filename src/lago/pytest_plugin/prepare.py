"""What users' `conftest.py` files do to an environment before its pristine snapshot: `def lago_prepare(env)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from ..errors import LagoError

NAME: Final = "lago_prepare"


class Step(NamedTuple):
    """One such function.

    Attributes:
        source: the file that it is in, or the name of the plugin.
        place: the directory of the tests that it is for; None if it is for all.
    """

    run: Callable[[Any], object]
    source: str
    place: Path | None


def steps(manager: pytest.PytestPluginManager, paths: Iterable[Path]) -> list[Step]:
    """The functions for the tests that share an environment: of plugins, then of each `conftest.py` from above.

    pytest has hooks of other names only, so they are looked for in what it has read.

    Args:
        paths: where these tests are.

    Raises:
        LagoError: one can't be called as it must, or is for some of the tests only.
    """
    there = list(dict.fromkeys(paths))
    found = [_step(plugin, manager) for plugin in manager.get_plugins() if inspect.ismodule(plugin)]
    chosen = [step for step in found if step is not None and _is_for(step, there)]
    for step in chosen:
        if wrong := _wrong(step.run):
            raise LagoError(f"{step.source}: {NAME} {wrong}", hint=f"write def {NAME}(env): ...")
    return sorted(chosen, key=lambda step: len(step.place.parts) if step.place else 0)


def _step(plugin: object, manager: pytest.PytestPluginManager) -> Step | None:
    """The function of a plugin, such as a `conftest.py`, if it has one."""
    function = vars(plugin).get(NAME)
    if function is None:
        return None
    file = getattr(plugin, "__file__", None)
    source = file or manager.get_name(plugin) or str(plugin)
    return Step(function, source, Path(file).parent if file and Path(file).name == "conftest.py" else None)


def _wrong(function: Any) -> str:
    """Why a function can't be called with an environment; empty if it can."""
    if not callable(function):
        return "is no function"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is asynchronous, and nobody would wait for it"
    if inspect.isgeneratorfunction(function):
        return "yields, so that calling it does nothing"
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        return "does not take one argument, the environment"
    return ""


def _is_for(step: Step, paths: list[Path]) -> bool:
    """Whether a step is for the tests that share an environment. Raises LagoError if it is for some of them only."""
    others = [path for path in paths if step.place is not None and step.place not in path.parents]
    if others and len(others) < len(paths):
        # What tests find would depend on their order, and on which of them are run.
        raise LagoError(
            f"{step.source}: {NAME} is not for all tests that share lago_env, as {others[0]} is elsewhere",
            hint="move it to a conftest.py above all of them, or let them have environments of their own, as by "
            "--lago-scope=module",
        )
    return not others


def run(todo: Iterable[Step], env: Any) -> None:
    """Run steps, one after the other; an error of one tells which it was."""
    for step in todo:
        try:
            step.run(env)
        except BaseException as error:
            error.add_note(f"lago: the environment is up and deployed, but {NAME} of {step.source} failed")
            raise
