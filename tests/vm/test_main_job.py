"""The main job through the command line: init, start, status, shell, stop, destroy, with three machines on two nets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from lago.journal.reading import entries, spans

from .box import THREE, Box
from .terminal import Terminal

ADDRESSES = {
    "web": ["192.168.200.2"],
    "app": ["192.168.200.3", "192.168.201.2"],
    "db": ["192.168.200.4", "192.168.201.3"],
}


@pytest.fixture
def three(module_box: Box) -> Box:
    """Three machines that run."""
    module_box.up(THREE)
    return module_box


def test_status_of_what_is_not_started_starts_nothing(box: Box) -> None:
    box.write(THREE)
    done = box.lago("init")
    assert done.out == ""
    assert set(box.states().values()) == {"down"}
    assert not box.run_dir.exists()
    assert box.supervisor() is None
    assert box.lago("list").out == "default\n"


def test_status_tells_all_that_runs(three: Box) -> None:
    status = three.status()
    assert status["Base directory"] == str(three.prefix)
    assert len(status["UUID"]) == 32
    assert status["Networks"] == {
        "front": {"gateway": "192.168.200.1", "management": True, "status": "up"},
        "back": {"gateway": "192.168.201.1", "management": False, "status": "up"},
    }
    found = {name: [nic["ip"] for nic in vm["NICs"].values()] for name, vm in status["VMs"].items()}
    assert found == ADDRESSES
    assert status["VMs"]["app"] == {
        "NICs": {
            "eth0": {"ip": "192.168.200.3", "network": "front"},
            "eth1": {"ip": "192.168.201.2", "network": "back"},
        },
        "distro": "mini",
        "host name": "app",
        "metadata": {},
        "root password": "123456",
        "snapshots": "",
        "status": "running",
    }


def test_every_machine_has_its_name_and_addresses(three: Box) -> None:
    for name, addresses in ADDRESSES.items():
        out = three.shell(name, "hostname; ip -o -4 addr show scope global").splitlines()
        assert out[0] == name
        assert [line.split()[3] for line in out[1:]] == [f"{address}/24" for address in addresses]


@pytest.mark.parametrize(("source", "target"), list(permutations(ADDRESSES, 2)))
def test_machines_find_each_other_by_name(three: Box, source: str, target: str) -> None:
    out = three.shell(source, f"ping -4 -c 1 -W 5 {target} && ping -6 -c 1 -W 5 {target}")
    assert f"PING {target} ({ADDRESSES[target][0]})" in out


@pytest.mark.parametrize(("source", "target"), [("app", "db"), ("db", "app")])
def test_names_of_the_other_net_lead_over_it(three: Box, source: str, target: str) -> None:
    out = three.shell(source, f"ping -4 -c 1 -W 5 {target}-back; ip route get {ADDRESSES[target][1]}")
    assert f"PING {target}-back ({ADDRESSES[target][1]})" in out
    assert f"dev eth1 src {ADDRESSES[source][1]}" in " ".join(out.split())


def test_names_have_the_domain_too(three: Box) -> None:
    out = three.shell("web", "for n in db.lago.local db-front web-front; do nslookup -type=a $n | tail -n +3; done")
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("Address")] == [
        "192.168.200.4",
        "192.168.200.4",
        "192.168.200.2",
    ]


def test_nets_do_not_reach_each_other(three: Box) -> None:
    done = three.lago("shell", "web", "ping -c 1 -W 1 192.168.201.2", code=1)
    assert "100% packet loss" in done.out


def test_words_are_a_command(three: Box) -> None:
    assert three.lago("shell", "web", "echo", "-n", "a  b", "c").out == "a b c"
    assert three.lago("shell", "web", "-c", "echo $((6 * 7)); hostname").out == "42\nweb\n"


def test_a_command_has_its_own_output_and_exit_status(three: Box) -> None:
    done = three.lago("shell", "web", "echo out; echo err >&2; exit 7", code=7)
    assert (done.out, done.err) == ("out\n", "err\n")


def test_a_command_may_end_with_the_status_that_ssh_uses_itself(three: Box) -> None:
    assert three.lago("shell", "web", "exit 255", code=255).err == ""
    assert three.lago("shell", "web", data="exit 255", code=255).err == ""
    three.write("exit 255\n", "ends-so")
    assert three.lago("shell", "web", "ends-so", code=255).err == ""


def test_a_local_file_is_run_as_a_script(three: Box) -> None:
    three.write(
        '[[ -n $BASH_VERSION ]] && read -r line <<<"a bash script on $(hostname)"\necho "$line"\nexit 5\n', "job"
    )
    assert three.lago("shell", "app", "job", code=5).out == "a bash script on app\n"


@pytest.mark.parametrize("words", [(), ("-",)])
def test_standard_input_is_a_script(three: Box, words: tuple[str, ...]) -> None:
    done = three.lago("shell", "db", *words, data="hostname\n[[ 1 ]] && exit 9\n", code=9)
    assert done.out == "db\n"


def test_a_command_reads_standard_input(three: Box) -> None:
    assert three.lago("shell", "web", "cat", data="one\ntwo\n").out == "one\ntwo\n"


def test_large_binary_data_passes_unchanged(three: Box) -> None:
    data = os.urandom(300_000)
    argv, env = three.argv("lago", "shell", "web", "-c", "cat"), three.environment()
    done = subprocess.run(argv, cwd=three.place, env=env, input=data, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_the_end_of_a_name_is_enough(three: Box) -> None:
    assert three.lago("shell", "pp", "hostname").out == "app\n"
    assert three.lago("shell", "eb", "hostname").out == "web\n"
    done = three.lago("shell", "b", "hostname", code=2)
    assert (done.out, done.err) == ("", "lago: b may be web or db\nhint: write the whole name\n")


def test_an_unknown_machine_is_an_error_with_the_nearest_name(three: Box) -> None:
    done = three.lago("shell", "wbe", "true", code=2)
    assert done.out == ""
    assert done.err == "lago: there is no machine wbe\nhint: did you mean web?\n"
    for command in ("start", "stop"):
        assert "hint: did you mean web?" in three.lago(command, "wbe", code=2).err
    assert set(three.states().values()) == {"running"}


def test_a_shell_for_people_has_a_terminal(three: Box) -> None:
    with Terminal(three, "shell", "web", size=(33, 101)) as terminal:
        terminal.expect("# ")
        terminal.type("tty; stty size; echo $0 on $HOSTNAME\n")
        terminal.expect("/dev/pts/")
        terminal.expect("33 101")
        terminal.expect("bash on web")
        terminal.resize(40, 90)
        terminal.type("until [ \"$(stty size)\" = '40 90' ]; do sleep 0.1; done; echo re'sized'\n")
        terminal.expect("resized")
        terminal.type("sh -c 'echo as''leep; sleep 100'\n")
        terminal.expect("asleep")
        terminal.type("\3")
        terminal.type("exit 3\n")
        assert terminal.wait() == 3
    [session] = [one for one in spans(entries(str(three.prefix))) if one.opening.get("tty")]
    assert session.end is not None
    assert (session.opening["text"], session.end["code"]) == ("bash", 3)
    assert "resized" not in (three.prefix / "journal.jsonl").read_text()


def test_start_of_what_runs_changes_nothing(three: Box) -> None:
    before = three.shell("web", "cat /proc/sys/kernel/random/boot_id")
    three.lago("start")
    assert three.shell("web", "cat /proc/sys/kernel/random/boot_id") == before


def test_a_terminal_shows_the_machines_live_and_the_status_as_tables(three: Box) -> None:
    with Terminal(three, "start") as terminal:
        terminal.expect("web")
        assert terminal.wait() == 0
    with Terminal(three, "status") as terminal:
        terminal.expect("192.168.201.2")
        assert terminal.wait() == 0
        assert "[Prefix]" not in terminal.seen


@pytest.fixture(scope="module")
def other(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A second environment, made from the same init file, of which one machine runs."""
    made = Box(tmp_path_factory.mktemp("other"))
    made.write(THREE)
    made.lago("init")
    made.lago("start", "web")
    yield made
    made.close()


def test_only_what_is_named_is_started(other: Box) -> None:
    assert other.states() == {"web": "running", "app": "down", "db": "down"}
    nets = {name: net["status"] for name, net in other.status()["Networks"].items()}
    assert nets == {"front": "up", "back": "down"}


def test_two_environments_have_the_same_addresses_and_do_not_meet(three: Box, other: Box) -> None:
    assert three.status()["VMs"]["web"]["NICs"] == other.status()["VMs"]["web"]["NICs"]
    other.shell("web", "echo here >/root/mark")
    three.lago("shell", "web", "ls /root/mark", code=1)
    assert "1 packets received" in three.shell("web", "ping -c 1 -W 5 app")
    assert "100% packet loss" in other.lago("shell", "web", "ping -c 1 -W 1 app", code=1).out


def test_destroy_of_what_runs_leaves_nothing(other: Box) -> None:
    inside, run_dir = other.inside(), other.run_dir
    with Terminal(other, "destroy") as terminal:
        terminal.expect("Destroy default?")
        terminal.type("n\n")
        assert terminal.wait() == 1
    assert other.states()["web"] == "running"
    assert "hint: lago destroy --yes" in other.lago("destroy", code=2).err
    assert "Stop prefix" in other.lago("destroy", "-y").err
    assert inside.gone(), inside.processes()
    assert not run_dir.exists()
    assert not (other.place / ".lago").exists()
    assert other.mentioned() == []


def test_writes_survive_and_nets_follow_when_some_machines_stop_and_start(three: Box) -> None:
    three.shell("db", "echo kept >/root/note; sync")
    web = three.shell("web", "cat /proc/sys/kernel/random/boot_id")
    three.lago("stop", "app", "db")
    assert three.states() == {"web": "running", "app": "down", "db": "down"}
    assert {name: net["status"] for name, net in three.status()["Networks"].items()} == {"front": "up", "back": "down"}
    done = three.lago("shell", "db", "true", code=2)
    assert done.err == "lago: db is not running, it is down\nhint: lago start db\n"
    three.lago("start", "db")
    assert three.states() == {"web": "running", "app": "down", "db": "running"}
    assert three.status()["Networks"]["back"]["status"] == "up"
    assert three.shell("db", "cat /root/note") == "kept\n"
    assert three.shell("web", "cat /proc/sys/kernel/random/boot_id") == web
    assert "1 packets received" in three.shell("web", "ping -c 1 -W 5 db")


def test_stop_of_the_last_machine_ends_everything(module_box: Box) -> None:
    if "running" not in module_box.states().values():
        module_box.lago("start", "web")
    inside, run_dir = module_box.inside(), module_box.run_dir
    assert len(inside.processes()) > 5
    module_box.lago("stop", "web", "app", "db")
    assert inside.gone(), inside.processes()
    assert module_box.mentioned() == []
    assert not run_dir.parent.exists()
    assert set(module_box.states().values()) == {"down"}
    module_box.lago("stop")


def test_logs_stay_until_destroy_removes_all(module_box: Box) -> None:
    logs = {path.name for path in (module_box.prefix / "logs").iterdir()}
    assert {"lago.log", "hypervisor.log", "web.console.log", "app.console.log", "db.console.log"} <= logs
    assert "lago-init: this is web" in (module_box.prefix / "logs" / "web.console.log").read_text(errors="replace")
    module_box.lago("destroy", "--yes")
    assert not (module_box.place / ".lago").exists()
