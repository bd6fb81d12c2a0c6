"""What the documentation shows is what is there."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_init_file_of_the_readme_is_the_one_of_the_demo() -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", REPOSITORY.joinpath("README.md").read_text(), re.DOTALL)
    assert shown == REPOSITORY.joinpath("examples", "three-vms", "LagoInitFile").read_text()


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in [*REPOSITORY.glob("*.md"), *REPOSITORY.joinpath("docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert page.parent.joinpath(target).exists(), f"{page.name}: {target}"
