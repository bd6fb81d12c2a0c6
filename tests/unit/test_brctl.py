"""Bridges, in a network namespace of the test's own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from lago.errors import HostError
from lago.hypervisor import checks

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    if checks.namespaces().status == "fail":
        pytest.skip("this host makes no namespaces")


def _inside(code: str, *, admin: bool = True) -> str:
    unshare = ["unshare", "--user", *(["--map-root-user", "--net"] if admin else [])]
    program = f"from lago import brctl\nimport subprocess\n{textwrap.dedent(code)}"
    done = subprocess.run([*unshare, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bridge_is_made_up_and_gone() -> None:
    said = _inside(
        """
        print(brctl.exists("front"))
        brctl.create("front")
        print(brctl.exists("front"), brctl.exists("fron"))
        print(subprocess.run(["ip", "-d", "link", "show", "front"], capture_output=True, text=True).stdout)
        brctl.destroy("front")
        print(brctl.exists("front"))
        """
    )
    first, second, *shown, last = said.split("\n")[:-1]
    assert (first, second, last) == ("False", "True False", "False")
    assert ",UP" in shown[0]
    assert " stp_state 1 " in "".join(shown)


def test_d39_a_bridge_that_is_there_is_taken_as_it_is_and_brought_up() -> None:
    said = _inside(
        """
        subprocess.run(["ip", "link", "add", "front", "type", "bridge"], check=True)
        brctl.create("front", stp=False)
        print(subprocess.run(["ip", "-d", "link", "show", "front"], capture_output=True, text=True).stdout)
        """
    )
    assert ",UP" in said
    assert " stp_state 0 " in said


def test_another_interface_of_that_name_is_no_bridge() -> None:
    said = _inside(
        f"""
        from lago.errors import {HostError.__name__}
        try:
            brctl.create("lo")
        except HostError as error:
            print(error)
        """
    )
    assert said == "lo is a network interface of another kind\n"


def test_without_the_right_to_do_it_the_remedy_is_told() -> None:
    said = _inside(
        """
        from lago.errors import CommandError
        try:
            brctl.create("front")
        except CommandError as error:
            print(error.render())
        """,
        admin=False,
    )
    assert "Operation not permitted" in said
    assert "hint: run Lago as root" in said
