"""Several directories of packages made one repository."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from lago.errors import HostError
from ovirtlago import repoverify
from ovirtlago.merge_repos import merge
from ovirtlago.repository.rpms import Evr, RepoError, compare

from .packages import FOREIGN, Maker, truncate


def names(repository: Path) -> list[str]:
    """The packages that a repository's own metadata lists and whose files are there, sound."""
    repoverify.verify_repo(str(repository), str(repository))
    return sorted(package["location"] for package in repoverify.get_packages(str(repository)))


def evr(text: str) -> Evr:
    epoch, _, rest = text.rpartition(":")
    version, _, release = rest.partition("-")
    return Evr(epoch or "0", version, release)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9-1", "1.10-1"),
        ("1.0-1", "1.0-2"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0-1", "1.0^git1-1"),
        ("1.0^git1-1", "1.0.1-1"),
        ("1.0a-1", "1.0.1-1"),
        ("9.9-9", "1:0.1-1"),
        ("9:1-1", "10:1-1"),
    ],
)
def test_versions_are_in_the_order_of_rpm(older: str, newer: str) -> None:
    assert compare(evr(older), evr(newer)) < 0 < compare(evr(newer), evr(older))


def test_versions_that_differ_in_writing_only_are_the_same() -> None:
    assert compare(evr("1.01-1"), evr("0:1.1-1")) == 0


def test_the_newest_package_for_our_machines_is_taken(make: Maker, tmp_path: Path) -> None:
    make.into(tmp_path / "in" / "old", make.rpm("a", "1.9"))
    new = tmp_path / "in" / "deep" / "er"
    make.into(new, make.rpm("a", "1.10"), make.rpm("a", "9", arch="src"), make.rpm("a", "9", arch=FOREIGN))
    make.into(new, make.rpm("b", "2"), make.rpm("b", "1", epoch="1"), make.rpm("c", arch="noarch"))
    output = tmp_path / "out" / "put"
    made = merge(str(output), [str(tmp_path / "in")])
    assert [(rpm.name, str(rpm.evr)) for rpm in made] == [("a", "1.10-1"), ("b", "1:1-1"), ("c", "1.0-1")]
    assert names(output) == sorted(rpm.file_name for rpm in made)


def test_what_an_earlier_input_has_wins_whatever_its_version(make: Maker, tmp_path: Path) -> None:
    built = make.into(tmp_path / "built", make.rpm("a", "1.9"))
    rest = make.into(tmp_path / "rest", make.rpm("a", "1.10"), make.rpm("a", "2", arch="noarch"), make.rpm("b", "2"))
    made = merge(str(tmp_path / "out"), [str(built), str(rest)])
    assert [f"{rpm.name} {rpm.evr.version}" for rpm in made] == ["a 1.9", "b 2"]
    single = merge(str(tmp_path / "out"), [str(make.rpm("b", "1", epoch="1")), str(rest)])
    assert [f"{rpm.name} {rpm.evr}" for rpm in single] == ["a 1.10-1", "a 2-1", "b 1:1-1"]


def test_files_are_linked_or_else_copied(make: Maker, tmp_path: Path) -> None:
    near = make.into(tmp_path / "near", make.rpm("a", "1.9"))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        far = make.into(Path(directory), make.rpm("c", arch="noarch"))
        merge(str(tmp_path / "out"), [str(near), str(far)])
    assert [path.stat().st_nlink for path in sorted((tmp_path / "out").glob("*.rpm"))] == [2, 1]
    assert len(names(tmp_path / "out")) == 2


def test_the_output_is_replaced_as_a_whole(make: Maker, tmp_path: Path) -> None:
    source, output = make.into(tmp_path / "in", make.rpm("a", "1.9")), tmp_path / "out" / "el9"
    merge(str(output), [str(source)])
    merge(str(output), [str(make.into(tmp_path / "other", make.rpm("b", "2")))])
    assert [name.split("-")[0] for name in names(output)] == ["b"]
    assert os.listdir(tmp_path / "out") == ["el9"]


@pytest.mark.parametrize("damage", ["a part", "no package", "no directory", "no createrepo_c"])
def test_a_failure_leaves_the_output_as_it_was(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    source, output = make.into(tmp_path / "in", make.rpm("a", "1.9")), tmp_path / "out" / "el9"
    merge(str(output), [str(source)])
    before = names(output)
    other = make.into(tmp_path / "other", make.rpm("b", "2"), make.rpm("a", "1.10"))
    [bad] = other.glob("b-*")
    if damage == "a part":
        truncate(bad)
    elif damage == "no package":
        bad.write_text("<html>404 Not Found</html>")
    elif damage == "no directory":
        other = tmp_path / "nowhere"
    else:
        monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError if damage == "no createrepo_c" else RepoError) as caught:
        merge(str(output), [str(other)])
    assert {"no createrepo_c": "createrepo_c", "no directory": str(other)}.get(damage, str(bad)) in caught.value.what
    assert caught.value.hint
    assert names(output) == before
    assert os.listdir(tmp_path / "out") == ["el9"]
