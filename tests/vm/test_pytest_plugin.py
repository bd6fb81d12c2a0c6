"""The pytest plugin with real machines: shared, forked, told about, kept, and gone however a run ends."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import dpkt
import png
import pytest

from lago.journal.reading import entries, spans

from ..users import REPOSITORY
from .box import ONE, TWO, kill, processes, wait_for

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "lago.pytest_plugin", "-p", "no:cacheprovider")
_PATIENCE = 400


@pytest.fixture(autouse=True)
def place(mini: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an init file, in which pytest runs."""
    monkeypatch.setenv("LAGO_BOOT_TIMEOUT", "30")
    pytester.path.joinpath("LagoInitFile").write_text(ONE)
    return pytester.path


def mentioned(place: Path) -> list[str]:
    """Processes with this directory in their arguments, pytest itself left out."""
    return [command for _, command in processes() if str(place / ".lago-pytest") in command]


def properties(path: Path) -> dict[str, dict[str, str]]:
    """Properties by test, from JUnit's XML."""
    return {
        str(case.get("name")): {str(one.get("name")): str(one.get("value")) for one in case.iter("property")}
        for case in ET.parse(path).iter("testcase")
    }


@pytest.mark.slow
def test_the_example_passes_and_leaves_nothing(pytester: pytest.Pytester, place: Path) -> None:
    shutil.copytree(REPOSITORY / "examples" / "failover", place, dirs_exist_ok=True)
    done = pytester.runpytest_subprocess(*PLUGIN, "--junitxml=junit.xml")
    done.assert_outcomes(passed=3)
    assert not (place / ".lago-pytest").exists()
    assert not mentioned(place)
    found = properties(place / "junit.xml")["test_both_nodes_have_what_is_written"]
    assert found["lago_vms"] == "primary=running, standby=running"
    assert found["lago_environment"].startswith(str(place / ".lago-pytest" / "main-"))


SHARED = """
def ssh(env, command):
    return env.get_vms()["vm0"].ssh(command).out.decode().strip()

def test_it_runs(lago_env):
    assert ssh(lago_env, "hostname; touch /root/spoilt") == "vm0"

def test_a_fork_is_as_at_first_and_alone(lago_env, lago_fork):
    assert ssh(lago_fork, "ls /root/spoilt; touch /root/forked; hostname") == "vm0"
    assert ssh(lago_env, "ls /root/forked /root/spoilt") == "/root/spoilt"

def test_that_is_pristine_is_as_at_first(lago_pristine):
    assert ssh(lago_pristine, "ls /root/spoilt; hostname") == "vm0"

def test_that_fails(lago_vms):
    lago_vms["vm0"].ssh("echo last words >/dev/console")
    assert False

def test_without_machines():
    assert False
"""

AHEAD = """
import pathlib, time
from lago import Prefix, config
from lago.errors import LagoError

def forks(env):
    return {path for path in pathlib.Path(env.get_paths().prefix()).parent.glob("fork-*")}

def ssh(env, command):
    return env.get_vms()["vm0"].ssh(command).out.decode().strip()

def stands(path):
    env = Prefix(str(path)).virt_env
    try:
        return env.hypervisor.running() and env.states() == {"vm0": "paused"}
    except LagoError:
        return False  # It is about to start.
    finally:
        env.close()

def the_next(env, fork):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        others = forks(env) - {pathlib.Path(fork.get_paths().prefix())}
        if others and stands(min(others)):
            return min(others)
        time.sleep(0.1)
    raise AssertionError("no fork was made ahead")

def test_first(lago_env, lago_fork):
    assert len([*pathlib.Path(config.cache_home(), "pytest-memory").glob("*.[0-9]*")]) == 3
    ssh(lago_fork, "touch /root/spoilt")
    pathlib.Path("next").write_text(str(the_next(lago_env, lago_fork)))

def test_without(lago_env):
    assert forks(lago_env) == {pathlib.Path(pathlib.Path("next").read_text())}

def test_second(lago_env, lago_fork):
    assert lago_fork.get_paths().prefix() == pathlib.Path("next").read_text()
    assert lago_fork.get_vms()["vm0"].state() == "running"
    assert ssh(lago_fork, "ls /root/spoilt; hostname") == "vm0"

def test_none_is_made_for_nobody(lago_env):
    assert forks(lago_env) == set()
"""

AHEAD_SLOW = f"""{AHEAD.partition("def test_first")[0]}
def test_it(lago_env, lago_fork):
    there = the_next(lago_env, lago_fork)
    pathlib.Path("ready").write_text(str(there))
    time.sleep(600)

def test_another(lago_fork):
    pass
"""

SLOW = """
import pathlib, time

def test_it(lago_env):
    pathlib.Path("ready").write_text(lago_env.get_paths().prefix())
    time.sleep(600)
"""


def test_what_failed_is_told_and_kept_and_the_next_run_removes_it(pytester: pytest.Pytester, place: Path) -> None:
    more = "artifacts: [/etc/hostname], artifact-commands: {said: echo $(hostname) says so}"
    (place / "LagoInitFile").write_text(ONE.replace("vcpu: 1", f"vcpu: 1, {more}"))
    pytester.makepyfile(SHARED)
    done = pytester.runpytest_subprocess(*PLUGIN, "--lago-keep=failed", "--lago-collect=failed", "--junitxml=junit.xml")
    done.assert_outcomes(passed=3, failed=2)
    told, other = re.split(r"_{5,} test_without_machines _{5,}", done.stdout.str())
    assert "lago console of vm0" in told
    assert "last words" in told
    assert "lago console" not in other
    [saved] = (place / "failed").iterdir()
    assert saved.name.endswith("test_that_fails")
    assert "last words" in (saved / "1-session" / "vm0" / "console.log").read_text()
    assert (saved / "1-session" / "vm0" / "_etc_hostname").read_text().strip() == "vm0"
    assert (saved / "1-session" / "vm0" / "said").read_text() == "vm0 says so\n"
    assert "Start Prefix: Success" in (saved / "1-session" / "lago.log").read_text()

    [page] = (place / "lago-reports").glob("*test_that_fails/*.html")
    assert "<html" in page.read_text()
    assert "last words" in (page.parent / "1-session.vm0.console.log").read_text()
    assert properties(place / "junit.xml")["test_that_fails"]["lago_report"] == str(page)
    assert "lago_report" not in properties(place / "junit.xml")["test_it_runs"]
    assert re.search(rf"^{re.escape(str(page))}$", done.stdout.str(), re.MULTILINE)

    [line] = re.findall(r"^lago --prefix-path .+ status$", done.stdout.str(), re.MULTILINE)
    kept = shlex.split(line)[2]
    status = subprocess.run(["lago", "-f", "json", "--prefix-path", kept, "status"], check=True, stdout=subprocess.PIPE)
    assert json.loads(status.stdout)["Prefix"]["VMs"]["vm0"]["status"] == "running"
    assert not list(Path(kept).parent.glob("fork-*"))
    told_tests = [one for one in spans(entries(kept)) if one.kind == "test"]
    ended = {one.opening["nodeid"].partition("::")[2]: one.end for one in told_tests}
    assert {name: end and end["result"] for name, end in ended.items()} == {
        "test_it_runs": "passed",
        "test_a_fork_is_as_at_first_and_alone": "passed",
        "test_that_is_pristine_is_as_at_first": "passed",
        "test_that_fails": "failed",
    }
    assert all(one.opening.get("by", "pytest") == "pytest" for one in spans(entries(kept)))
    failed = ended["test_that_fails"]
    assert failed is not None
    assert (failed["phase"], failed["message"]) == ("call", "assert False")
    # The page is made of what was written by then.
    [words] = [one["t"] for one in entries(kept) if one["kind"] == "console" and one["text"] == "last words"]
    assert words < page.stat().st_mtime

    ends_early(pytester, place, signal.SIGKILL, gone=kept)
    killed = (place / "ready").read_text()
    assert Path(killed).exists()
    ends_early(pytester, place, signal.SIGINT, gone=killed)
    assert not (place / ".lago-pytest").exists()
    assert wait_for(lambda: not mentioned(place)), mentioned(place)


def ends_early(pytester: pytest.Pytester, place: Path, number: signal.Signals, gone: str, text: str = SLOW) -> None:
    """Run pytest, see that the environment `gone` is, and end it in the middle of a test."""
    (place / "ready").unlink(missing_ok=True)
    path = pytester.makepyfile(slow=text)
    with pytester.popen(
        [*pytester._getpytestargs(), *PLUGIN, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert wait_for(lambda: (place / "ready").exists() or process.poll() is not None, _PATIENCE)
            assert process.poll() is None
            assert not Path(gone).exists()
            process.send_signal(number)
            process.wait(_PATIENCE)
        finally:
            if process.poll() is None:
                kill(process.pid)


def test_the_next_fork_is_made_while_a_test_runs(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile(AHEAD)
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=4)
    assert not (place / ".lago-pytest").exists()
    assert not mentioned(place)


@pytest.mark.slow
def test_no_fork_is_made_ahead_where_memory_does_not_admit_it(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile(
        """
        import pathlib
        from lago import config

        def test_first(lago_env, lago_fork):
            assert len([*pathlib.Path(config.cache_home(), "pytest-memory").glob("*.[0-9]*")]) == 2
            assert len([*pathlib.Path(lago_env.get_paths().prefix()).parent.glob("fork-*")]) == 1

        def test_second(lago_fork):
            assert lago_fork.get_vms()["vm0"].ssh(["true"]).code == 0
        """
    )
    pytester.runpytest_subprocess(*PLUGIN, "--lago-memory=200").assert_outcomes(passed=2)
    assert not (place / ".lago-pytest").exists()


@pytest.mark.slow
def test_nothing_is_left_of_a_fork_made_ahead_when_a_run_is_ended(pytester: pytest.Pytester, place: Path) -> None:
    ends_early(pytester, place, signal.SIGKILL, gone=str(place / "none"), text=AHEAD_SLOW)
    killed = (place / "ready").read_text()
    assert Path(killed).exists()
    ends_early(pytester, place, signal.SIGINT, gone=killed, text=AHEAD_SLOW)
    assert not (place / ".lago-pytest").exists()
    assert wait_for(lambda: not mentioned(place)), mentioned(place)


TEN = """
import dpkt
import png
import pytest
from pathlib import Path

def found(env, command):
    return env.get_vms()["vm0"].ssh(command).out.decode().split()

@pytest.mark.parametrize("turn", range(10))
def test_it_is_as_at_first(lago_pristine, turn):
    assert found(lago_pristine, "cat /root/spoilt /dev/shm/spoilt 2>/dev/null") == []
    found(lago_pristine, f"echo {turn} >/root/spoilt; echo {turn} >/dev/shm/spoilt; sync")
    log = Path(lago_pristine.get_paths().logs("lago.log")).read_text()
    assert log.count("is ended and started again") == 1
"""


def test_ten_tests_have_it_as_at_first_without_ending_it(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile(TEN)
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=10)
    assert not (place / ".lago-pytest").exists()


def test_workers_have_an_environment_each_as_memory_allows(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile(
        """
        def test_one(lago_env_factory):
            env = lago_env_factory("LagoInitFile")
            assert env.get_vms()["vm0"].ssh(["true"]).code == 0

        def test_two(lago_vms):
            assert lago_vms["vm0"].ssh(["true"]).code == 0
        """
    )
    done = pytester.runpytest_subprocess(*PLUGIN, "-n", "2", "--lago-memory=200", "--junitxml=junit.xml")
    done.assert_outcomes(passed=2)
    assert done.stderr.str().count("waiting for 128 MiB") == 1
    found = properties(place / "junit.xml")
    one, two = (Path(found[name]["lago_environment"]) for name in ("test_one", "test_two"))
    assert {path.parts[-3].partition("-")[0] for path in (one, two)} == {"gw0", "gw1"}
    assert not (place / ".lago-pytest").exists()
    assert not mentioned(place)


BROKEN = """
import time
import dpkt
import png
import pytest

def reached(env):
    where = env.get_vms()["vm1"].ip()
    return env.get_vms()["vm0"].ssh(f"ping -4 -c 2 -i 0.3 -W 1 {where}", show_output=False).code == 0

def soon(env, wanted):
    deadline = time.monotonic() + 60
    while reached(env) is not wanted:
        assert time.monotonic() < deadline
    return True

def test_that_breaks_and_forgets(lago_faults, lago_env):
    assert lago_faults is lago_env
    lago_env.partition("vm0", "vm1")
    assert not reached(lago_env)

@pytest.mark.lago_fault("cut vm1", after=0.1, for_=5)
def test_that_is_broken_for_a_while(lago_env):
    assert soon(lago_env, False)
    assert soon(lago_env, True)

@pytest.mark.lago_fault("drop vm0/vm1 --protocol icmp")
def test_that_is_broken_from_its_begin_and_fails(lago_env):
    assert reached(lago_env)

def test_that_has_all_healed(lago_env):
    assert lago_env.faults() == []
    assert soon(lago_env, True)

@pytest.mark.lago_fault("cut nobody")
def test_of_nobody(lago_env):
    pass
"""


def test_what_a_test_breaks_is_healed_at_its_end_and_told_if_it_fails(pytester: pytest.Pytester, place: Path) -> None:
    place.joinpath("LagoInitFile").write_text(TWO)
    pytester.makepyfile(BROKEN)
    done = pytester.runpytest_subprocess(*PLUGIN, "-W", "error", "--strict-markers")
    done.assert_outcomes(passed=3, failed=1, errors=1)
    done.stdout.fnmatch_lines(["*lago faults*", "*to *: partition vm0 / vm1", "*drop vm0/vm1 --protocol icmp"])
    done.stdout.fnmatch_lines(["*there is no machine nobody*"])


CAPTURED = """
def ping(env):
    env.get_vms()["vm0"].succeed("ping -4 -c 1 -W 5 vm1")

def test_that_passes(lago_env):
    ping(lago_env)

def test_that_fails(lago_env):
    with lago_env.capture("lan") as own:
        ping(lago_env)
    assert not own.paths, "of its own"

def test_that_makes_one_and_fails(lago_env_factory):
    env = lago_env_factory("LagoInitFile")
    ping(env)
    raise AssertionError
"""


def test_packets_and_screens_of_failed_tests_are_kept(pytester: pytest.Pytester, place: Path) -> None:
    pytester.path.joinpath("LagoInitFile").write_text(TWO)
    pytester.makepyfile(CAPTURED)
    words = ("--lago-capture", "--lago-collect=kept", "--junitxml=junit.xml")
    done = pytester.runpytest_subprocess(*PLUGIN, *words)
    done.assert_outcomes(passed=1, failed=2)
    found = properties(place / "junit.xml")
    assert "lago_capture" not in found["test_that_passes"]
    for name in ("test_that_fails", "test_that_makes_one_and_fails"):
        path = Path(found[name]["lago_capture"])
        assert path.is_relative_to(place / "kept")
        assert path.parent.name == "captures"
        # The last environment of a test is that of its factory, which came up while it ran.
        with path.open("rb") as file:
            packets = [dpkt.ethernet.Ethernet(data) for _, data in dpkt.pcapng.Reader(file)]
        assert any(isinstance(one.data, dpkt.ip.IP) and one.data.p == dpkt.ip.IP_PROTO_ICMP for one in packets)
        done.stdout.fnmatch_lines([f"*::{name}: {path}"])
    pictures = list((place / "kept").glob("*/*/screens/*"))
    assert {path.name.split("-")[0] for path in pictures} == {"vm0", "vm1"}
    for path in pictures:
        assert path.suffix == ".png"
        png.Reader(bytes=path.read_bytes()).read_flat()
    assert not list((place / "kept").glob("*passes*"))
    assert not mentioned(place)
