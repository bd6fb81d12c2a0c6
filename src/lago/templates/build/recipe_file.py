"""Recipes of users: YAML that says what is added to a recipe of Lago's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ...errors import InitFileError, TemplateError
from ...initfile import document as documents
from ...initfile.document import Mistake
from ...initfile.mistakes import At, Mistakes
from ...initfile.sections import Field, ListOf, MappingOf, Section
from ...initfile.values import Choice, Free, Names, Path, Size, Text
from ...topology.place import NOWHERE, Place
from .recipe import Command, File, Recipe
from .tree import usr_merged

_EXAMPLE: Final = "a recipe is such as: {base: debian12, packages: [nginx]}"
_SCRIPT: Final = r"[^\x00]+"
_SIZE: Final = Size("", "1G", "64T", "10G")

_IN_IMAGE: Final = Text(
    "/etc/motd", r'(/(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f"]+)+', "a path in the image begins with / and has no .. or quotes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Added:
    """A file of a recipe: what is in it, or where it is on the host."""

    content: str | None = None
    source: str | None = None
    mode: str = "644"
    at: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a recipe says; `size` is in bytes."""

    base: str = "debian12"
    packages: tuple[str, ...] = ()
    files: Mapping[str, _Added] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    size: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    at: Place = field(default=NOWHERE, compare=False)


_FILE: Final = Section(
    _Added,
    {
        "content": Field(Text("hello", _SCRIPT, free=True), "what is in it"),
        "source": Field(Path("./site.conf"), "the file on the host that it is a copy of, relative to the recipe"),
        "mode": Field(Text("0755", "0?[0-7]{3}", "permissions are three octal digits such as 0755"), "its permissions"),
    },
    what="a file",
)
_PACKAGE: Final = Text("nginx", r"[a-z0-9][a-z0-9+.-]+", "it is no name of a Debian package")


def _section(recipes: Iterable[str]) -> Section:
    return Section(
        _Wanted,
        {
            "base": Field(Choice(tuple(recipes)), "the recipe that it begins with"),
            "packages": Field(Names(_PACKAGE), "Debian packages to install"),
            "files": Field(
                MappingOf(_IN_IMAGE, _FILE, "files"),
                "files to put into the image",
            ),
            "commands": Field(
                ListOf(Text("systemctl enable nginx", _SCRIPT, free=True), "shell commands"),
                "commands to run in the image",
            ),
            "size": Field(_SIZE, "size of the disk"),
            "metadata": Field(Free(), "what is known of the image, such as bootstrap"),
        },
        what="a recipe",
    )


def read(path: str, name: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """Read the recipe in a file.

    Args:
        name: of the template that it makes.
        recipes: those that it may be based on, by name.

    Raises:
        TemplateError: all mistakes of the file, each with its line.
    """
    try:
        document = documents.read(path, _EXAMPLE)
    except InitFileError as error:
        raise TemplateError(error.what, hint=error.hint) from None
    mistakes = Mistakes(document, strict=True)
    top = At(document, mistakes, (), document.data)
    found: _Wanted = _section(recipes).read(top)
    own = {} if not top.sound() else _files(found, mistakes, os.path.dirname(path))
    base = recipes.get(found.base)
    if base is not None and base.base != "install":
        for key, given in {"packages": found.packages, "commands": found.commands}.items():
            if given:
                message = f"{base.name} has no package manager, write base: debian12"
                mistakes.add(Mistake(found.at / key, message, of_key=True))
    if lines := mistakes.lines():
        what = lines[0] if len(lines) == 1 else f"{len(lines)} mistakes in the recipe {path}"
        raise TemplateError(what, details="\n".join(lines) if len(lines) > 1 else "", hint="correct the recipe")
    assert base is not None
    commands = [
        Command(text, f"{path}:{document.position(('commands', index)).line}")
        for index, text in enumerate(found.commands)
    ]
    return extend(base, name, found.packages, found.size, own, commands, found.metadata)


def extend(
    base: Recipe,
    name: str,
    packages: Iterable[str] = (),
    size: int | None = None,
    own: Mapping[str, File] | None = None,
    commands: Iterable[Command] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe `name` that has more than another."""
    return replace(
        base,
        name=name,
        packages=tuple(dict.fromkeys((*base.packages, *packages))),
        size=size or base.size,
        own={**base.own, **(own or {})},
        commands=(*base.commands, *commands),
        metadata={**base.metadata, **(metadata or {})},
    )


def package(name: str) -> str:
    """A package that is named outside of a recipe. Raises ValueError if it can't be one."""
    import re

    if not re.fullmatch(_PACKAGE.pattern, name):
        raise ValueError(f"{name!r}: {_PACKAGE.rule}")
    return name


def size(text: str) -> int:
    """Bytes of a size that is given outside of a recipe. Raises ValueError."""
    amount = _SIZE.amount(text)
    if amount is None or not _SIZE.possible(amount):
        raise ValueError(f"{text!r} is no size from {_SIZE.low} to {_SIZE.high}, such as {_SIZE.example}")
    return amount


def _files(wanted: _Wanted, mistakes: Mistakes, directory: str) -> dict[str, File]:
    own = {}
    for path, added in wanted.files.items():
        if (added.content is None) == (added.source is None):
            mistakes.add(Mistake(added.at, "write either content or source", of_key=True))
            continue
        if added.source is not None:
            try:
                with open(os.path.join(directory, os.path.expanduser(added.source)), "rb") as file:
                    data = file.read()
            except OSError as error:
                mistakes.add(Mistake(added.at / "source", f"{added.source} can't be read: {error.strerror}"))
                continue
        else:
            data = str(added.content).encode()
        own[usr_merged(path.lstrip("/"))] = File(data, int(added.mode, 8))
    return own
