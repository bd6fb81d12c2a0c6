"""What the documentation shows is what is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from lago.cli.main import main
from lago.initfile import document, parse
from lago.templates import own

REPOSITORY = Path(__file__).resolve().parents[2]

_TO_MAKE = {
    "etcd": {"the repository lago has no template etcd"},
    "ovirt": {"the repository lago has no template storage"},
    "storage": {"the repository lago has no template storage"},
    "provider": {"the vm-provider remote is not installed"},
}
"""What an example needs that is made or installed first, as its pages say."""


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in [*REPOSITORY.glob("*.md"), *REPOSITORY.joinpath("docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            # Pages of modules are made with the manual, whose links tests/docs follows.
            assert "api/lago" in target or page.parent.joinpath(target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*/LagoInitFile")), ids=lambda path: path.parent.name)
def test_init_files_of_examples_are_sound_and_name_scripts_that_are_there(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # That of the tests may have templates that were made for examples.
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(tmp_path / "store"))
    assert main(["-f", "json", "validate", str(path)]) == (2 if path.parent.name in _TO_MAKE else 0)
    found = json.loads(capsys.readouterr().out)["mistakes"]
    assert {one["message"].partition(",")[0] for one in found} == _TO_MAKE.get(path.parent.name, set())
    for domain in parse.parse(document.read(str(path))).domains.values():
        for script in domain.metadata.get("deploy-scripts", ()):
            assert Path(script.replace("$LAGO_INITFILE_PATH", str(path.parent))).is_file(), script


@pytest.mark.parametrize("name", ["etcd", "storage"])
def test_recipes_of_examples_are_sound(name: str) -> None:
    assert {path.parent.name for path in REPOSITORY.glob("examples/*/recipe.yaml")} == {"etcd", "storage"}
    assert own.recipe(name, str(REPOSITORY / "examples" / name / "recipe.yaml"), (), None).packages


@pytest.mark.programs
@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*/*.sh")), ids=lambda path: path.name)
def test_scripts_of_examples_are_sound(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
