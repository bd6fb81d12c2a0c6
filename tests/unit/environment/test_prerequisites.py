"""What an init file needs of this host is told before anything is made, alike by validate and init."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lago import config
from lago.environment.prefix import Prefix
from lago.errors import InitFileError
from lago.host.programs import run
from lago.templates import TemplateRepository, TemplateStore

from ..conftest import Lago

GOLDEN = Path(__file__).parents[2] / "golden" / "host"
FILES = sorted(GOLDEN.glob("*.yaml"))

REPOSITORY = {
    "name": "ours",
    "sources": {"here": {"type": "file", "args": {"root": "/srv"}}},
    "templates": {
        name: {"versions": {"40": {"source": "here", "handle": name, "timestamp": 1}}} for name in ("mini", "fedora")
    },
}


@pytest.fixture
def room(lago: Lago, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a repository, an image and a script."""
    assert lago
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("LAGO_TEMPLATE_REPO_PATH", str(tmp_path / "repo.json"))
    # That of the tests may have templates that others made.
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(tmp_path / "store"))
    (tmp_path / "repo.json").write_text(json.dumps(REPOSITORY))
    for name in ("here.qcow2", "here.sh"):
        (tmp_path / name).touch()
    return tmp_path


def compare(name: str, text: str) -> None:
    golden = GOLDEN / name
    if not golden.exists():
        golden.write_text(text)
        pytest.fail(f"{golden} was missing; it is written now: read it")
    assert text == golden.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_validate_says_this_as_text_and_as_data(lago: Lago, room: Path, path: Path) -> None:
    (room / "LagoInitFile").write_text(path.read_text())
    code = 2 if path.name == "missing.yaml" else 0
    _, err = lago.both("validate", code=code)
    compare(f"{path.stem}.txt", err.replace(str(room), "ROOM"))
    out, again = lago.both("-f", "json", "validate", code=code)
    assert again == err
    found = json.loads(out)["mistakes"]
    assert [(one["file"], sorted(one)) for one in found] == [
        ("LagoInitFile", ["column", "file", "kind", "line", "message", "path"]) for one in found
    ]
    for one in found:
        line = f"LagoInitFile:{one['line']}:{one['column']}: {one['path']}: {one['message']}"
        assert f"WARNING: {line}\n" in err if one["kind"] == "warning" else line in err.replace("\n    ", "\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("command", ["init", "up"])
def test_init_and_up_say_the_same_and_make_nothing(lago: Lago, room: Path, path: Path, command: str) -> None:
    (room / "LagoInitFile").write_text(path.read_text())
    _, said = lago.both("validate", "--strict", code=0 if path.name == "many-disks.yaml" else 2)
    if not said:
        return
    before = sorted(os.listdir(room))
    assert lago.both(command, "--strict", code=2) == ("", said)
    assert sorted(os.listdir(room)) == before


def test_strict_is_a_setting_too(lago: Lago, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (room / "LagoInitFile").write_text((GOLDEN / "odd.yaml").read_text())
    lago("validate")
    _, asked = lago.both("validate", "--strict", code=2)
    monkeypatch.setenv("LAGO_STRICT", "yes")
    assert lago.both("validate", code=2)[1] == asked
    with pytest.raises(InitFileError) as caught:
        Prefix.create(str(room / "p"), "LagoInitFile")
    assert len(caught.value.mistakes) == 3


def test_a_file_that_is_none_is_data_as_well(lago: Lago, room: Path) -> None:
    (room / "LagoInitFile").write_text("domains: {vm0: {}\n")
    found = json.loads(lago("-f", "json", "validate", code=2))
    assert found == {
        "file": "LagoInitFile",
        "mistakes": [
            {
                "file": "LagoInitFile",
                "line": 2,
                "column": 1,
                "path": "",
                "message": "expected , or } in the mapping that begins at 1:10, found the end",
                "kind": "mistake",
            }
        ],
    }
    assert json.loads(lago("-f", "json", "validate", "gone", code=2))["mistakes"] == [
        {
            "file": "gone",
            "line": None,
            "column": None,
            "path": "",
            "message": "there is no such file",
            "kind": "mistake",
        }
    ]


@pytest.mark.parametrize(
    ("repository", "why"),
    [
        ("http://lab.invalid/repo.json", "the template repository http://lab.invalid/repo.json is not on this host"),
        ("gone.json", "cannot read the template repository gone.json: No such file or directory"),
    ],
)
def test_templates_of_a_repository_that_is_not_here_are_told_as_not_checked(
    lago: Lago, room: Path, repository: str, why: str
) -> None:
    (room / "LagoInitFile").write_text(
        "domains: {vm0: {nics: [{net: lab}], disks: [{template_name: a}, {template_name: b}]}}\nnets: {lab: {}}\n"
    )
    out, err = lago.both("-f", "json", "validate", "--strict", "--template-repo-path", repository)
    told = f"whether there is a template a, b was not checked: {why}"
    assert err == f"@ LagoInitFile:1:61: domains.vm0.disks[0].template_name: {told}\n"
    assert [(one["kind"], one["message"]) for one in json.loads(out)["mistakes"]] == [("note", told)]


def test_a_template_that_the_lock_file_has_from_the_store_needs_no_repository(
    lago: Lago, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (room / "LagoInitFile").write_text(
        "domains: {vm0: {disks: [{template_name: old}], nics: [{net: lab}]}}\nnets: {lab: }"
    )
    assert "the repository ours has no template old" in lago.both("validate", code=2)[1]
    image = {"image": "ours:old:1", "sha256": "0"}
    (room / "LagoInitFile.lock").write_text(json.dumps({"images": {"old": image}, "version": 1}))
    assert "the repository ours has no template old" in lago.both("validate", code=2)[1]
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(room / "store"))
    (room / "store").mkdir()
    (room / "store" / "ours:old:1").touch()
    lago("validate")


def test_a_repository_that_a_program_brings_is_the_one_that_is_asked(room: Path) -> None:
    other = TemplateRepository({**REPOSITORY, "name": "other", "templates": {}}, "other.json")
    config.set_command_line({})
    spec = {"domains": {"vm0": {"disks": [{"template_name": "mini"}], "nics": [{"net": "lab"}]}}, "nets": {"lab": {}}}
    with pytest.raises(InitFileError, match="the repository other has no template mini"):
        Prefix.create(str(room / "p"), spec, other)
    assert not (room / "p").exists()


@pytest.mark.programs
@pytest.mark.usefixtures("room")
def test_init_makes_what_has_warnings_only_and_prints_them(lago: Lago) -> None:
    Path("LagoInitFile").write_text(
        "domains: {vm0: {cpu: 3, nics: [{net: lab}], disks: [{type: empty, size: 1M}]}}\nnets: {lab: {}}\n"
    )
    _, err = lago.both("init")
    assert err.startswith("WARNING: LagoInitFile:1:17: domains.vm0.cpu: this is the old name of vcpu, write that\n")
    assert Prefix(".lago/default").topology.domains["vm0"].vcpu == 3


@pytest.mark.programs
def test_images_of_this_host_are_listed_once_for_a_new_environment(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = {**REPOSITORY, "sources": {"here": {"type": "file", "args": {"root": str(room)}}}}
    (room / "repo.json").write_text(json.dumps(repository))
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(room / "mini"), "1M"])
    (room / "mini.metadata").write_text('{"bootstrap": "none"}')
    (room / "LagoInitFile").write_text(
        "domains: {vm0: {disks: [{template_name: mini}], nics: [{net: lan}]}}\nnets: {lan: {}}"
    )
    lists: list[list[str]] = []
    listed = TemplateStore.list

    def spy(store: TemplateStore) -> list[str]:
        lists.append(listed(store))
        return lists[-1]

    monkeypatch.setattr(TemplateStore, "list", spy)
    made = Prefix.create(str(room / ".lago" / "default"), str(room / "LagoInitFile"))
    assert list(made.topology.domains) == ["vm0"]
    assert lists == [[]]
