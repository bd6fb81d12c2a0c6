"""The pages of the manual say what happens: everything on them that can be run is run, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages.blocks import Page, read
from pages.reader import Reader, environment

from ..users import REPOSITORY
from .box import Box

_PAGES = [page for path in sorted(REPOSITORY.glob("docs/**/*.md")) if (page := read(path)).place]
_LONG = ("snapshots-and-forks", "ansible")
"""Pages that show at length what other tests run too."""

_THREE = REPOSITORY / "examples" / "three-vms" / "LagoInitFile"


def _of(place: str) -> pytest.MarkDecorator:
    pages = [page for page in _PAGES if page.place == place]
    assert pages, f"no page is run in {place}"
    marks = {name: [pytest.mark.slow] for name in _LONG}
    params = [pytest.param(page, id=name, marks=marks.get(name, [])) for page in pages if (name := page.path.stem)]
    return pytest.mark.parametrize("page", params)


def _do(page: Page, place: Path) -> None:
    with Reader(place, environment()) as reader:
        for block in page.blocks:
            if "file" in block.marks or "not run" not in block.marks:
                reader.do(block)


@pytest.fixture
def three(module_box: Box) -> Box:
    """The machines of the example run, whatever a page before has done to them."""
    module_box.up(_THREE.read_text())
    return module_box


@pytest.fixture
def nothing(mini: Path, tmp_path: Path) -> Iterator[Path]:
    """An empty directory; nothing runs in it or below when the page is done."""
    yield tmp_path
    for workdir in tmp_path.glob("**/.lago*"):
        Box(workdir.parent).close()


@_of("nothing")
def test_pages_that_begin_with_nothing(nothing: Path, page: Page) -> None:
    _do(page, nothing)


@_of("three")
def test_pages_about_three_machines(three: Box, page: Page) -> None:
    _do(page, three.place)
