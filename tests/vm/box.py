"""A directory with an init file in which tests run `lago`, as root or as an ordinary user, and see what it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..users import User

MINI = "{memory: 128, vcpu: 1, disks: [{template_name: mini}], nics: [%s]}"
ONE = f"domains: {{vm0: {MINI % '{net: lan}'}}}\nnets: {{lan: {{}}}}\n"
"""An init file with one machine on one net."""

TWO = f"domains:\n  vm0: {MINI % '{net: lan}'}\n  vm1: {MINI % '{net: lan}'}\nnets: {{lan: {{}}}}\n"
THREE = f"""\
domains:
  web: {MINI % "{net: front}"}
  app: {MINI % "{net: front}, {net: back}"}
  db: {MINI % "{net: front}, {net: back}"}
nets: {{front: {{management: true}}, back: {{}}}}
"""
"""Three machines on two nets."""

_PATIENCE = 400
_SETTINGS = {"LAGO_BOOT_TIMEOUT": "30", "LAGO_INTERRUPT_TIMEOUT": "120"}
"""A busy machine takes its time, also to tidy up."""


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    code: int
    out: str
    err: str


@dataclass
class Box:
    """The directory `place`; `wrap` comes before every command, `env` is added to the environment."""

    place: Path
    user: User | None = None
    env: dict[str, str] = field(default_factory=dict)
    wrap: Sequence[str] = ()

    def write(self, text: str, name: str = "LagoInitFile") -> Path:
        """Write a file, an init file if nothing else is said."""
        path = self.place / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    @classmethod
    def of_user(cls, user: User, store: Path, name: str) -> Box:
        """A new directory of an ordinary user's, who has the template `mini`."""
        user.take_template(store, "mini")
        place = user.home / name
        place.mkdir()
        return cls(user.own(place), user=user)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What programs find in their environment."""
        return {**(self.user.environment if self.user else os.environ), **_SETTINGS, **self.env, **(more or {})}

    def argv(self, *words: str) -> list[str]:
        """How a program is run here."""
        return [*self.wrap, *(self.user.argv(*words) if self.user else words)]

    def popen(self, *words: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start `lago` without waiting for it."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        where = {"cwd": self.place, "env": self.environment(env)}
        return subprocess.Popen(self.argv("lago", *words), **{**where, **pipes, **options})

    @contextlib.contextmanager
    def until_interrupted(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run `lago` as long as the context lasts, and see that Control-C then ends it well."""
        with self.popen(*words) as process:
            try:
                yield process
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0, process.stderr and process.stderr.read()
            finally:
                process.kill()

    def lago(
        self,
        *words: str,
        code: int | None = 0,
        data: str | None = None,
        env: Mapping[str, str] | None = None,
        patience: float = _PATIENCE,
    ) -> Done:
        """Run `lago` and see that it ends with the exit status `code`, within `patience` seconds."""
        stdin = subprocess.DEVNULL if data is None else subprocess.PIPE
        with self.popen(*words, env=env, stdin=stdin) as process:
            try:
                out, err = process.communicate(data, timeout=patience)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
        said = f"lago {' '.join(words)} ended with {process.returncode}\n--- out\n{out}\n--- err\n{err}"
        assert code is None or process.returncode == code, said
        assert "Traceback" not in err, said
        return Done(process.returncode, out, err)

    def shell(self, vm: str, command: str, **options: Any) -> str:
        """Output of a command on a machine."""
        return self.lago("shell", vm, "-c", command, **options).out

    def status(self) -> dict[str, Any]:
        """What `lago status` says."""
        done = self.lago("-f", "json", "status")
        assert done.err == ""
        prefix: dict[str, Any] = json.loads(done.out)["Prefix"]
        return prefix

    def states(self) -> dict[str, str]:
        """State by machine."""
        return {name: vm["status"] for name, vm in self.status()["VMs"].items()}

    @property
    def prefix(self) -> Path:
        """The prefix."""
        return self.place / ".lago" / "default"

    @property
    def run_dir(self) -> Path:
        """Where the sockets of the prefix's hypervisor are."""
        uuid = (self.prefix / "uuid").read_text()
        return Path(self.environment()["XDG_RUNTIME_DIR"]) / "lago" / uuid[:12]

    def up(self, text: str) -> None:
        """See that the environment is there and runs, whatever a test before has done to it."""
        if not self.prefix.exists():
            self.write(text)
            self.lago("init")
        if set(self.states().values()) != {"running"}:
            self.lago("start")

    def up_warm(self, text: str) -> None:
        """As `up`, where tests are not about a boot: one of such machines does for all of a worker.

        What is made so has the snapshot `warm`, which what does not run goes back to.
        """
        if not self.prefix.exists():
            self.write(text)
            self.lago("up", "--warm")
        elif set(self.states().values()) != {"running"}:
            self.lago("revert", "warm")

    def supervisor(self) -> int | None:
        """Process id of the prefix's hypervisor."""
        for pid, command in processes():
            if str(self.run_dir) in command and "hypervisor.supervisor" in command and _parent_is_unshare(pid):
                return pid
        return None

    def inside(self) -> Inside:
        """The processes that the hypervisor runs, remembered by their namespace."""
        pid = self.supervisor()
        assert pid is not None, "there is no hypervisor"
        return Inside(os.readlink(f"/proc/{pid}/ns/pid"))

    def qemu(self, vm: str = "vm0") -> int:
        """Process id of a machine's QEMU."""
        [pid] = [p for p, command in processes() if str(self.prefix) in command and f"-{vm}," in command]
        return pid

    def mentioned(self) -> list[str]:
        """Processes with this directory in their arguments."""
        return [f"{pid}: {command}" for pid, command in processes() if str(self.place) in command]

    def close(self) -> None:
        """Destroy whatever is there, whatever it takes; complain only if that fails."""
        try:
            if os.environ.get("LAGO_TEST_SHELL"):
                self._look_around()
        finally:
            self._remove()

    def _look_around(self) -> None:
        """Give the person who runs the tests a shell in here, until `exit`."""
        # The time-out of a test is not meant for people.
        signal.setitimer(signal.ITIMER_REAL, 0)
        with open("/dev/tty", "r+b", buffering=0) as tty:
            tty.write(b"\r\nThis is where the test ran. `exit` removes it.\r\n")
            shell = self.argv(os.environ.get("SHELL", "/bin/sh"))
            subprocess.run(
                shell, cwd=self.place, env=self.environment(), stdin=tty, stdout=tty, stderr=tty, check=False
            )

    def _remove(self) -> None:
        if (self.place / ".lago").is_dir():
            done = self.lago("destroy", "--yes", "--all-prefixes", code=None)
            assert done.code == 0 or not list((self.place / ".lago").glob("*/initialized")), done
        assert wait_for(lambda: not self.mentioned()), self.mentioned()


@dataclass(frozen=True)
class Inside:
    """A pid namespace."""

    namespace: str

    def processes(self) -> list[str]:
        """The processes that are in it now."""
        found = []
        for pid, command in processes():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/pid") == self.namespace:
                    found.append(f"{pid}: {command}")
        return found

    def gone(self) -> bool:
        """Whether all of it has ended, or does so soon."""
        return wait_for(lambda: not self.processes())


def processes() -> Iterator[tuple[int, str]]:
    """All processes with their arguments, and the texts in those that are JSON."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                words = Path("/proc", name, "cmdline").read_bytes().decode(errors="replace").split("\0")
                if command := " ".join([*words, *(text for word in words for text in _texts(word))]).strip():
                    yield int(name), command


def _texts(word: str) -> list[str]:
    """The texts in an argument that is a JSON object, where paths have escapes in them."""
    return [json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', word)] if word.startswith("{") else []


def _parent_is_unshare(pid: int) -> bool:
    with contextlib.suppress(OSError):
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return Path(f"/proc/{parent}/comm").read_text().strip() == "unshare"
    return False


def wait_for(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Whether something comes true within some seconds, by default as many as a slow host takes to end a process."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(true)


def kill(pid: int) -> None:
    """As `kill -9`."""
    os.kill(pid, signal.SIGKILL)
