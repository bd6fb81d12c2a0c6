"""What is dangerous is done in one place, which knows how: rules for our own source, by its syntax."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Final

import pytest

SRC: Final = Path(__file__).parents[2] / "src"
TREES: Final = {str(path.relative_to(SRC)): ast.parse(path.read_text()) for path in sorted(SRC.rglob("*.py"))}

CALLS: Final[dict[str, set[str]]] = {
    # It takes no descriptor above 1023: lago.host.waiting.
    "select.select": set(),
    # It has no limit: lago.host.shape. This one reads what we write to it.
    "json.load": {"lago/guestfs/inside.py"},
    # What strangers wrote is read by shape; the others read what is ours, QEMU's, or an engine's.
    "json.loads": {
        "lago/environment/captures/acts.py",
        "lago/environment/captures/recorder.py",
        "lago/host/shape.py",
        "lago/hypervisor/private.py",
        "lago/hypervisor/protocol.py",
        "lago/initfile/nodes.py",
        "lago/journal/reading.py",
        "lago/journal/writing.py",
        "lago/plugins/__init__.py",
        "lago/topology/state.py",
        "lago/virt/jobs.py",
        "lago/virt/mapped.py",
        "lago/virt/migration.py",
        "lago/virt/tester.py",
        "ovirtlago/engine/connection.py",
        "ovirtlago/utils.py",
    },
    # It reads what an archive says of itself into memory: lago.host.archive. These read Debian's packages, and write.
    "tarfile.open": {
        "lago/environment/capsule/archive.py",
        "lago/templates/build/hooks.py",
        "lago/templates/build/tree.py",
    },
    "zipfile.ZipFile": set(),
    # All threads have one: the modes of files are given to those who make them.
    "os.umask": {"lago/cli/web.py", "lago/hypervisor/supervisor.py"},
    # It follows links, and is late: what is made with its mode needs none.
    "os.chmod": {
        "lago/disks/qemu_img.py",
        "lago/environment/capsule/unpacking.py",
        "lago/environment/deploy.py",
        "lago/environment/staging.py",
        "lago/guestfs/inside.py",
        "lago/host/tree.py",
        "lago/hypervisor/confine.py",
        "lago/templates/build/tree.py",
        "lago/templates/store.py",
        "lago/virt/checkpoint.py",
        "lago/virt/delta.py",
    },
    "eval": set(),
    "exec": set(),
    "pickle.load": set(),
    "pickle.loads": set(),
    "marshal.loads": set(),
    "yaml.load": set(),
    "os.system": set(),
    "os.popen": set(),
    "shutil.unpack_archive": set(),
    # It follows what it finds; here in a directory of ours.
    "shutil.copytree": {"lago/environment/snapshots/fork.py"},
    "tempfile.mktemp": set(),
    # It follows a server everywhere: lago.host.fetch.
    "urllib.request.urlopen": set(),
    "subprocess.run": set(),
    "subprocess.call": set(),
    "subprocess.check_call": set(),
    "subprocess.check_output": set(),
    # The second one is a program for the system's Python.
    "subprocess.Popen": {"lago/host/programs.py", "lago/guestfs/inside.py"},
    "os.posix_spawnp": {"lago/hypervisor/firewall.py"},
    "os.execvpe": {"lago/hypervisor/way_out.py"},
    "os.execve": {"lago/cli/external.py", "lago/host/confining.py"},
    "os.fork": {
        "lago/host/confining.py",
        "lago/hypervisor/confine.py",
        "lago/hypervisor/supervisor.py",
        "lago/hypervisor/way_out.py",
    },
    # What the last three say goes to a log, or to a program of ours.
    "print": {
        "lago/cli/output.py",
        "lago/cli/parser.py",
        "lago/pytest_plugin/environments.py",
        "lago/hypervisor/firewall.py",
        "lago/hypervisor/supervisor.py",
        "lago/sdk.py",
        "lago/virt/watching.py",
        "ovirtlago/packages/server.py",
    },
}
"""By what is called: where it may be."""

IMPORTS: Final = {
    "subprocess": {"lago/host/programs.py", "lago/guestfs/inside.py"},
    # A server of our own is one of them.
    "http": {"lago/host/fetch.py", "lago/web/guard.py", "ovirtlago/packages/server.py"},
    "urllib.request": {"lago/host/fetch.py"},
    "ftplib": set(),
    "requests": set(),
    "multiprocessing": set(),
    "shelve": set(),
    "xmlrpc": set(),
}
"""By module: who may import it."""

PROGRAMS: Final = {
    # It is told the format of an image.
    "qemu-img": {"lago/disks/qemu_img.py"},
    "tar": {"lago/guest/transfer.py", "lago/guestfs/inside.py"},
    "ssh": {"lago/guest/ssh.py"},
    "virt-sysprep": {"lago/sysprep.py"},
    "virt-customize": {"lago/guestfs/customize.py"},
    "git": {"lago/templates/git.py", "ovirtlago/packages/builds.py"},
}
"""By program: where its command line may begin."""


@cache
def imported(module: str) -> dict[str, str]:
    """What names of a module stand for that come from elsewhere."""
    found = {}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            for one in node.names:
                first = one.name.partition(".")[0]
                found[one.asname or first] = one.name if one.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return found


@cache
def called(module: str) -> list[tuple[str, ast.Call]]:
    """The calls in a module, by the whole names of what is called."""
    found = []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            words, at = [], node.func
            while isinstance(at, ast.Attribute):
                words.append(at.attr)
                at = at.value
            words.append(imported(module).get(at.id, at.id) if isinstance(at, ast.Name) else "?")
            found.append((".".join(reversed(words)), node))
    return found


def imports(module: str, name: str) -> bool:
    """Whether a module imports another one, or something of it."""
    found = []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += [f"{node.module}.{one.name}" for one in node.names]
    return any(f"{one}.".startswith(f"{name}.") for one in found)


def words_of(node: ast.AST) -> set[str]:
    """The names and attributes in an expression."""
    found = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return found | {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}


def lists(module: str) -> Iterator[list[object]]:
    """The lists and tuples of a module, with the values in them as far as they are plain."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.List | ast.Tuple):
            yield [one.value if isinstance(one, ast.Constant) else None for one in node.elts]


@pytest.mark.parametrize("name", CALLS)
def test_what_is_dangerous_is_called_only_where_it_may_be(name: str) -> None:
    assert {module for module in TREES if any(name == one for one, _ in called(module))} == CALLS[name]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_run_by_who_knows_their_dangers(program: str) -> None:
    found = {module for module in TREES if any(words[:1] == [program] and words[1:] for words in lists(module))}
    assert found <= PROGRAMS[program]
    assert found or program.startswith("virt-")


def test_qemu_img_is_told_the_format_at_every_call() -> None:
    [words] = [words for words in lists("lago/disks/qemu_img.py") if words[:1] == ["qemu-img"]]
    assert words[2] == "-f"


@pytest.mark.parametrize("name", IMPORTS)
def test_what_is_dangerous_is_imported_only_where_it_may_be(name: str) -> None:
    assert {module for module in TREES if imports(module, name)} <= IMPORTS[name]


def test_qemu_img_is_confined_wherever_it_reads() -> None:
    """The one call that is not only creates, and then says that it opens nothing that it lies over."""
    module = "lago/disks/qemu_img.py"
    calls = [call for name, call in called(module) if name == "_qemu_img"]
    free = [call for call in calls if not any(word.arg == "limits" for word in call.keywords)]
    assert [ast.literal_eval(call.args[0]) for call in free] == ["create"]
    below = [words for words in lists(module) if "-b" in words and words[:1] == ["-u"]]
    created = [call for name, call in called(module) if name == "_create"]
    assert len(created) == 2
    assert [isinstance(call.args[2], ast.List) and len(call.args[2].elts) for call in created] == [5, 0]
    assert below


def test_no_password_is_in_a_command_line() -> None:
    found = [
        f"{module}:{node.lineno}"
        for module in TREES
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.List) and node.elts and isinstance(node.elts[0], ast.Constant)
        if any("password" in word or "secret" in word or "token" in word for word in words_of(node))
    ]
    assert found == []


def test_ssh_is_told_where_its_options_end() -> None:
    lines = (SRC / "lago" / "guest" / "ssh.py").read_text().splitlines()
    # As a word of a command line, and not in the midst of a message.
    targets = [line for line in lines if 'f"{self.user}@{self.address}"' in line]
    assert len(targets) >= 3
    assert [line for line in targets if '"--", f"{self.user}@' not in line] == []


def test_archives_are_not_unpacked_by_their_names() -> None:
    assert [module for module in TREES for name, _ in called(module) if name.endswith(".extractall")] == []


def test_whoever_runs_a_command_in_a_guest_says_how_long_it_may_take() -> None:
    commands = [(module, call) for module in TREES for name, call in called(module) if name.endswith("guest.run")]
    timed = {id(call) for _, call in commands if any(word.arg == "timeout" for word in call.keywords)}
    endless = [f"{module}:{call.lineno}" for module, call in commands if id(call) not in timed]
    assert commands
    assert endless == []


called_only = partial(partial, test_what_is_dangerous_is_called_only_where_it_may_be)
imported_only = partial(partial, test_what_is_dangerous_is_imported_only_where_it_may_be)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("import subprocess as s\ns.run(['x'])", called_only("subprocess.run")),
        ("from os import chmod\nchmod('x', 1)", called_only("os.chmod")),
        ("import os\nos.umask(0)", called_only("os.umask")),
        ("import json\njson.loads('')", called_only("json.loads")),
        ("import tarfile\ntarfile.open('x')", called_only("tarfile.open")),
        ("from select import select\nselect()", called_only("select.select")),
        ("from subprocess import Popen", imported_only("subprocess")),
        ("import http.client", imported_only("http")),
        ("from urllib import request", imported_only("urllib.request")),
        ("x = ['qemu-img', 'info', 'x']", partial(test_programs_are_run_by_who_knows_their_dangers, "qemu-img")),
        ("x = ['tar', '-x']", partial(test_programs_are_run_by_who_knows_their_dangers, "tar")),
        ("x = ['virt-sysprep', f'--password={self.password}']", test_no_password_is_in_a_command_line),
        ("x.extractall('y')", test_archives_are_not_unpacked_by_their_names),
        ("self.guest.run(['x'])", test_whoever_runs_a_command_in_a_guest_says_how_long_it_may_take),
    ],
)
def test_the_rules_bite(text: str, rule: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    rule()
    monkeypatch.setitem(TREES, f"lago/bad {text}.py", ast.parse(text))
    with pytest.raises(AssertionError):
        rule()
