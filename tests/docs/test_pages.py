"""Every block of the manual is run, or is checked in another way, or says why not; all that it shows is real."""

from __future__ import annotations

import argparse
import configparser
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages.blocks import Block, commands, read

from lago import config
from lago.cli.main import build_parser
from lago.environment.create import path_variables
from lago.errors import LagoError
from lago.initfile import document, parse
from lago.initfile.keys import DOMAIN
from lago.templates import TemplateRepository
from lago.templates.build import RECIPES, recipe_file
from lago.topology import resolve

from ..users import REPOSITORY
from .messages import Messages

PAGES = [read(path) for path in [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]]
BLOCKS = [block for page in PAGES for block in page.blocks]

_RUN = ("console", "sh", "python")
_CHECKED = ("yaml", "json", "ini", "toml")
_NOT_CODE = ("text",)


def _of(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in languages], ids=str)


def test_every_block_is_run_or_checked_or_says_why_not() -> None:
    unexplained = []
    for page in PAGES:
        for block in page.blocks:
            runs = page.place is not None and block.language in _RUN
            checked = block.language in (*_CHECKED, *_NOT_CODE) or block.language.startswith("{")
            if not (runs or checked or block.marks.keys() & {"file", "not run"}):
                unexplained.append(f"{block.page}:{block.line}: a block of the language {block.language or 'none'}")
    assert not unexplained, "run these, or say why not: tools/pages/blocks.py\n" + "\n".join(unexplained)


def test_marks_are_those_that_there_are_and_name_files_that_are_there() -> None:
    for block in BLOCKS:
        assert block.marks.keys() <= {"not run", "file", "exit status", "until Ctrl-C", "recipe"}, block
        for path in re.findall(r"\b(?:tests|docs|examples)/[\w/.-]*\w", block.marks.get("not run", "")):
            assert REPOSITORY.joinpath(path).exists(), f"{block}: {path}"


@_of("console", "sh")
def test_commands_are_of_bash_and_have_the_commands_and_options_of_lago(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands(block):
        subprocess.run(["bash", "-n", "-c", command.line], check=True)
        for words in _calls(command.line):
            assert not _refusal(words, capsys), block


def _calls(script: str) -> Iterator[list[str]]:
    """The arguments of each call of `lago` in a script."""
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a here-document, or a quotation over several lines
            continue
        while "lago" in words:
            rest = words[words.index("lago") + 1 :]
            end = next((at for at, word in enumerate(rest) if set(word) <= set("();<>|&")), len(rest))
            if rest[:end]:
                yield rest[:end]
            words = rest[end:]


def test_commands_and_options_in_texts_are_those_of_lago(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for page in PAGES:
        for code in page.inline:
            for words in _calls(code) if re.match("lago (?!.*COMMAND)", code) else ():
                said = _refusal(words, capsys)
                # Texts leave out arguments that a command needs.
                if said and "required" not in said and "expected" not in said:
                    wrong.append(f"{page.path.name}: {code}: {said}")
    assert not wrong, "\n".join(wrong)


def _refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What Lago has against such a command line."""
    try:
        _parser().parse_args(words)
    except LagoError as error:
        return error.what
    except SystemExit as end:
        err = capsys.readouterr().err
        return err.splitlines()[-1] if end.code else ""
    return ""


@cache
def _parser() -> argparse.ArgumentParser:
    return build_parser(None)[0]


@_of("python")
def test_programs_are_python(block: Block) -> None:
    compile(block.text, str(block), "exec")


@_of("json")
def test_documents_are_json_and_those_of_repositories_are_read(block: Block) -> None:
    data = json.loads(block.text)
    if "templates" in data:
        repository = TemplateRepository(data)
        for name in repository.names():
            assert repository.get_by_name(name).versions


@_of("ini")
def test_settings_are_those_that_there_are(block: Block) -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(block.text)
    assert settings.sections()
    if "lago" in settings:
        assert set(settings["lago"]) <= set(config.OPTIONS)


@_of("toml")
def test_toml_is_toml(block: Block) -> None:
    tomllib.loads(block.text)


@_of("yaml")
def test_yaml_is_what_lago_reads(block: Block, tmp_path: Path) -> None:
    data = yaml.safe_load(block.text)
    if "recipe" in block.marks:
        path = tmp_path / "recipe.yaml"
        path.write_text(block.text)
        for file in data.get("files", {}).values():
            if "source" in file:
                tmp_path.joinpath(file["source"]).touch()
        recipe_file.read(str(path), "web", RECIPES)
    elif "not run" not in block.marks:
        path = tmp_path / "LagoInitFile"
        path.write_text(block.text if "nets" in data else json.dumps(_whole(data)))
        wanted = parse.parse(document.read(str(path)))
        resolve.check(wanted, path_variables("/", str(path)))


def _whole(shown: dict[str, Any]) -> dict[str, Any]:
    """The init file of which a page shows some machines, or some keys of a machine."""
    machines = {"vm": shown} if shown.keys() <= DOMAIN.fields.keys() else shown.get("domains", shown)
    nets: dict[str, Any] = {nic["net"]: {} for machine in machines.values() for nic in machine.get("nics", [])}
    return {"domains": machines, "nets": nets}


def test_the_init_file_of_the_tour_is_that_of_the_demo() -> None:
    tour = next(page for page in PAGES if page.path.name == "tour.md")
    [shown] = [block.text for block in tour.blocks if block.marks.get("file") == "LagoInitFile"]
    assert shown == REPOSITORY.joinpath("examples", "three-vms", "LagoInitFile").read_text()


def test_messages_that_have_a_remedy_are_those_of_the_program() -> None:
    text = REPOSITORY.joinpath("docs", "troubleshooting.md").read_text()
    shown = re.findall(r"^(?:### |- |\| )`([^`]+)`", text, re.MULTILINE)
    messages = Messages(REPOSITORY / "src" / "lago")
    assert len(shown) > 30
    assert not [message for message in shown if not messages.has(message)]
    assert not messages.has("there is no environment on Mars or any directory above")
