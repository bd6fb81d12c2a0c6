"""Which file system of a guest's disks is looked into, and where copies go."""

from __future__ import annotations

import pytest

from lago.environment.collect import flat_names
from lago.guestfs.inside import called
from lago.virt.extraction import _by_directory

SYSTEMS = ["/dev/sda1", "/dev/vg/root", "/dev/vg/root_old"]


@pytest.mark.parametrize(
    ("root", "found"), [("root", "/dev/vg/root"), ("sda", "/dev/sda1"), ("old", "/dev/vg/root_old")]
)
def test_the_root_is_the_one_of_that_name_or_else_with_it_in_its_name(root: str, found: str) -> None:
    assert called(root, SYSTEMS) == found


@pytest.mark.parametrize("root", ["vg", "home"])
def test_a_root_that_can_not_be_told_is_an_error_with_all_there_are(root: str) -> None:
    with pytest.raises(RuntimeError, match="there are: /dev/sda1, /dev/vg/root, /dev/vg/root_old\n"):
        called(root, SYSTEMS)


def test_each_path_gets_a_name_of_its_own() -> None:
    assert flat_names(["/var/log/x.log", "/a/b", "/a_b", "/etc/", "/"]) == {
        "/var/log/x.log": "_var_log_x.log",
        "/a/b": "_a_b",
        "/a_b": "_a_b_",
        "/etc/": "_etc",
        "/": "_",
    }


def test_paths_to_one_directory_are_one_stream_unless_one_goes_there_twice() -> None:
    assert _by_directory([("/a", "/x/1"), ("/b", "/y/2"), ("/c", "/x/3"), ("/a", "/x/4")]) == [
        ("/x", {"/a": "1", "/c": "3"}),
        ("/y", {"/b": "2"}),
        ("/x", {"/a": "4"}),
    ]
