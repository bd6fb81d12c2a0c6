"""Lock files: what they hold, when they change, and what --frozen refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lago.errors import TemplateError
from lago.templates.lockfile import Locked, LockFile

from ..conftest import Lago

pytestmark = pytest.mark.programs

INIT = "domains: {vm0: {bootstrap: none, disks: [{template_name: %s}], nics: [{net: lan}]}}\nnets: {lan: {}}\n"


class Site:
    """A repository with templates `a` and `b`, a store, and an init file."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        (path / "images").mkdir()
        self.publish("a", "1", b"first")
        monkeypatch.setenv("LAGO_TEMPLATE_REPO_PATH", str(path / "repo.json"))
        monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(path / "store"))
        self.want("a")

    def publish(self, name: str, version: str, data: bytes) -> None:
        """Add a version, newer than all before."""
        (self.path / "images" / f"{name}-{version}").write_bytes(data.ljust(1 << 16, b"\0"))
        document = self.path / "repo.json"
        dom: dict[str, Any] = {"name": "r", "sources": {}, "templates": {}}
        if document.exists():
            dom = json.loads(document.read_text())
        dom["sources"]["s"] = {"type": "file", "args": {"root": str(self.path / "images")}}
        versions = dom["templates"].setdefault(name, {"versions": {}})["versions"]
        versions[version] = {"source": "s", "handle": f"{name}-{version}", "timestamp": len(versions)}
        document.write_text(json.dumps(dom))

    def want(self, name: str) -> None:
        (self.path / "LagoInitFile").write_text(INIT % name)

    def locked(self) -> dict[str, str]:
        """Image by template."""
        raw = json.loads((self.path / "LagoInitFile.lock").read_text())
        return {name: one["image"] for name, one in raw["images"].items()}


@pytest.fixture
def site(tmp_path: Path, lago: Lago, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def again(lago: Lago, *words: str, code: int = 0) -> str:
    """Init once more; what was said."""
    if Path(".lago").exists():
        lago("destroy", "--yes", "--all-prefixes")
    return lago.both("init", *words, code=code)[1]


def test_init_writes_the_digest_of_every_image(site: Site, lago: Lago) -> None:
    lago("init")
    digest = hashlib.sha256(b"first".ljust(1 << 16, b"\0")).hexdigest()
    assert json.loads((site.path / "LagoInitFile.lock").read_text()) == {
        "images": {"a": {"image": "r:a:1", "sha256": digest}},
        "version": 1,
    }


def test_a_newer_image_is_not_taken_as_long_as_the_lock_file_is_there(site: Site, lago: Lago) -> None:
    lago("init")
    site.publish("a", "2", b"second")
    again(lago)
    assert site.locked() == {"a": "r:a:1"}
    (site.path / "LagoInitFile.lock").unlink()
    again(lago)
    assert site.locked() == {"a": "r:a:2"}


def test_a_locked_image_is_fetched_in_its_version(site: Site, lago: Lago) -> None:
    lago("init")
    site.publish("a", "2", b"second")
    lago("destroy", "--yes")
    lago("template", "rm", "a")
    again(lago, "--frozen")
    assert lago("-f", "flat", "template", "info", "r:a:1").count("r:a:1") > 1


def test_what_the_init_file_wants_now_is_locked(site: Site, lago: Lago) -> None:
    lago("init")
    site.publish("b", "1", b"b")
    site.want("b")
    assert "the template b is not in " in again(lago, "--frozen", code=2)
    assert site.locked() == {"a": "r:a:1"}
    again(lago)
    assert site.locked() == {"b": "r:b:1"}
    again(lago, "--frozen")


def test_another_image_is_refused_if_frozen_and_else_told(site: Site, lago: Lago) -> None:
    lago("init")
    lago("destroy", "--yes")
    lago("template", "rm", "a")
    (site.path / "images" / "a-1").write_bytes(b"changed".ljust(1 << 16, b"\0"))
    before = (site.path / "LagoInitFile.lock").read_text()
    said = again(lago, "--frozen", code=2)
    assert (
        f"the template a can't be had as {site.path / 'LagoInitFile.lock'} has it".replace(f"{site.path}/", "") in said
    )
    assert "expected r:a:1, sha256 " in said
    assert "found    r:a:1, sha256 " in said
    assert (site.path / "LagoInitFile.lock").read_text() == before
    assert not Path(".lago").exists()
    assert "now it is r:a:1, sha256 " in again(lago)
    assert (site.path / "LagoInitFile.lock").read_text() != before


def test_frozen_needs_a_lock_file(site: Site, lago: Lago) -> None:
    assert "LagoInitFile.lock is not there, which --frozen needs" in again(lago, "--frozen", code=2)


@pytest.mark.parametrize(
    ("text", "says"), [("{", "is no lock file"), ("[]", "is no lock file"), ('{"version": 2}', "of a later release")]
)
def test_a_lock_file_that_cannot_be_read_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.lock").write_text(text)
    with pytest.raises(TemplateError, match=says) as caught:
        LockFile(str(tmp_path / "x"))
    assert "remove it" in caught.value.hint


def test_a_lock_file_that_cannot_be_written_is_told_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = LockFile(str(tmp_path / "no such directory" / "x"))
    lock.record("a", None, Locked("r:a:1", "0" * 64))
    lock.save()
    assert "the next init may use other images: No such file or directory" in caplog.text
