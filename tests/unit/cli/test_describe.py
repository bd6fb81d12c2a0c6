"""validate, schema and new, and the reference of all keys."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lago.cli.main import main
from lago.initfile import document, parse, schema
from lago.initfile.keys import DISK, DOMAIN, ENVIRONMENT, NET, NIC, SHARE
from lago.initfile.sections import ListOf, MappingOf, Section

REFERENCE = Path(__file__).parents[3] / "docs" / "init-file.md"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_new_writes_a_file_that_is_valid_and_never_over_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new"]) == 0
    assert list(parse.parse(document.read("LagoInitFile")).domains) == ["vm0", "vm1"]
    assert main(["-f", "json", "validate"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": "LagoInitFile",
        "domains": 2,
        "nets": 1,
        "mistakes": [],
    }
    assert main(["new"]) == 2
    assert "LagoInitFile exists already" in capsys.readouterr().err
    assert os.listdir(here) == ["LagoInitFile"]


def test_validate_tells_all_mistakes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x").write_text("domains: {vm0: {vcpu: 0, memry: 1}}")
    assert main(["validate", "x"]) == 2
    said = capsys.readouterr()
    assert "x:1:23: domains.vm0.vcpu" in said.err
    assert "x:1:26: domains.vm0.memry" in said.err
    assert not said.out


def test_validate_finds_what_only_resolving_shows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nics = ", ".join(["{net: lab}"] * 254)
    (here / "x").write_text(f"{{domains: {{vm0: {{nics: [{nics}]}}}}, nets: {{lab: {{}}}}}}")
    assert main(["validate", "x"]) == 2
    assert "no address left" in capsys.readouterr().err


def test_validate_asks_no_template_that_it_has_not_for_a_kernel(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    (here / "x").write_text("domains: {vm0: {boot: kernel, disks: [{template_name: mini}]}}")
    assert main(["validate", "x"]) == 0
    (here / "x").write_text("domains: {vm0: {boot: kernel, disks: [{size: 1G}]}}")
    assert main(["validate", "x"]) == 2
    assert "boot from the kernel of its template" in capsys.readouterr().err
    (here / "x").write_text("domains: {vm0: {shares: [{path: $NOWHERE/a, tag: a}]}}")
    assert main(["validate", "x"]) == 2
    assert "the variable NOWHERE in $NOWHERE/a is not set" in capsys.readouterr().err


def test_the_schema_has_every_key_with_a_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["$schema"].endswith("2020-12/schema")
    assert found["required"] == ["domains"]
    domain = found["properties"]["domains"]["additionalProperties"]
    assert set(domain["properties"]) == set(DOMAIN.fields)
    assert all(key["description"] for key in domain["properties"].values())
    assert domain["properties"]["bootstrap"]["anyOf"][0]["enum"] == [
        "credentials",
        "cloud-init",
        "virt-sysprep",
        "none",
        True,
        False,
    ]


def sections(section: Section) -> Iterator[Section]:
    yield section
    for field in section.fields.values():
        reader = field.reader
        while isinstance(reader, MappingOf | ListOf):
            reader = reader.item
        if isinstance(reader, Section):
            yield from sections(reader)


def test_every_section_has_a_schema() -> None:
    assert all(section.schema()["properties"] for section in sections(ENVIRONMENT))


@pytest.mark.parametrize(
    ("title", "section"),
    [("machine", DOMAIN), ("disk", DISK), ("network interface", NIC), ("shared directory", SHARE), ("network", NET)],
)
def test_the_reference_has_every_key_with_what_the_program_says_of_it(title: str, section: Section) -> None:
    text = REFERENCE.read_text()
    for key, field in section.fields.items():
        row = f"| `{key}` | {field.doc} |"
        assert row in text, f"docs/init-file.md lacks a row of a {title}: {row}"


def test_the_schema_takes_what_is_taken() -> None:
    import jsonschema  # type: ignore[import-untyped]

    validator = jsonschema.Draft202012Validator(schema.schema())
    for path in sorted((Path(__file__).parents[2] / "golden" / "good").glob("*.yaml")):
        assert not list(validator.iter_errors(document.read(str(path)).data)), path
    for text in (
        "{domains: {vm-: {}}}",
        "{domains: {a..b: {}}}",
        "{domains: {vm0: {Comment: 1}}}",
        "{domains: {}, nets: {lab: 1}}",
    ):
        assert list(validator.iter_errors(document.loads(text, "x").data)), text
