"""The manual: all that the program knows of itself is in it, and its links lead somewhere."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from docutils.nodes import make_id

from lago import config
from lago.cli.parser import actions
from lago.initfile.keys import ENVIRONMENT
from lago.initfile.sections import ListOf, MappingOf, Section

from ..users import REPOSITORY
from .conftest import commands

_ANCHOR = re.compile(r'\sid="([^"]+)"')
_LINK = re.compile(r'<(?:a|link|img|script|object)\b[^>]*?\s(?:href|src|data)="([^"]*)"')


def anchors(page: Path) -> set[str]:
    return {html.unescape(found) for found in _ANCHOR.findall(page.read_text())}


def test_every_command_has_a_section_with_its_options(manual: Path) -> None:
    page = manual / "reference" / "commands.html"
    text, there = html.unescape(re.sub(r"<[^>]+>", "", page.read_text())), anchors(page)
    for name, parser in commands().items():
        assert f"lago {name}" in text
        options = {option for action in actions(parser) for option in action.option_strings} - {"-h", "--help"}
        assert {option for option in options if option not in text} == set(), name
    assert {make_id(f"lago {names[0]}") for names in _spellings()} - there == set()
    for name in ("build", "update", "list", "info", "fetch", "import", "verify", "rm", "prune"):
        assert f"lago-template-{name}" in there


def _spellings() -> list[list[str]]:
    """The names of each command, its own first."""
    found: dict[int, list[str]] = {}
    for name, parser in commands().items():
        found.setdefault(id(parser), []).append(name)
    return list(found.values())


def keys(section: Section, path: str = "") -> Iterator[str]:
    """The way to each key of a section and of those below it."""
    for key, field in section.fields.items():
        yield make_id(f"init-file {path} {key}")
        reader, step = field.reader, {"domains": "VM", "nets": "NET", "files": "PATH"}.get(key, "")
        while isinstance(reader, MappingOf | ListOf):
            reader = reader.item
        if isinstance(reader, Section) and key != "prototypes":
            yield from keys(reader, f"{path} {key} {step}")


def test_every_key_of_an_init_file_is_there(manual: Path) -> None:
    wanted = set(keys(ENVIRONMENT))
    assert {"init-file-domains-vm-disks-size", "init-file-nets-net-dhcp-start"} <= wanted
    assert wanted - anchors(manual / "reference" / "init-file.html") == set()


def test_every_setting_is_there(manual: Path) -> None:
    wanted = {make_id(f"setting {name}") for name in config.OPTIONS}
    assert wanted - anchors(manual / "reference" / "configuration.html") == set()


def test_every_documented_name_is_there(manual: Path) -> None:
    api = json.loads((REPOSITORY / "tests" / "data" / "documented_api.json").read_text())
    pages = (manual / "api").glob("*.html")
    there = {anchor.removeprefix("module-") for page in pages for anchor in anchors(page)}
    assert {name for name, entry in api.items() if "issue" not in entry} - there == set()


def test_links_lead_somewhere(manual: Path) -> None:
    pages = {page: anchors(page) for page in manual.rglob("*.html")}
    assert len(pages) > 30
    wrong = []
    for page in pages:
        for link in map(html.unescape, _LINK.findall(page.read_text())):
            where = urlsplit(link)
            if where.scheme:
                if where.scheme not in ("http", "https", "mailto") or not (where.netloc or where.path):
                    wrong.append(f"{page.name}: {link}")
                continue
            target = (page.parent / unquote(where.path)).resolve() if where.path else page
            if not target.is_file() or (
                where.fragment and target in pages and unquote(where.fragment) not in pages[target]
            ):
                wrong.append(f"{page.relative_to(manual)}: {link}")
    assert not wrong, "\n".join(wrong)


def test_the_picture_of_the_architecture_is_drawn(manual: Path) -> None:
    [picture] = re.findall(r'data="(_images/graphviz-[^"]+\.svg)"', (manual / "architecture.html").read_text())
    assert "supervisor" in (manual / picture).read_text()


def test_the_version_is_that_of_the_sources(manual: Path) -> None:
    from releases.version import of_source

    assert f"Lago {of_source(REPOSITORY)}" in (manual / "index.html").read_text()


@pytest.mark.parametrize("name", ["init-file", "running", "sdk", "changelog", "contributing", "api/lago.utils"])
def test_pages_are_in_the_contents(manual: Path, name: str) -> None:
    assert f'href="{name}.html"' in (manual / "index.html").read_text() + (manual / "api" / "index.html").read_text()
