"""What a build of a template says when there is no space for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lago.errors import CommandError, HostError, TemplateError
from lago.host.programs import run
from lago.templates import build

WORDS = "dd: writing to '/dev/full': No space left on device"


def by_a_program() -> None:
    run(["dd", "if=/dev/zero", "of=/dev/full", "count=1", "status=none"], env={"LC_ALL": "C"})


def by_a_program_whose_failure_has_a_name() -> None:
    try:
        by_a_program()
    except CommandError as error:
        raise TemplateError("cannot fetch Debian packages", details=error.details) from None


def by_us() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        os.write(fd, b"x")
    finally:
        os.close(fd)


def otherwise() -> None:
    raise TemplateError("cannot fetch Debian packages", details="Connection refused")


def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: Callable[[], None]) -> None:
    monkeypatch.setattr(build, "_build", lambda *_: step())
    build.build(build.RECIPES["mini"], str(tmp_path / "image"), str(tmp_path))


@pytest.mark.programs
@pytest.mark.parametrize("step", [by_a_program, by_a_program_whose_failure_has_a_name])
def test_a_full_disk_that_a_program_meets_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: Callable[[], None]
) -> None:
    with pytest.raises(HostError) as raised:
        built(monkeypatch, tmp_path, step)
    error = raised.value
    assert (error.what, error.details) == ("no space left on the device while building a template", WORDS)
    assert "LAGO_TEMPLATE_STORE" in error.hint


def test_a_full_disk_that_we_meet_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(HostError) as raised:
        built(monkeypatch, tmp_path, by_us)
    assert raised.value.what == f"no space left in {tmp_path}, where the template mini is built"


def test_another_failure_stays_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="cannot fetch Debian packages"):
        built(monkeypatch, tmp_path, otherwise)
