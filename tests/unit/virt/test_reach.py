"""Who reaches whom, as far as it can be asked without machines: what is tried, and how it is told."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from lago.errors import LagoError, VMError
from lago.host.programs import CommandStatus
from lago.virt import reach
from lago.virt.reach import Reach, Reachability

EVERYWHERE = ("sh", "sleep")
MEANS = {"bash": ("bash", "timeout"), "python3": ("python3",)}
"""What connects; `nc` is tried in guests, as hosts often have none."""


class Here:
    """This host in place of a machine: what it is asked is run here, where it has the programs `tools`."""

    time_factor = 1.0

    def __init__(self, name: str, place: Path, tools: Sequence[str] = (), nets: Sequence[str] = ("lan",)) -> None:
        self._name, self._place, self._nets = name, place, list(nets)
        place.mkdir()
        for tool in (*EVERYWHERE, *tools):
            (place / tool).symlink_to(str(shutil.which(tool)))

    def name(self) -> str:
        return self._name

    def nets(self) -> list[str]:
        return self._nets

    def ips_in_net(self, net: str) -> list[str]:
        return ["127.0.0.1"] if net in self._nets else []

    def ssh(
        self,
        command: str | Sequence[str],
        data: bytes | None = None,
        show_output: bool = True,
        propagate_fail: bool = True,
        tries: int | None = None,
        timeout: float | None = None,
    ) -> CommandStatus:
        assert (data, show_output, propagate_fail, tries) == (None, False, True, None)
        done = subprocess.run(
            list(command), env={"PATH": str(self._place)}, capture_output=True, timeout=timeout, check=False
        )
        return CommandStatus(done.returncode, done.stdout, done.stderr)


@pytest.mark.programs
@pytest.mark.parametrize("means", MEANS)
def test_a_port_is_reached_if_it_takes_connections_by_whatever_there_is(tmp_path: Path, means: str) -> None:
    one, two = Here("one", tmp_path / "one", MEANS[means]), Here("two", tmp_path / "two")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reach.ask(one, [two], port, None, 5.0) == {"two": Reach({"lan": True}, means)}
    assert reach.ask(one, [two], port, None, 5.0) == {"two": Reach({"lan": False}, means)}


@pytest.mark.programs
@pytest.mark.parametrize("means", MEANS)
def test_without_ping_a_connection_to_ssh_is_tried_and_a_refusal_is_an_answer(tmp_path: Path, means: str) -> None:
    one, two = Here("one", tmp_path / "one", MEANS[means]), Here("two", tmp_path / "two")
    # Whether ssh listens here or not, this host answers.
    assert reach.ask(one, [two], None, None, 5.0) == {"two": Reach({"lan": True}, f"{means} to port 22")}


@pytest.mark.programs
@pytest.mark.parametrize("port", [None, 80])
def test_who_has_nothing_to_try_with_says_so(tmp_path: Path, port: int | None) -> None:
    one, two = Here("one", tmp_path / "one"), Here("two", tmp_path / "two")
    with pytest.raises(VMError, match="one has nothing to try with whom it reaches") as caught:
        reach.ask(one, [two], port, None, 5.0)
    assert "install one of ping" in caught.value.hint


@pytest.mark.programs
def test_a_shell_that_calls_itself_bash_is_none(tmp_path: Path) -> None:
    one, two = Here("one", tmp_path / "one", ("timeout", "python3")), Here("two", tmp_path / "two")
    (tmp_path / "one" / "bash").symlink_to(shutil.which("dash") or "/bin/sh")
    assert reach.ask(one, [two], None, None, 5.0)["two"].by == "python3 to port 22"


def test_on_no_net_together_nobody_is_asked(tmp_path: Path) -> None:
    one, two = Here("one", tmp_path / "one"), Here("two", tmp_path / "two", nets=["back"])
    assert reach.ask(one, [two], None, None, 5.0) == {
        "two": Reach(why="it is not on a net with addresses together with two", together=False)
    }


@pytest.mark.parametrize(
    ("found", "reached", "text"),
    [
        (Reach({"a": True, "b": True}), True, "yes"),
        (Reach({"a": False, "b": False}), False, "no"),
        (Reach({"a": True, "b": False, "c": True}), False, "a, c only"),
        (Reach(why="it is down"), None, "?"),
        (Reach(why="it is not on the net a together with b", together=False), None, "-"),
    ],
)
def test_a_machine_is_reached_if_it_is_on_all_nets(found: Reach, reached: bool | None, text: str) -> None:
    assert (found.reached, bool(found), str(found)) == (reached, reached is True, text)


def test_the_matrix_is_a_table_with_what_is_not_known_below() -> None:
    yes, no = Reach({"lan": True}, "ping"), Reach({"lan": False}, "nc to port 22")
    unknown = Reach(why="db is down")
    found = Reachability({"web": {"db": no}, "db": {"web": unknown}, "b": {"web": yes, "db": yes}})
    assert str(found).splitlines() == [
        "from \\ to  web  db   b",
        "web        -    no   -",
        "db         ?    -    -",
        "b          yes  yes  -",
        "db: db is down",
        "by nc to port 22, ping",
    ]
    assert not found.whole
    apart = Reach(why="it is not on the net a together with db", together=False)
    assert Reachability({"b": {"web": yes, "db": apart}}).whole
    assert str(Reachability({"b": {"db": apart}})).splitlines() == ["from \\ to  b  db", "b          -  -"]
    assert found.data()["db"] == {"web": {"reached": None, "nets": {}, "by": "", "why": "db is down"}}


@pytest.mark.parametrize(("port", "timeout"), [(0, 5.0), (65536, 5.0), (None, 0.0), (None, -1.0)])
def test_a_port_and_a_time_are_such(port: int | None, timeout: float) -> None:
    with pytest.raises(LagoError):
        reach.check(port, timeout)
