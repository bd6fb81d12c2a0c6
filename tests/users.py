"""A user made for the tests, so that a suite run by root can show that Lago needs no root."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .leftovers import Process, processes_of, sockets

REPOSITORY = Path(__file__).resolve().parent.parent
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class User:
    """An ordinary user with a range of subordinate ids; `place` holds the home and the XDG directories."""

    name: str
    uid: int
    gid: int
    place: Path
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The user's home directory."""
        return self.place / "home"

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as the user; options as for `subprocess.run`, with output captured as text."""
        defaults = {"text": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if "input" in options:
            del defaults["stdin"]
        return subprocess.run(
            self.argv(*argv), env={**self.environment, **(env or {})}, cwd=cwd or self.home, **{**defaults, **options}
        )

    def argv(self, *argv: str) -> list[str]:
        """What root runs to run `argv` as the user."""
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--", *argv]

    def can_read(self, path: str | os.PathLike[str]) -> bool:
        """Whether the user can read a file, or enter a directory."""
        test = "-x" if os.path.isdir(path) else "-r"
        return self.run(["test", test, os.fspath(path)]).returncode == 0

    def take_template(self, store: Path, name: str) -> None:
        """Copy a template into the user's store."""
        own = Path(self.environment["LAGO_TEMPLATE_STORE"])
        for path in store.glob(f"lago:{name}:*"):
            shutil.copyfile(path, own / path.name)
        self.own(own)

    def own(self, path: Path) -> Path:
        """Give the user a directory tree."""
        for place, directories, files in os.walk(path):
            for name in [place, *(os.path.join(place, n) for n in directories + files)]:
                os.chown(name, self.uid, self.gid, follow_symlinks=False)
        return path

    def copy_store(self, store: Path) -> Path:
        """Fill the user's own template store from the session's."""
        target = Path(self.environment["LAGO_TEMPLATE_STORE"])
        subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", f"{store}/.", str(target)], check=True)
        return self.own(target)


@contextlib.contextmanager
def throwaway(base: Path) -> Iterator[User]:
    """A new user with its directories under `base`; gone afterwards.

    Raises:
        AssertionError: at the end, if processes of the user were left, which are killed, or sockets.
    """
    name = f"lt{secrets.token_hex(4)}"
    place = base / "u"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        place.mkdir(mode=0o755)
        _shadow("useradd", "--create-home", "--home-dir", str(place / "home"), "--shell", "/bin/bash", name)
        stack.callback(_shadow, "userdel", "--force", name)
        if not _subids("/etc/subuid", name):
            _shadow("usermod", "--add-subuids", _free("/etc/subuid"), "--add-subgids", _free("/etc/subgid"), name)
        account = pwd.getpwnam(name)
        user = User(name, account.pw_uid, account.pw_gid, place, _environment(name, place, base))
        for directory in ("run", "tmp", "store", "cache", "config", "data", "state"):
            place.joinpath(directory).mkdir(mode=0o700)
            user.own(place / directory)
        _provide_lago(user)
        yield user
        left = _left(user)
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        assert not left, f"processes of the ordinary user were left: {', '.join(map(str, left))}"
        assert not (there := sockets(place)), f"sockets of the ordinary user were left: {', '.join(there)}"


def _left(user: User) -> list[Process]:
    """Processes of the user and its subordinate ids that do not end by themselves within some seconds."""
    ids = [range(user.uid, user.uid + 1), _subids("/etc/subuid", user.name)]
    deadline = time.monotonic() + 5
    while (left := [p for uids in ids for p in processes_of(uids)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _environment(name: str, place: Path, base: Path) -> dict[str, str]:
    passed_on = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    return passed_on | {
        "HOME": str(place / "home"),
        "USER": name,
        "LOGNAME": name,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "PATH": f"{place}/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "TMPDIR": str(place / "tmp"),
        "XDG_RUNTIME_DIR": str(place / "run"),
        "XDG_CACHE_HOME": str(place / "cache"),
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_DATA_HOME": str(place / "data"),
        "XDG_STATE_HOME": str(place / "state"),
        "LAGO_TEMPLATE_STORE": str(place / "store"),
        "LAGO_TEST_SESSION": str(base),
    }


def _provide_lago(user: User) -> None:
    """Make a virtual environment with `lago` that the user may read.

    The suite's own interpreter, packages and sources serve if the user can get at them; what lies in a closed home
    directory is copied, and the distribution's interpreter of the same version takes the place of a closed one.
    """
    import lago

    packages, sources = Path(sysconfig.get_path("purelib")), Path(lago.__file__).parent.parent
    python = _interpreter(user)
    venv = user.place / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", "--symlinks", str(venv)], check=True, env={})
    [site] = venv.glob("lib/python3.*/site-packages")
    search = [_readable(user, path, name) for path, name in ((sources, "src"), (packages, "packages"))]
    site.joinpath("lago-tests.pth").write_text("".join(f"{path}\n" for path in search))
    for name in ("lago", "lagocli"):
        script = venv / "bin" / name
        # The kernel ends the name of an interpreter at a space.
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(venv / "bin" / "python"))} -I -m lago "$@"\n')
        script.chmod(0o755)


def _interpreter(user: User) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/python{version}"):
        if user.run(["test", "-x", candidate]).returncode == 0:
            return candidate
    raise LookupError(f"an ordinary user can run neither {sys.executable} nor /usr/bin/python{version}")


def _readable(user: User, path: Path, name: str) -> str:
    if user.can_read(path):
        return str(path)
    copy = user.place / name
    unneeded = shutil.ignore_patterns("mypy*", "pip*", "ruff*", "setuptools*", "virtualenv*", "pre_commit*", "*.pth")
    shutil.copytree(path, copy, ignore=unneeded)
    return str(copy)


def open_device(device: Path) -> Callable[[], None]:
    """Open a device to everybody, which is how most distributions have it; the function returned undoes that."""
    mode = device.stat().st_mode & 0o7777
    device.chmod(0o666)
    return lambda: device.chmod(mode)


def _shadow(*argv: str) -> None:
    """Run one of the programs that edit /etc/passwd; they fail at once when another one is at it."""
    for _ in range(20):
        status = subprocess.run(argv, capture_output=True, text=True, check=False)
        if status.returncode != 1 or "lock" not in status.stderr:
            break
        time.sleep(0.2)
    assert status.returncode == 0, f"{argv[0]}: {status.stderr}"


def _subids(path: str, name: str) -> range:
    """The user's range in /etc/subuid or /etc/subgid."""
    for line in Path(path).read_text().splitlines():
        who, first, count = line.split(":")
        if who == name and int(count) >= 65536:
            return range(int(first), int(first) + int(count))
    return range(0)


def _free(path: str) -> str:
    """A range of ids that nobody has."""
    rows = Path(path).read_text().splitlines() if os.path.exists(path) else []
    first = max((int(row.split(":")[1]) + int(row.split(":")[2]) for row in rows), default=100000)
    return f"{first}-{first + 65535}"
