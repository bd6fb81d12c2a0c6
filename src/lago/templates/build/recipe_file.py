"""Recipes of users: YAML that says what is added to a recipe of Lago's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from ...errors import InitFileError, TemplateError
from ...initfile import document as documents
from ...initfile.faults import At, Faults
from ...initfile.values import Choice, Field, Free, ListOf, MappingOf, Names, Path, Section, Size, Text
from .recipe import Command, File, Recipe
from .tree import usr_merged

_EXAMPLE: Final = "a recipe is such as: {base: debian12, packages: [nginx]}"
_SCRIPT: Final = r"[^\x00]+"
_SIZE: Final = Size("", "1G", "64T", "10G")

_IN_IMAGE: Final = Text(
    "/etc/motd", r'(/(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f"]+)+', "a path in the image begins with / and has no .. or quotes"
)

_FILE: Final = Section(
    {
        "content": Field(Text("hello", _SCRIPT), "what is in it"),
        "source": Field(Path("./site.conf"), "the file on the host that it is a copy of, relative to the recipe"),
        "mode": Field(Text("0755", "0?[0-7]{3}", "permissions are three octal digits such as 0755"), "its permissions"),
    },
    what="a file",
)
_PACKAGE: Final = Text("nginx", r"[a-z0-9][a-z0-9+.-]+", "it is no name of a Debian package")


def _section(recipes: Iterable[str]) -> Section:
    return Section(
        {
            "base": Field(Choice(tuple(recipes)), "the recipe that it begins with", "debian12"),
            "packages": Field(Names(_PACKAGE), "Debian packages to install", ()),
            "files": Field(
                MappingOf(_IN_IMAGE, _FILE, "files"),
                "files to put into the image",
                {},
            ),
            "commands": Field(
                ListOf(Text("systemctl enable nginx", _SCRIPT), "shell commands"), "commands to run in the image", ()
            ),
            "size": Field(_SIZE, "size of the disk"),
            "metadata": Field(Free(), "what is known of the image, such as bootstrap", {}),
        },
        what="a recipe",
    )


def read(path: str, name: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """The recipe in a file.

    Args:
        name: of the template that it makes.
        recipes: those that it may be based on, by name.

    Raises:
        TemplateError: all faults of the file, each with its line.
    """
    try:
        document = documents.read(path, _EXAMPLE)
    except InitFileError as error:
        raise TemplateError(error.what, hint=error.hint) from None
    faults = Faults(document)
    top = At(document, faults, (), document.data)
    found = _section(recipes).read(top) or {}
    own = {} if not top.sound() else _files(top["files"], found["files"], os.path.dirname(path))
    base = recipes.get(found.get("base") or "")
    if base is not None and base.base != "install":
        for key in ("packages", "commands"):
            if found[key]:
                top[key].fault(f"{base.name} has no package manager, write base: debian12", of_key=True)
    if lines := faults.lines():
        what = lines[0] if len(lines) == 1 else f"{len(lines)} faults in the recipe {path}"
        raise TemplateError(what, details="\n".join(lines) if len(lines) > 1 else "", hint="correct the recipe")
    assert base is not None
    commands = [
        Command(text, f"{path}:{document.position(('commands', index)).line}")
        for index, text in enumerate(found["commands"])
    ]
    return extended(base, name, found["packages"], found["size"], own, commands, found["metadata"])


def extended(
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
    amount = _SIZE.count(text)
    if amount is None or not (_SIZE.count(_SIZE.low) or 0) <= amount <= (_SIZE.count(_SIZE.high) or 0):
        raise ValueError(f"{text!r} is no size from {_SIZE.low} to {_SIZE.high}, such as {_SIZE.example}")
    return amount


def _files(at: At, given: Mapping[str, Any], directory: str) -> dict[str, File]:
    own = {}
    for path, body in given.items():
        content = body["content"]
        if (content is None) == (body["source"] is None):
            at[path].fault("write either content or source", of_key=True)
            continue
        if content is None:
            try:
                with open(os.path.join(directory, os.path.expanduser(body["source"])), "rb") as file:
                    data = file.read()
            except OSError as error:
                at[path]["source"].fault(f"{body['source']} can't be read: {error.strerror}")
                continue
        else:
            data = content.encode()
        own[usr_merged(path.lstrip("/"))] = File(data, int(body["mode"] or "644", 8))
    return own
