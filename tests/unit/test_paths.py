"""The names of files in a prefix, as earlier releases documented them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lago.errors import PrefixError
from lago.paths import Paths, check_place


@pytest.mark.parametrize(
    ("found", "path"),
    [
        (Paths("/p").prefix(), "/p"),
        (Paths("/p").uuid(), "/p/uuid"),
        (Paths("/p").prefix_lagofile(), "/p/initialized"),
        (Paths("/p").ssh_id_rsa(), "/p/id_rsa"),
        (Paths("/p").ssh_id_rsa_pub(), "/p/id_rsa.pub"),
        (Paths("/p").metadata(), "/p/metadata"),
        (Paths("/p").logs(), "/p/logs"),
        (Paths("/p").images(), "/p/images"),
        (Paths("/p").images("vm0_root.qcow2"), "/p/images/vm0_root.qcow2"),
        (Paths("/p").virt("env"), "/p/virt/env"),
    ],
)
def test_a_file_has_its_name(found: str, path: str) -> None:
    assert found == path


@pytest.mark.parametrize(
    "path", ["/a b", "/a'b", '/a"b', "/a%b", "/\u00fc", "/-a", "/a,b:c;d=e#f", "/$HOME/{}", "/a\\"]
)
def test_a_directory_may_have_odd_names(path: str) -> None:
    check_place(path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/a\nb", "has a line break"),
        ("/a\x1b[1m", "has a line break or another control character"),
        (os.fsdecode(b"/\xff"), "is no UTF-8"),
        ("/${HOME}", "has \\${"),
    ],
)
def test_a_directory_that_others_would_misread_is_refused(path: str, why: str) -> None:
    with pytest.raises(PrefixError, match=f"can't be used: the name {why}") as caught:
        check_place(path)
    assert caught.value.hint == "choose another directory"


@pytest.mark.programs
def test_a_locale_in_which_names_mean_something_else_is_told() -> None:
    code = "from lago.paths import check_place; check_place(b'/\\xc3\\xbc'.decode('latin-1'))"
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "the name is not ASCII, and the locale's encoding is ascii" in done.stderr
