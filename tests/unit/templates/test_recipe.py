"""Recipes of users."""

from __future__ import annotations

from pathlib import Path

import pytest

from lago.errors import CommandError, TemplateError
from lago.templates import own
from lago.templates.build import RECIPES, hooks, recipe_file

RECIPE = """\
base: debian12
packages: [nginx, curl]
files:
  /etc/motd: {content: "hello\\n"}
  /bin/greet: {source: greet.sh, mode: "0755"}
commands:
  - systemctl enable nginx
  - |
    useradd web
    passwd -l web
size: 10G
metadata: {bootstrap: cloud-init}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "greet.sh").write_text("echo hello\n")
    path = tmp_path / "web.yaml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_adds_to_its_base(path: Path) -> None:
    made = recipe_file.read(str(path), "web", RECIPES)
    base = RECIPES["debian12"]
    assert made.packages == (*base.packages, "nginx", "curl")
    assert made.own["etc/motd"].content == b"hello\n"
    assert (made.own["usr/bin/greet"].content, made.own["usr/bin/greet"].permissions) == (b"echo hello\n", 0o755)
    assert [command.where for command in made.commands] == [f"{path}:7", f"{path}:8"]
    assert (made.size, made.metadata["bootstrap"], made.metadata["distro"]) == (10 << 30, "cloud-init", "debian12")


def test_a_digest_is_that_of_the_content(path: Path, tmp_path: Path) -> None:
    digest = recipe_file.read(str(path), "web", RECIPES).digest()
    moved = tmp_path / "moved.yaml"
    moved.write_text("\n\n" + RECIPE)
    assert recipe_file.read(str(moved), "web", RECIPES).digest() == digest
    (tmp_path / "greet.sh").write_text("echo bye\n")
    assert recipe_file.read(str(path), "web", RECIPES).digest() != digest


def test_all_mistakes_are_told_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "base: debian13\npackages: [Nginx]\nfiles:\n  /etc/../a: {content: x}\n  /b: {}\ncommands: [[1]]\nsise: 10G\n"
    )
    with pytest.raises(TemplateError) as caught:
        recipe_file.read(str(path), "web", RECIPES)
    lines = caught.value.details.replace(str(path), "R").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["R:1:7:", "R:2:12:", "R:4:3:", "R:6:12:", "R:7:1:"]
    assert "did you mean size?" in lines[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "R:1:1: the file is empty"),
        ("- nginx\n", "R:1:1: expected a mapping, found a list"),
        ("a: [\n", "R:2:1: expected a value, found the end"),
        ("files: {/a: {source: none}}\n", 'R:1:22: files."/a".source: none can\'t be read: No such file or directory'),
        ("files: {/a: {source: b, content: c}}\n", 'R:1:9: files."/a": write either content or source'),
        ("base: mini\npackages: [a1]\n", "R:2:1: packages: mini has no package manager, write base: debian12"),
    ],
)
def test_one_mistake_is_the_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "R"
    path.write_text(text)
    with pytest.raises(TemplateError) as caught:
        recipe_file.read(str(path), "web", RECIPES)
    assert caught.value.what.replace(str(path), "R") == message
    assert caught.value.hint


def test_a_recipe_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TemplateError, match="there is no such file"):
        recipe_file.read("/nonexistent/R", "web", RECIPES)


def test_without_a_file_more_is_added_to_debian() -> None:
    made = own.recipe("big", None, ["nginx"], 20 << 30)
    assert (made.name, made.packages[-1], made.size) == ("big", "nginx", 20 << 30)


def test_templates_of_lago_are_not_replaced() -> None:
    with pytest.raises(TemplateError, match="debian12 comes with Lago") as caught:
        own.recipe("debian12", None, ["nginx"], None)
    assert caught.value.hint == "choose another name, such as my-debian12"


def test_words_of_the_command_line_are_checked() -> None:
    assert recipe_file.size("10G") == 10 << 30
    for bad in ("10X", "1K", ""):
        with pytest.raises(ValueError, match="is no size"):
            recipe_file.size(bad)
    with pytest.raises(ValueError, match="no name of a Debian package"):
        recipe_file.package("-o Evil")


def test_a_command_that_fails_is_named_with_its_line(path: Path) -> None:
    made = recipe_file.read(str(path), "web", RECIPES)
    said = "I: running hook\nlago: begin command 1\nuseradd: no\nlago: failed command 1 9\nE: hook failed"
    error = hooks.explain(made, CommandError(["mmdebstrap"], 1, details=said))
    assert error is not None
    assert error.what == f"{path}:8: the command failed with exit status 9: useradd web"
    assert error.details == "useradd: no\n"
    assert hooks.explain(made, CommandError(["mmdebstrap"], 1, details="E: no mirror")) is None
