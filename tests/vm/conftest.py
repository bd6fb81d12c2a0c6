"""What tests with real guests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .box import Box


@pytest.fixture(scope="session")
def mini(store: Path) -> Path:
    """The store with the template `mini` in it."""
    _ensure("mini")
    return store


@pytest.fixture(scope="session")
def debian(mini: Path) -> None:
    """The template `debian12` is in the store too."""
    _ensure("debian12")


@pytest.fixture(scope="session")
def debian_sysvinit(store: Path) -> None:
    """The template `debian12-sysvinit` is in the store."""
    _ensure("debian12-sysvinit")


def _ensure(name: str) -> None:
    from lago import templates

    templates.default_store().ensure(templates.default_repository().get_by_name(name).get_version())


@pytest.fixture
def box(mini: Path, tmp_path: Path) -> Iterator[Box]:
    """A directory of this test's own."""
    made = Box(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def module_box(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A directory that the tests of a module share."""
    made = Box(tmp_path_factory.mktemp("box"))
    yield made
    made.close()
