"""The command line without a guest: commands, options, errors, exit statuses, and what goes to which stream."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lago import __version__, config, log
from lago.cli.commands import COMMANDS, NAMES
from lago.cli.main import build_parser, main
from lago.paths import Paths
from lago.topology import state
from lago.topology.address import Address
from lago.topology.model import Domain, Net, Nic, Topology


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log, "_console", None)
    monkeypatch.setattr(config, "_command_line", {})


def prefix_at(path: Path) -> Path:
    """A prefix on disk as `init` leaves it, but for images."""
    for directory in ("virt", "logs", "images"):
        (path / directory).mkdir(parents=True)
    (path / "uuid").write_text("fe68" * 8)
    (path / "initialized").touch()
    nic = Nic(index=0, net="lan", mac="54:52:c0:a8:c8:02", ip=Address("192.168.200.2"))
    vm = Domain(name="vm0", memory=128, vcpu=1, nics=(nic,), disks=(), mgmt_net="lan", metadata={"a": 1})
    mapping = {"vm0": "192.168.200.2"}
    net = Net(name="lan", type="nat", management=True, gw=Address("192.168.200.1"), dhcp=None, mapping=mapping)
    state.save(Paths(str(path)), Topology(domains={"vm0": vm}, nets={"lan": net}))
    return path


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """The current prefix of a workdir where we are."""
    made = prefix_at(tmp_path / ".lago" / "default")
    (tmp_path / ".lago" / "current").symlink_to("default")
    return made


Captured = pytest.CaptureFixture[str]


def test_without_a_command_it_prints_its_help_and_fails(capsys: Captured) -> None:
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("usage: lago")
    assert err == ""
    for command in ("init", "start", "stop", "status", "list", "shell", "nsexec", "destroy", "doctor", "template"):
        assert f"    {command} " in out


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ("statsu", "lago has no command statsu", "did you mean status?"),
        ("shel vm0 status", "lago has no command shel", "did you mean shell?"),
        ("template bild mini", "lago template has no command bild", "did you mean build?"),
        ("--nonsense", "unrecognized arguments: --nonsense", "lago --help"),
        ("-f", "argument -f/--out-format: expected one argument", "lago --help"),
        ("status --nonsense", "lago status does not take --nonsense", "there are: -h, --help"),
        ("init --frozn=1", "lago init does not take --frozn=1", "did you mean --frozen?"),
        ("status vm0", "lago status does not take vm0", "lago status --help"),
        ("status -f json", "lago status does not take -f json", "-f comes before the command: lago -f json status"),
        (
            "template list --out-format=json",
            "lago template list does not take --out-format=json",
            "--out-format comes before the command: lago --out-format=json template list",
        ),
        ("template list x", "lago template list does not take x", "lago template list --help"),
        ("console", "the following arguments are required: VM", "lago console --help"),
    ],
)
def test_what_it_does_not_know_is_a_usage_error(words: str, what: str, hint: str, capsys: Captured) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    said = err.splitlines()
    assert (said[0], said[-1]) == (f"lago: {what}", f"hint: {hint}")
    # The usage of one command helps; that of all Lago is a screenful.
    assert len(said) < 8


def test_a_format_that_is_none_is_a_usage_error(capsys: Captured) -> None:
    assert main(["-f", "xml", "status"]) == 2
    assert "invalid choice: 'xml' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["start -h", "shell --help", "shell -h", "template fetch --help"])
def test_help_of_a_command_says_what_it_does(words: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 0
    usage, what, *_ = capsys.readouterr().out.split("\n\n")
    assert usage.startswith(f"usage: lago {words.rpartition(' ')[0]} ")
    assert what.endswith(".")


def test_the_version_is_printed(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"lago {__version__}\n"


@pytest.mark.parametrize("command", ["start", "stop", "status", "list", "destroy", "shell x", "nsexec true"])
def test_commands_need_an_environment(command: str, capsys: Captured) -> None:
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lago: there is no environment in {os.getcwd()} or any directory above\nhint: lago init")


def test_status_prints_data_alone(prefix: Path, capsys: Captured) -> None:
    assert main(["status"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "[Prefix]:",
        f"    Base directory: {prefix}",
        "    [Networks]:",
        "        [lan]:",
        "            gateway: 192.168.200.1",
        "            management: True",
        "            status: down",
        f"    UUID: {'fe68' * 8}",
        "    [VMs]:",
        "        [vm0]:",
        "            [NICs]:",
        "                [eth0]:",
        "                    ip: 192.168.200.2",
        "                    network: lan",
        "            [metadata]:",
        "                a: 1",
        "            root password: 123456",
        "            status: down",
    ]


@pytest.mark.parametrize("argv", [["-f", "json"], ["--out-format", "json"]])
def test_status_is_for_programs_too(argv: list[str], prefix: Path, capsys: Captured) -> None:
    assert main([*argv, "status"]) == 0
    vm = json.loads(capsys.readouterr().out)["Prefix"]["VMs"]["vm0"]
    assert (vm["metadata"], vm["snapshots"], vm["status"]) == ({"a": 1}, "", "down")


def test_a_damaged_environment_is_told(prefix: Path, capsys: Captured) -> None:
    (prefix / "virt" / "vm-vm0").write_text("{")
    assert main(["status"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"lago: {prefix}/virt/vm-vm0 is damaged\n")
    assert "hint: restore the file" in err


def test_the_prefix_is_given_by_path_name_or_variable(
    prefix: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix_at(tmp_path / ".lago" / "second")
    alone = prefix_at(tmp_path / "alone")
    monkeypatch.chdir("/")
    workdir = str(tmp_path / ".lago")
    for argv, expected in (
        (["-w", workdir], prefix),
        (["--workdir-path", str(tmp_path)], prefix),
        (["-w", workdir, "-P", "second"], tmp_path / ".lago" / "second"),
        (["-w", workdir, "--prefix-name", "second"], tmp_path / ".lago" / "second"),
        (["-p", str(alone)], alone),
        (["--prefix-path", str(alone)], alone),
    ):
        assert main([*argv, "-f", "flat", "status"]) == 0
        assert capsys.readouterr().out.startswith(f"Base directory: {expected}\n")
    monkeypatch.setenv("LAGO_PREFIX_PATH", str(alone))
    assert main(["-f", "flat", "status"]) == 0
    assert capsys.readouterr().out.startswith(f"Base directory: {alone}\n")
    monkeypatch.delenv("LAGO_PREFIX_PATH")
    monkeypatch.setenv("LAGO_WORKDIR_PATH", workdir)
    assert main(["-f", "flat", "status"]) == 0
    assert capsys.readouterr().out.startswith(f"Base directory: {prefix}\n")


def test_an_unknown_prefix_is_told_with_the_nearest(prefix: Path, capsys: Captured) -> None:
    assert main(["-P", "defualt", "status"]) == 2
    assert capsys.readouterr().err.endswith("has no prefix defualt\nhint: did you mean default?\n")


def test_list_takes_the_workdir_before_and_after_the_command(prefix: Path, tmp_path: Path, capsys: Captured) -> None:
    prefix_at(tmp_path / "other" / "one")
    prefix_at(tmp_path / "other" / "two")
    (tmp_path / "other" / "current").symlink_to("one")
    other = str(tmp_path / "other")
    for argv in (["list", other], ["-w", other, "list"]):
        assert main(argv) == 0
        assert capsys.readouterr() == ("one\ntwo\n", "")
    assert main(["list"]) == 0
    assert capsys.readouterr() == ("default\n", "")


def test_shell_needs_a_machine_that_is_there_and_runs(prefix: Path, capsys: Captured) -> None:
    assert main(["shell", "vm1", "true"]) == 2
    assert capsys.readouterr().err == "lago: there is no machine vm1\nhint: did you mean vm0?\n"
    assert main(["shell", "vm0", "true"]) == 2
    assert capsys.readouterr().err == "lago: vm0 is not running, it is down\nhint: lago start vm0\n"


def test_hints_name_the_environment_that_the_command_line_named(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    workdir = prefix.parent
    monkeypatch.chdir(tmp_path)
    for given in (["-w", str(workdir)], ["-P", "default", "-w", str(workdir)], ["--prefix-path", str(prefix)]):
        assert main([*given, "shell", "vm0", "true"]) == 2
        said = capsys.readouterr().err
        command = shlex.split(said.rpartition("hint: ")[2])
        assert command[0] == "lago"
        assert command[-2:] == ["start", "vm0"]
        assert set(command[1:-2]) == {{"--prefix-path": "-p"}.get(word, word) for word in given}


def test_the_end_of_a_name_is_enough_if_no_other_ends_so(prefix: Path, capsys: Captured) -> None:
    paths = Paths(str(prefix))
    one = state.load(paths)
    names = ("web", "db", "node1", "db-node1")
    vms = {name: dataclasses.replace(one.domains["vm0"], name=name) for name in names}
    state.save(paths, dataclasses.replace(one, domains=vms))
    for word, says in (
        ("b", "lago: b may be web or db\nhint: write the whole name\n"),
        ("1", "lago: 1 may be node1 or db-node1\nhint: write the whole name\n"),
        ("node1", "lago: node1 is not running, it is down\n"),
        ("b-node1", "lago: db-node1 is not running, it is down\n"),
        ("eb", "lago: web is not running, it is down\n"),
        ("x", "lago: there is no machine x\n"),
    ):
        for command in (["shell", word, "true"], ["copy-from-vm", word, "/a", "b"], ["copy-to-vm", word, "a", "/b"]):
            assert main(command) == 2
            assert capsys.readouterr().err.startswith(says)


def test_d02_init_says_all_that_is_wrong_with_the_file_and_leaves_nothing(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "LagoInitFile").write_text(
        "domains: {vm0: {memry: 1, nics: [{net: lan}], disks: []}}\nnet: {lan: {}}\n"
    )
    assert main(["init"]) == 2
    err = capsys.readouterr().err
    assert "did you mean memory?" in err
    assert "LagoInitFile:1:" in err
    assert "LagoInitFile:2:" in err
    assert os.listdir(tmp_path) == ["LagoInitFile"]


def test_init_without_a_file_says_which_it_looked_for(tmp_path: Path, capsys: Captured) -> None:
    assert main(["init"]) == 2
    assert "LagoInitFile" in capsys.readouterr().err
    assert main(["init", "a", "b", "c"]) == 2
    assert "hint: lago init -h" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_init_of_a_name_that_is_taken_is_an_error(prefix: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "LagoInitFile").write_text("domains: {vm0: {nics: [{net: lan}], disks: []}}\nnets: {lan: {}}\n")
    assert main(["init"]) == 2
    err = capsys.readouterr().err
    assert f"lago: {prefix} exists already" in err
    assert "hint: choose another name" in err


def test_destroy_does_not_guess_what_one_would_answer(
    prefix: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["destroy"]) == 2
    assert "hint: lago destroy --yes" in capsys.readouterr().err
    assert prefix.exists()
    assert main(["destroy", "--yes"]) == 0
    assert not prefix.parent.exists()


def test_a_setting_of_the_wrong_type_is_told_with_its_source(
    prefix: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAGO_LOCK_TIMEOUT", "soon")
    assert main(["stop"]) == 2
    assert "environment variable LAGO_LOCK_TIMEOUT: lock_timeout = soon: " in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "LagoInitFile").write_text("domains: {vm0: {nics: [{net: lan}], disks: []}}\nnets: {lan: {}}\n")
    tmp_path.chmod(0o500)
    assert main(["init"]) == 2
    assert "hint: choose a place" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a\nb", os.fsdecode(b"\xff")], ids=ascii)
def test_init_in_a_place_that_others_would_misread_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    Path("LagoInitFile").write_text("domains: {vm0: {nics: [{net: lan}], disks: []}}\nnets: {lan: {}}\n")
    assert main(["init"]) == 2
    assert "hint: choose another directory" in capsys.readouterr().err
    assert os.listdir() == ["LagoInitFile"]


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ("graph --output no/x", "no/x: No such file or directory", "mkdir"),
        ("graph --output=no/x", "no/x: No such file or directory", "mkdir"),
        ("graph --output room", "room: Is a directory", "it is a directory; name a file in it"),
        ("graph --output file/x", "file/x: Not a directory", "a part of the path is a file; choose another place"),
        ("ssh-config --output no/x", "no/x: No such file or directory", "mkdir"),
        ("new no/x", "no/x: No such file or directory", "mkdir"),
        ("new file/x", "file/x: Not a directory", "a part of the path is a file; choose another place"),
        (f"new {'x' * 300}", f"{'x' * 300}: File name too long", "choose a shorter name"),
        ("export -d file", "file: File exists", "choose another place"),
        ("export -d file/x", "file/x: Not a directory", "a part of the path is a file; choose another place"),
        ("init /proc/no/x LagoInitFile", "/proc/no: No such file or directory", "choose another place"),
        ("init file LagoInitFile", "file: File exists", "choose another place"),
        ("-w file/x init", "file/x: Not a directory", "a part of the path is a file; choose another place"),
    ],
)
def test_a_path_that_cannot_be_is_told_with_why(
    prefix: Path, tmp_path: Path, words: str, what: str, hint: str, capsys: Captured
) -> None:
    (tmp_path / "LagoInitFile").write_text("domains: {vm0: {nics: [{net: lan}], disks: []}}\nnets: {lan: {}}\n")
    (tmp_path / "file").touch()
    (tmp_path / "room").mkdir()
    before = sorted(os.listdir(tmp_path))
    assert main(["-l", "error", *words.split()]) == 2
    told = f"mkdir -p {shlex.quote(f'{tmp_path}/no')}" if hint == "mkdir" else hint
    assert capsys.readouterr() == ("", f"lago: {what}\nhint: {told}\n")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_path_of_a_setting_is_one_that_was_given(
    prefix: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAGO_WORKDIR_PATH", "file/x")
    (tmp_path / "LagoInitFile").write_text("domains: {vm0: {nics: [{net: lan}], disks: []}}\nnets: {lan: {}}\n")
    assert main(["init"]) == 2
    assert "lago: file/x: Not a directory\n" in capsys.readouterr().err


def test_a_file_of_ours_that_is_missing_is_our_mistake(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(prefix / "virt" / "ours"))

    monkeypatch.setattr("lago.environment.prefix.Prefix.status", broken)
    for words in (["status"], ["-p", str(prefix), "status"], ["-w", ".lago", "status"]):
        with pytest.raises(FileNotFoundError):
            main(words)


@pytest.mark.parametrize("command", ["status", "init", "up", "new", "list", "destroy --yes", "graph", "set-current x"])
def test_a_working_directory_that_was_removed_is_told(
    command: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(command.split()) == 2
    said = "lago: the directory that this is called from was removed\nhint: cd to one that exists\n"
    assert capsys.readouterr() == ("", said)


def test_what_is_written_to_a_pipe_arrives_and_the_pipe_stays(prefix: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["graph", "--output", str(pipe)]) == 0
        assert os.read(reader, 1 << 16).startswith(b"graph LR")
    finally:
        os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.programs
@pytest.mark.parametrize("module", ["lago.cli", "lago.log", "lago.cli.output", "lago.plugins"])
def test_control_c_while_it_is_read_ends_it_without_a_traceback(module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for program in (["lago"], ["lagocli"], [sys.executable, "-m", "lago"]):
        done = subprocess.run([*program, "--version"], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "lago: interrupted\n")


@pytest.mark.programs
def test_whoever_stops_reading_causes_no_traceback(prefix: Path) -> None:
    script = f"{shlex.quote(sys.executable)} -m lago status | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


@pytest.mark.programs
def test_both_names_are_programs() -> None:
    for name in ("lago", "lagocli"):
        done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"lago {__version__}\n", "")


@pytest.mark.parametrize("family", COMMANDS)
def test_a_family_adds_the_commands_that_the_list_has(family: str) -> None:
    commands = " ".join(COMMANDS[family]).split()
    for command in commands:
        assert list(build_parser([command, "vm0"])[1].choices) == commands


def test_all_commands_are_there_for_the_help_and_for_words_that_are_none() -> None:
    everything = {command for commands in COMMANDS.values() for command in " ".join(commands).split()}
    assert {*build_parser(["strat"])[1].choices} == everything
    assert {*build_parser(None)[1].choices} >= everything


def test_the_list_of_commands_is_shown_without_a_parser_for_each() -> None:
    listed, whole = build_parser(["--help"], to_list=True), build_parser(None)
    assert not {*listed[1].choices} & {*NAMES}
    assert listed[0].format_help() == whole[0].format_help()
    assert {*build_parser(["graph", "--help"], to_list=True)[1].choices} & {*NAMES} == {"graph"}
