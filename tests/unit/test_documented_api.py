"""The names that earlier releases documented are here, with their signatures, and are tested.

`tests/data/documented_api.json` lists them all. What is to come is marked `"issue": "later"`, and must not be here
yet in its documented form: whoever brings it takes the mark off and says where it is tested.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from lago import Prefix

REPOSITORY = Path(__file__).resolve().parents[2]
API: dict[str, dict[str, Any]] = json.loads(REPOSITORY.joinpath("tests/data/documented_api.json").read_text())


def find(name: str) -> Any:
    """The object of a dotted name. Raises AttributeError or ImportError."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if found is Prefix and not hasattr(Prefix, part):
                # An attribute of instances only.
                found = Prefix("/nonexistent")
            found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
        return found.__func__ if isinstance(found, classmethod | staticmethod) else found
    raise ImportError(name)


def objections(name: str, documented: str) -> str:
    """Why a call as documented would not be understood; empty if it would."""
    found = find(name)
    if not callable(found):
        return f"{name} can't be called"
    arguments = ast.parse(f"def f{documented}: pass").body[0].args  # type: ignore[attr-defined]
    wanted = [argument.arg for argument in arguments.args]
    optional = set(wanted[len(wanted) - len(arguments.defaults) :])
    live = list(inspect.signature(found).parameters.values())
    if live and live[0].name in ("self", "cls"):
        live = live[1:]
    positional = [p for p in live if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for number, argument in enumerate(wanted):
        if number >= len(positional) or positional[number].name != argument:
            return f"its parameter {number + 1} is not {argument}"
        if argument in optional and positional[number].default is inspect.Parameter.empty:
            return f"its parameter {argument} has no default"
    if arguments.vararg is None and arguments.kwarg is None:
        for more in positional[len(wanted) :]:
            if more.default is inspect.Parameter.empty:
                return f"it needs a parameter {more.name} too"
    return ""


def fault(name: str) -> str:
    """Why a documented name is not here as documented; empty if it is."""
    entry = API[name]
    try:
        found = find(name)
    except (AttributeError, ImportError) as error:
        return f"{type(error).__name__}: {error}"
    if "value" in entry and found != entry["value"]:
        return f"it is {found!r}"
    return objections(name, entry["signature"]) if "signature" in entry else ""


@pytest.mark.parametrize("name", [name for name in API if "issue" not in API[name]])
def test_a_documented_name_is_here_and_tested(name: str) -> None:
    assert not fault(name), f"{name}: {fault(name)}"
    place = REPOSITORY / API[name]["tested"]
    assert place.is_file(), f"{name}: there is no {place}"
    assert name.rpartition(".")[2] in place.read_text(), f"{name} is not mentioned in {place}"


@pytest.mark.parametrize("name", [name for name in API if "issue" in API[name]])
def test_what_is_to_come_later_is_not_here_yet(name: str) -> None:
    assert API[name]["issue"] == "later"
    assert fault(name), f"{name} is here: take its mark off and say where it is tested"
