"""The commands for the store, and which images prefixes hold."""

from __future__ import annotations

import json
import lzma
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lago.disks import qemu_img
from lago.environment.claims import Claims
from lago.environment.prefix import Prefix
from lago.errors import TemplateError
from lago.host.programs import run
from lago.templates import TemplateRepository, TemplateStore, find_repo_by_name
from lago.templates.references import Users

from ..conftest import Lago
from ..templates.test_lockfile import Site

pytestmark = pytest.mark.programs


@pytest.fixture
def site(tmp_path: Path, lago: Lago, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


@pytest.fixture
def store(site: Site) -> TemplateStore:
    return TemplateStore(str(site.path / "store"))


def shown(lago: Lago, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lago("-f", "json", "template", *words))
    return found


def test_list_and_info_tell_what_is_there_and_who_uses_it(site: Site, lago: Lago) -> None:
    assert shown(lago, "list")["r:a:1"] == {
        "template": "a",
        "version": "1",
        "in store": False,
        "size": 0,
        "users": [],
    }
    lago("init")
    row = shown(lago, "list")["r:a:1"]
    assert (row["in store"], row["users"]) == (True, [str(site.path / ".lago" / "default")])
    about = shown(lago, "info", "a")["r:a:1"]
    assert about["path"] == str(site.path / "store" / "r:a:1")
    assert about["format"] == "raw"
    assert "did you mean a?" in lago.both("template", "info", "aa", code=2)[1]


def test_fetch_gets_templates_by_name_and_version(site: Site, lago: Lago) -> None:
    site.publish("a", "2", b"second")
    assert list(shown(lago, "fetch", "a", "a:1")) == ["r:a:1", "r:a:2"]
    assert "its versions are: 1, 2" in lago.both("template", "fetch", "a:3", code=2)[1]


def test_an_imported_image_is_a_template(site: Site, lago: Lago) -> None:
    qemu_img.create_empty(str(site.path / "mine"), 1 << 20)
    packed = site.path / "mine.xz"
    packed.write_bytes(lzma.compress((site.path / "mine").read_bytes()))
    (site.path / "mine.xz.metadata").write_text('{"distro": "d"}')
    about = shown(lago, "import", str(packed), "mine")["local:mine:1"]
    assert (about["format"], about["metadata"]) == ("qcow2", {"distro": "d"})
    assert "has mine 1 already" in lago.both("template", "import", str(packed), "mine", code=2)[1]
    assert "can't be the name" in lago.both("template", "import", str(packed), "a:b", code=2)[1]
    assert "there is no image" in lago.both("template", "import", "nothing", "b", code=2)[1]
    site.want("mine")
    lago("init")
    assert site.locked() == {"mine": "local:mine:1"}


@pytest.mark.parametrize("data", [b"QFI\xfbdamaged" + bytes(100), b"<html>"])
def test_what_is_no_image_is_not_imported(site: Site, lago: Lago, store: TemplateStore, data: bytes) -> None:
    (site.path / "bad").write_bytes(data)
    lago("template", "import", "bad", "bad", code=2)
    assert store.list() == []
    assert [name for name in os.listdir(store.path) if not name.endswith(".lock")] == []


def test_an_overlay_is_no_image_to_share(site: Site, lago: Lago) -> None:
    run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "over", "1M"])
    assert "is an overlay of /etc/passwd" in lago.both("template", "import", "over", "over", code=2)[1]


def test_verify_finds_an_image_that_changed(site: Site, lago: Lago, store: TemplateStore) -> None:
    lago("template", "fetch", "a")
    assert shown(lago, "verify") == {"r:a:1": "ok"}
    with open(os.path.join(store.path, "r:a:1"), "r+b") as file:
        file.write(b"x")
    said = lago.both("template", "verify", "a", code=2)[1]
    assert f"{store.path}/r:a:1" in said
    assert "hint: lago template rm r:a:1" in said
    assert "has no image b" in lago.both("template", "verify", "b", code=2)[1]


def test_what_an_earlier_release_stored_cannot_be_verified(site: Site, lago: Lago, store: TemplateStore) -> None:
    lago("template", "fetch", "a")
    Path(store.path, "r:a:1.hash").write_text("0" * 40)
    assert "what an earlier release stored" in lago.both("template", "verify", code=2)[1]


def test_rm_refuses_what_is_used(site: Site, lago: Lago, store: TemplateStore) -> None:
    lago("init")
    said = lago.both("template", "rm", "a", code=2)[1]
    assert f"by {site.path}/.lago/default" in said
    lago("destroy", "--yes")
    lago("template", "rm", "a:1")
    assert store.list() == []
    assert sorted(os.listdir(store.path)) == [".users", "r:a:1.lock"]
    assert os.listdir(store.users._root) == [".lock"]


def test_prune_removes_old_images_that_nobody_uses(site: Site, lago: Lago, store: TemplateStore) -> None:
    for number in ("1", "2", "3"):
        site.publish("a", number, number.encode())
        lago("template", "fetch", f"a:{number}")
        os.utime(os.path.join(store.path, f"r:a:{number}.hash"), (int(number), int(number)))
    site.want("a, template_version: '1'")
    lago("init")
    assert list(shown(lago, "prune")["removed"]) == ["r:a:2"]
    assert list(shown(lago, "prune", "--all")["removed"]) == ["r:a:3"]
    assert store.list() == ["r:a:1"]


def test_prune_removes_what_broken_downloads_left(site: Site, lago: Lago, store: TemplateStore) -> None:
    left = Path(store.path) / ".r:a:1.part"
    left.mkdir(parents=True)
    (left / "image.fetched").write_bytes(b"x" * 5000)
    Path(store.path, "r:a:0.metadata").write_text("{}")
    assert shown(lago, "prune")["removed"] == {".r:a:1.part": 8192}
    assert {name for name in os.listdir(store.path) if not name.endswith(".lock")} == {".users"}


def test_a_prefix_that_was_moved_or_removed_by_hand_is_known(site: Site, lago: Lago, store: TemplateStore) -> None:
    lago("init")
    (site.path / ".lago").rename(site.path / "elsewhere")
    (user,) = store.users.of("r:a:1")
    assert user.state == "moved"
    assert store.prune(everything=True) == {}
    # Whoever starts it tells where it is.
    moved = Prefix(str(site.path / "elsewhere" / "default"))
    Claims(moved.paths).renew(moved.topology)
    (user,) = store.users.of("r:a:1")
    assert (user.state, user.path) == ("here", str(site.path / "elsewhere" / "default"))
    shutil.rmtree(site.path / "elsewhere")
    assert store.users.of("r:a:1") == []
    assert list(store.prune(everything=True)) == ["r:a:1"]
    assert os.listdir(store.users._root) == [".lock"]


def test_a_fork_holds_what_its_origin_held(site: Site, lago: Lago, store: TemplateStore) -> None:
    lago("init")
    lago("fork", "other")
    assert {user.path.rpartition("/")[2] for user in store.users.of("r:a:1")} == {"default", "other"}
    lago("destroy", "--yes")
    assert store.prune(everything=True) == {}
    lago("-P", "other", "destroy", "--yes")
    assert list(store.prune(everything=True)) == ["r:a:1"]


def test_a_missing_prefix_of_another_file_system_holds_its_images_until_told(
    site: Site, lago: Lago, store: TemplateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    lago("init")
    assert [user.state for user in store.users.of("r:a:1")] == ["here"]
    shutil.rmtree(site.path / ".lago")
    assert [user.state for user in store.users.of("r:a:1")] == ["missing"]
    pruned = shown(lago, "prune", "--all")
    assert (pruned["removed"], store.list()) == ({}, ["r:a:1"])
    assert pruned["kept for missing environments"] == {str(site.path / ".lago" / "default"): ["r:a:1"]}
    lago("template", "prune", "--all", "--missing")
    assert store.list() == []


def test_an_init_that_fails_holds_nothing(site: Site, lago: Lago, store: TemplateStore) -> None:
    site.want("a, size: 1")
    lago("init", code=2)
    assert store.users.all() == []


def test_a_file_layered_on_an_image_holds_it(site: Site, lago: Lago, store: TemplateStore) -> None:
    lago("template", "fetch", "a")
    overlay = str(site.path / "over.qcow2")
    qemu_img.create_overlay(overlay, os.path.join(store.path, "r:a:1"), "raw")
    disk = f"{{type: file, path: {overlay}, format: qcow2}}"
    init = f"domains: {{vm0: {{bootstrap: none, disks: [{disk}]}}}}\nnets: {{lan: {{}}}}\n"
    (site.path / "LagoInitFile").write_text(init)
    lago("init")
    assert [user.path for user in store.users.of("r:a:1")] == [str(site.path / ".lago" / "default")]


def test_mark_used_holds_an_image(site: Site, store: TemplateStore, tmp_path: Path) -> None:
    version = TemplateRepository.from_url(str(site.path / "repo.json")).get_by_name("a").get_version()
    store.download(version)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "uuid").write_text("1" * 32)
    store.mark_used(version, str(tmp_path / "p" / "uuid"))
    with pytest.raises(TemplateError, match="is in use"):
        store.remove("r:a:1")
    Users(store.path).unregister("1" * 32)
    store.remove("r:a:1")


# --- repositories by name, and by git


def _git(path: Path, *words: str) -> None:
    settings = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=trunk"]
    run(["git", *settings, "-C", str(path), *words])


def test_repositories_are_cloned_updated_and_found_by_name(
    tmp_path: Path, lago: Lago, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAGO_TEMPLATE_REPO_PATH")
    monkeypatch.setenv("LAGO_TEMPLATE_REPOS", str(tmp_path / "repos"))
    origin = tmp_path / "origin"
    origin.mkdir()
    _git(origin, "init", "-q")
    shutil.copy(site.path / "repo.json", origin)
    (origin / "other.json").write_text("[]")
    _git(origin, "add", ".")
    _git(origin, "commit", "-q", "-m", "x")
    assert "no template repository" in lago.both("template-repo", "update", code=2)[1]
    lago("template-repo", "add", str(origin))
    assert "exists already" in lago.both("template-repo", "add", str(origin), code=2)[1]
    assert "is the address right?" in lago.both("template-repo", "add", str(tmp_path / "nothing"), code=2)[1]
    assert os.listdir(tmp_path / "repos") == ["origin"]
    lago("init", "--template-repo-name", "r")

    site.publish("c", "1", b"c")
    shutil.copy(site.path / "repo.json", origin)
    _git(origin, "commit", "-q", "-a", "-m", "y")
    (tmp_path / "repos" / "origin" / "repo.json").write_text("spoilt")
    out, err = lago.both("template-repo", "update")
    assert str(tmp_path / "repos" / "origin") in out
    assert f"Updating {tmp_path}/repos/origin" in err
    assert find_repo_by_name("r").names() == ["a", "c"]
    assert find_repo_by_name("r", str(origin)).path == str(origin / "repo.json")
    assert find_repo_by_name("catalogue").get_by_name("debian-12")
    with pytest.raises(TemplateError, match="no template repository rr in") as caught:
        find_repo_by_name("rr")
    assert caught.value.hint == "did you mean r?"


def test_d23_a_name_on_the_command_line_wins_over_a_path_in_the_configuration(
    tmp_path: Path, lago: Lago, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAGO_TEMPLATE_REPO_PATH", "/nothing")
    lago("init", "--template-repo-name", "r", "--template-repos", str(site.path))
    assert site.locked() == {"a": "r:a:1"}


def test_a_path_and_a_name_may_be_given_together(tmp_path: Path, lago: Lago, site: Site) -> None:
    path = str(site.path / "repo.json")
    lago("init", "--template-repo-path", path, "--template-repo-name", "r")
    assert site.locked() == {"a": "r:a:1"}
    lago("destroy", "--yes")
    said = lago.both("init", "--template-repo-path", path, "--template-repo-name", "other", code=2)[1]
    assert f"the template repository {path} is called r, not other" in said
    assert "leave out template_repo_name, or write r" in said


def test_a_path_on_the_command_line_is_not_mixed_with_a_name_in_the_configuration(
    lago: Lago, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAGO_TEMPLATE_REPO_NAME", "other")
    lago("init", "--template-repo-path", str(site.path / "repo.json"))
    assert site.locked() == {"a": "r:a:1"}
