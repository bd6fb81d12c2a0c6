"""Programs that read what strangers wrote: what they can't do, as root and as an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lago.host import confined

from ...users import User

pytestmark = pytest.mark.programs

PROBE = """
import json, sys
from lago.errors import CommandError
from lago.host import confined
asked = json.loads(sys.argv[1])
limits = confined.Limits(**asked.pop("limits", {}))
try:
    status = confined.run_confined(limits=limits, **asked)
    found = {"code": 0, "out": status.text, "err": status.error_text}
except CommandError as error:
    found = {"code": error.code, "out": "", "err": error.details}
print(json.dumps({**found, "refusals": sorted(confined._told)}))
"""
Confined = Callable[..., dict[str, Any]]


@pytest.fixture(params=["us", "user"])
def user(request: pytest.FixtureRequest) -> User | None:
    """Who runs Lago, if not we."""
    return request.getfixturevalue("throwaway_user") if request.param == "user" else None


@pytest.fixture
def place(tmp_path: Path, base: Path, user: User | None) -> Path:
    """A directory of whoever runs Lago."""
    made = (user.place / "tmp" if user else tmp_path) / f"room {os.urandom(4).hex()}"
    for name in ("in", "out"):
        (made / name).mkdir(parents=True)
    for name in ("mine", "other"):
        (made / "in" / name).write_text(f"words of {name}")
        (made / "in" / name).chmod(0o600)
    assert base
    if user:
        user.own(made)
    return made


@pytest.fixture
def run(user: User | None) -> Confined:
    def run(argv: Sequence[str], **asked: Any) -> dict[str, Any]:
        words = ["-c", PROBE, json.dumps({"argv": list(argv), **asked})]
        if user:
            done = user.run(["python", *words])
        else:
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["refusals"] == []
        return found

    return run


def script(text: str) -> list[str]:
    return ["sh", "-c", text]


def test_it_reads_what_it_is_given_and_nothing_beside(run: Confined, place: Path) -> None:
    closed = [
        place / "in" / "other",
        Path("~").expanduser(),
        *map(Path, ("/etc/shadow", "/etc/passwd", "/proc/1", "/root")),
    ]
    looks = "; ".join(f"ls {shlex.quote(str(one))}" for one in closed)
    words = script(f"cat {shlex.quote(str(place / 'in' / 'mine'))}; {looks}; :")
    found = run(words, reads=[str(place / "in" / "mine")])
    assert found["out"] == "words of mine"
    assert found["err"].count("No such file") == 6


def test_it_writes_where_it_may_and_nowhere_else(run: Confined, place: Path, user: User | None) -> None:
    mine, beside, made = (shlex.quote(str(place / name)) for name in ("in/mine", "in/new", "out/made"))
    closed = (mine, beside, "/usr/lago-test", "/lago-test", "/tmp/lago-test", "/etc/ld.so.cache")
    tries = "; ".join(f"(echo x >{one})" for one in closed)
    words = script(f"echo made >{made}; {tries}; rm -f {mine}; :")
    found = run(words, reads=[str(place / "in" / "mine")], writes=[str(place / "out")])
    assert len(found["err"].splitlines()) == 7
    assert (place / "out" / "made").read_text() == "made\n"
    assert (place / "out" / "made").stat().st_uid == (user.uid if user else os.geteuid())
    assert (place / "in" / "mine").read_text() == "words of mine"
    assert sorted(os.listdir(place / "in")) == ["mine", "other"]
    assert not [path for path in ("/usr/lago-test", "/lago-test", "/tmp/lago-test") if os.path.lexists(path)]


def test_it_reaches_no_network_but_where_it_may(run: Confined) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]}"]
        assert run(words, network=True)["code"] == 0
        assert run(words)["code"] != 0


def test_it_sees_no_process_and_gets_no_rights(run: Confined, user: User | None) -> None:
    found = run(script(f"kill -0 {os.getpid()}; echo $$; setpriv --dump"))
    rights = dict(line.split(": ", 1) for line in found["out"].splitlines()[1:] if ": " in line)
    assert found["out"].splitlines()[0] == "1"
    assert "o such process" in found["err"]
    assert rights["no_new_privs"] == "1"
    assert rights["Effective capabilities" if "Effective capabilities" in rights else "Capability bounding set"] == (
        "[none]" if user or os.geteuid() else "dac_override"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="it is of root that there is something to lose")
def test_roots_is_nobody_to_the_files_of_the_system(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("secret")
    words = ["cat", str(closed / "file")]
    assert confined.run_confined(words, reads=[str(closed)]).text == "secret"
    assert "denied" in confined.run_confined(script(f"cat {shlex.quote(words[1])} 2>&1; :"), system=[str(closed)]).text


def test_it_finds_only_the_environment_that_it_is_given(run: Confined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    found = run(["env"], env={"GIVEN": "a=b"})
    assert "GIVEN=a=b" in found["out"]
    assert "SECRET_TOKEN" not in found["out"]
    assert "XDG_" not in found["out"]


@pytest.mark.parametrize(
    ("limits", "text", "why"),
    [
        ({"memory": 1 << 28}, "head -c 1G /dev/zero | tail -n 1 | wc -c", "exhausted"),
        ({"seconds": 1}, "while :; do :; done", "it was ended: it took 1 s of a processor"),
        ({"largest": 1 << 20}, 'head -c 2M /dev/zero >"$OUT/large"', "File too large"),
    ],
)
def test_it_gets_no_more_than_it_may(run: Confined, place: Path, limits: dict[str, int], text: str, why: str) -> None:
    found = run(script(f"set -e; {text}"), limits=limits, writes=[str(place / "out")], env={"OUT": str(place / "out")})
    assert why in found["err"]
    assert sum(path.stat().st_size for path in (place / "out").iterdir()) <= 1 << 20


def test_a_failure_has_its_status_and_its_words(run: Confined) -> None:
    found = run(script("echo why >&2; exit 7"))
    assert (found["code"], found["err"]) == (7, "why")


def test_it_ends_with_us(place: Path, user: User | None) -> None:
    command = f"sleep {100_000 + int.from_bytes(os.urandom(4))}"
    words = ["-c", PROBE, json.dumps({"argv": command.split()})]
    argv = user.argv("python", *words) if user else [sys.executable, *words]

    def sleeping() -> bool:
        return any(said.endswith("/" + command.replace(" ", "\0") + "\0") for said in command_lines())

    with subprocess.Popen(argv, env=user.environment if user else None, cwd=place) as process:
        try:
            wait_until(sleeping)
        finally:
            process.kill()
    wait_until(lambda: not sleeping())


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_text(errors="replace")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_where_namespaces_are_forbidden_it_runs_with_limits_and_this_is_said(tmp_path: Path) -> None:
    asked = {"argv": script("cat /etc/hostname; setpriv --dump"), "limits": {"memory": 1 << 30}}
    forbid = 'echo 0 >/proc/sys/user/max_mnt_namespaces && exec "$@"'
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
    argv = [*inside, sys.executable, "-c", PROBE, json.dumps(asked)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["out"].startswith(Path("/etc/hostname").read_text())
    assert "no_new_privs: 1" in found["out"]
    assert found["refusals"] == ["unshare: No space left on device"]


def test_this_host_confines() -> None:
    assert confined.refusal() == ""
