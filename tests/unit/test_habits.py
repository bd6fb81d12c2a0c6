"""What those who work on Lago are told to run is there, and continuous integration runs the same."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import dropwhile, groupby, takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from releases import cli as release

from lago.cli.main import build_parser
from lago.errors import LagoError

from ..users import REPOSITORY

GITHUB = REPOSITORY / ".github"
FORMS = GITHUB / "ISSUE_TEMPLATE"
WORKFLOWS = sorted(GITHUB.joinpath("workflows").glob("*.yml"))
CI = [".ci/run", ".ci/run-as-user"]
SCHEDULED = ".ci/run test-all"
BARE = "ca-certificates git make python3"
"""What Debian packages the containers get before all else."""

GUIDES = [
    *(REPOSITORY / name for name in ("CONTRIBUTING.md", "changes/README.md", "docs/releasing.md")),
    GITHUB / "PULL_REQUEST_TEMPLATE.md",
    FORMS / "bug.yml",
]
SCHEMAS: dict[str, list[Path]] = {
    "github-workflows": WORKFLOWS,
    "github-issue-forms": sorted({*FORMS.glob("*.yml")} - {FORMS / "config.yml"}),
    "github-issue-config": [FORMS / "config.yml"],
    "gitlab-ci": [REPOSITORY / ".gitlab-ci.yml"],
}
PARSERS = {"lago": lambda: build_parser(None)[0], "tools/release": release.build_parser}
ANOTHER = re.compile(r"lago(?![\w/.-])")
"""A requirement that pip would look up by name, and find the project that had it before."""
OF_THE_SYSTEM = {"apt-get", "chown", "find", "sendmail", "tee"}
OURS = r"(?:(?:make|lago|tools/release) |\.(?:ci|venv/bin)/\w)"
"""What begins the commands that guides name."""


def targets() -> set[str]:
    """What `make` can make."""
    return set(re.findall(r"^([a-z][a-z-]*):", REPOSITORY.joinpath("Makefile").read_text(), re.MULTILINE))


def developers_tools() -> set[str]:
    """Names of packages in the virtual environment; their programs have the same names."""
    extra = tomllib.loads(REPOSITORY.joinpath("pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    return {re.split(r"[^\w-]", wanted)[0] for wanted in extra} | {"python", "lago"}


def commands(script: str) -> Iterator[list[str]]:
    """The words of each command of a plain shell script, without variables before and redirections after them."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;>")
        lexer.whitespace_split = True
        for separates, group in groupby(lexer, lambda token: token in ("&&", "|", ";")):
            if not separates:
                words = [*takewhile(lambda token: token != ">", group)]
                yield [*dropwhile(re.compile(r"[A-Z_]+=").match, words)]


def faults(words: list[str]) -> Iterator[str]:
    """What a command names that is not there."""
    first, *rest = words
    if first in PARSERS:
        try:
            PARSERS[first]().parse_args(["version" if word == "COMMAND" else word for word in rest])
        except LagoError as error:
            yield str(error)
        except SystemExit as end:
            yield from [" ".join(words)] if end.code else []
    elif first == "make":
        yield from (f"make {word}" for word in rest[:1] if word not in targets())
    elif first.startswith(".venv/bin/"):
        yield from () if first.removeprefix(".venv/bin/") in developers_tools() else [first]
    elif "/" in first:
        yield from () if os.access(REPOSITORY / first, os.X_OK) else [first]
    elif first not in OF_THE_SYSTEM:
        yield first
    paths = re.findall(r"(?<![\w./-])(?:bench|docs|examples|src|tests|tools)/[\w./-]*", " ".join(words))
    yield from (path for path in paths if not REPOSITORY.joinpath(path).exists())


def load(path: Path) -> Any:
    """A YAML file, with `on` as the text that it is to GitHub."""
    return yaml.load(path.read_text(), yaml.BaseLoader)


def steps(workflow: Path) -> Iterator[str]:
    """The scripts of a workflow, those of matrices too."""
    for job in load(workflow)["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {}).get("include", [])
        for step in job.get("steps", []):
            run = step.get("run", "")
            if run == "${{ matrix.command }}":
                yield from (row["command"] for row in matrix)
            elif run:
                yield run


def make(*words: str) -> str:
    """What `make` says, also when this is run by another one."""
    argv = ["make", "--no-print-directory", *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(argv, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.programs
@pytest.mark.parametrize("schema", SCHEMAS)
def test_forms_and_workflows_are_as_the_services_want_them(schema: str) -> None:
    argv = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        f"vendor.{schema}",
        *map(str, SCHEMAS[schema]),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_there_is(workflow: Path) -> None:
    scripts = list(steps(workflow))
    assert scripts
    assert not [fault for script in scripts for words in commands(script) for fault in faults(words)]


def test_continuous_integration_is_make_test_for_both_users_everywhere() -> None:
    assert [step for step in steps(GITHUB / "workflows" / "ci.yml") if step.startswith(".ci/")] == CI
    jobs = [job for job in load(REPOSITORY / ".gitlab-ci.yml").values() if "script" in job]
    assert [job["script"] for job in jobs if "rules" not in job] == CI
    assert [job["script"] for job in jobs if "rules" in job] == [SCHEDULED]
    assert SCHEDULED in steps(GITHUB / "workflows" / "nightly.yml")
    assert "what=${1:-test}\n" in REPOSITORY.joinpath(CI[0]).read_text()
    assert REPOSITORY.joinpath(CI[1]).read_text().endswith(f"{CI[0]}\n")


def test_containers_begin_with_what_the_readme_asks_for() -> None:
    before = [step for workflow in WORKFLOWS for step in steps(workflow) if step.startswith("apt-get")]
    before.append("\n".join(load(REPOSITORY / ".gitlab-ci.yml")[".test"]["before_script"]))
    assert {step.partition("--no-install-recommends ")[2] for step in before} == {BARE}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_commands_that_guides_name_are_there(guide: Path) -> None:
    text = guide.read_text()
    blocks = re.findall(rf"^ {{4,}}(?:\$ )?((?:\w+=\S+ )?{OURS}.*)$", text, re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(rf"`({OURS}[^`]*)`", text)]
    found = [words for line in [*blocks, *spans] for words in commands(line)]
    assert not [fault for words in found for fault in faults(words)]
    assert found


def test_variables_that_guides_name_are_read() -> None:
    sources = "".join(path.read_text() for path in REPOSITORY.joinpath("tests").rglob("*.py") if path != Path(__file__))
    named = set(re.findall(r"LAGO_TEST_\w+", REPOSITORY.joinpath("CONTRIBUTING.md").read_text()))
    assert named
    assert not {name for name in named if f'"{name}"' not in sources}


def installed(text: str) -> Iterator[str]:
    """What pip and its like are told to install, wherever a text names such a command."""
    for rest in re.findall(r"\b(?:pipx?|uv)\b[^\n`\"]*?\b(?:install|add|run)\b([^\n`\"]*)", text):
        yield from (word.strip("',()").rstrip(".") for word in rest.partition("#")[0].split())


def proposals() -> Iterator[tuple[Path, str]]:
    """What pages, scripts and messages of ours propose to install."""
    places = (".ci", ".github", "bench", "changes", "docs", "examples", "packaging", "src", "tools")
    files = [path for place in places for path in REPOSITORY.joinpath(place).rglob("*") if path.is_file()]
    files += [path for path in REPOSITORY.iterdir() if path.is_file()]
    for path in files:
        if path.suffix not in (".pyc", ".svg", ".png") and "docs/api" not in str(path):
            yield from ((path, word) for word in installed(path.read_text(errors="replace")))


def test_nobody_is_told_to_install_another_project_of_our_name() -> None:
    theirs = "`pip install 'lago[ovirt]'`, pip install -q lago==1 x\n\"uv pip install lago\", pipx install lago; true"
    assert [word for word in installed(theirs) if ANOTHER.match(word)] == ["lago[ovirt]", "lago==1", "lago", "lago;"]
    ours = "pip install '.[ovirt]' ./lago lago/ lago-env dist/lago-2.0.whl[ovirt] lago.whl"
    assert not [word for word in installed(ours) if ANOTHER.match(word)]
    found = list(proposals())
    assert ".[ovirt]" in {word for _, word in found}
    assert not [f"{path.relative_to(REPOSITORY)}: {word}" for path, word in found if ANOTHER.match(word)]


@pytest.mark.programs
def test_make_explains_every_target() -> None:
    helped = dict(line.split(maxsplit=1) for line in make("help").splitlines())
    assert set(helped) == targets()
    [phony] = re.findall(r"^\.PHONY: (.*)$", REPOSITORY.joinpath("Makefile").read_text(), re.MULTILINE)
    assert set(phony.split()) == targets()


@pytest.mark.programs
def test_commits_are_checked_by_what_make_lint_runs() -> None:
    config = REPOSITORY / ".pre-commit-config.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", config], check=True)
    hooks = [hook for repo in load(config)["repos"] for hook in repo["hooks"]]
    programs = {hook["entry"].split()[0] for hook in hooks}
    assert programs == set(re.findall(r"\.venv/bin/\w+", make("--dry-run", "lint")))
