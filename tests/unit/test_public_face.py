"""What programs and plugins may call is described where their authors look: every parameter, by its name."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

FACE = ("lago", "lago.sdk", "lago.virt", "lago.plugins", "lago.plugins.cli", "lago.plugins.contracts")
"""The modules whose docstrings have every parameter; `lago` has Prefix."""


def _functions(module: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions that a module offers as its own, and those of its classes, with their names."""
    found = importlib.import_module(module)
    for name in getattr(found, "__all__", [name for name in vars(found) if not name.startswith("_")]):
        value = getattr(found, name)
        if not getattr(value, "__module__", "").startswith("lago"):
            continue
        if inspect.isclass(value):
            for member, raw in inspect.getmembers_static(value):
                function = getattr(raw, "__func__", raw)
                ours = inspect.isfunction(function) and function.__module__.startswith("lago")
                if ours and not member.startswith("_"):
                    yield f"{module}.{name}.{member}", function
        elif inspect.isfunction(inspect.unwrap(value)):
            yield f"{module}.{name}", inspect.unwrap(value)


def _all() -> list[Any]:
    found = {function: where for module in FACE for where, function in _functions(module)}
    return [pytest.param(function, id=where) for function, where in found.items()]


def _described(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each parameter."""
    args = re.search(r"^Args:\n((?:    .*\n?|\n)+)", inspect.getdoc(function) or "", re.MULTILINE)
    return dict(re.findall(r"^    \**(\w+): (.*(?:\n {8}.*)*)", args[1], re.MULTILINE)) if args else {}


@pytest.mark.parametrize("function", _all())
def test_every_parameter_is_described(function: Callable[..., Any]) -> None:
    described = set(_described(function))
    taken = {name for name in inspect.signature(function).parameters if name not in ("self", "cls")}
    assert taken - described == set(), f"{function.__qualname__} does not describe {sorted(taken - described)}"
    assert described - taken == set(), f"{function.__qualname__} does not take {sorted(described - taken)}"


@pytest.mark.parametrize("function", _all())
def test_times_have_their_unit_and_what_is_left_out_its_meaning(function: Callable[..., Any]) -> None:
    described = _described(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "timeout":
            assert "seconds" in described[name], f"{function.__qualname__}: the unit of {name}"
        if parameter.default is None:
            assert re.search(r"\b([Ww]ithout|None|if|else)\b", described[name]), f"{function.__qualname__}: no {name}"
