"""Running programs: whatever Lago starts on this host, it starts here."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Final, NamedTuple

from ..constants import PROGRAMS_OF_ROOT
from ..errors import CommandError, HostError
from ..log import LOG

DEVNULL: Final = subprocess.DEVNULL
PIPE: Final = subprocess.PIPE
Process = subprocess.Popen[bytes]
Stream = IO[Any] | int | None

_GRACE: Final = 5.0
_alive: dict[Process, float | None] = {}
"""The programs in blocks of `spawn`, with the seconds that they get to end."""

_LAST: Final = 20
_STAMP: Final = r"^\[\s*\d+\.\d+\] ?"
"""The time at which a kernel said a line."""


class CommandStatus(NamedTuple):
    """How a command ended. Its truth value is "it failed", as in earlier releases."""

    code: int
    out: bytes
    err: bytes

    def __bool__(self) -> bool:
        return self.code != 0

    @property
    def text(self) -> str:
        """Its output as text; bytes that are no UTF-8 are replaced."""
        return self.out.decode(errors="replace")

    @property
    def error_text(self) -> str:
        """Its error output as text."""
        return self.err.decode(errors="replace")

    @property
    def complaint(self) -> str:
        """Its error output as text, or its output if that is all it said."""
        return self.error_text if self.err else self.text

    def tail(self, lines: int = _LAST) -> str:
        """Return the last lines of its complaint."""
        return tail(self.complaint, lines)


def tail(text: str, lines: int = _LAST) -> str:
    """Return the last lines of a text, without empty ones at its end; one that is repeated is one, with its number."""
    found = [[*same] for _, same in itertools.groupby(text.rstrip().splitlines(), key=_without_stamp)]
    return "\n".join(_numbered(same[0], len(same)) for same in found[-lines:])


def repeated(text: str) -> str:
    """Return each line of a text once, where it first was, with the number of times that it was there."""
    return "\n".join(_numbered(line, number) for line, number in Counter(text.splitlines()).items())


def _without_stamp(line: str) -> str:
    return re.sub(_STAMP, "", line)


def _numbered(line: str, number: int) -> str:
    return f"{line} ({number} times)" if number > 1 and line.strip() else line


@contextlib.contextmanager
def spawn(
    argv: Sequence[str],
    *,
    stdin: Stream = DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    env: Mapping[str, str] | None = None,
    dies_with_us: signal.Signals | None = None,
    ask: signal.Signals | None = signal.SIGTERM,
    grace: float | None = _GRACE,
    **more: Any,
) -> Iterator[Process]:
    """Context manager: a program that runs; at the end of the block it has ended, and its pipes are closed.

    A block that ends as it should waits for the program. If anything interrupts the block, the program is asked to end,
    and killed when it has not within `grace`, or when we are interrupted again.

    Args:
        argv: program and arguments; no shell.
        stdin: where it reads from; by default nowhere. None is where we read from, `PIPE` a pipe from us.
        stdout: where its output goes; by default where ours goes.
        stderr: the same for its error output.
        env: its environment in place of ours.
        dies_with_us: a signal that it gets from the kernel when this process, or the thread, ends in whatever way.
        ask: the signal that asks it to end. None: the end of its input does, at the end of every block.
        grace: seconds; None: it is waited for as long as that takes.
        more: more arguments for `subprocess.Popen`, such as `process_group`.

    Raises:
        HostError: the program is not installed.
    """
    options = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "env": env, **more}
    LOG.debug("run: %s", shlex.join(argv))
    process = _start(_guarded(argv, dies_with_us, env) if dies_with_us else argv, options)
    _alive[process] = grace
    try:
        yield process
        if ask is None:
            _end(process, ask, grace)
        _close(process)
    except BaseException:
        _end(process, ask, grace)
        raise
    finally:
        _close(process)
        _alive.pop(process, None)
        LOG.debug("ended: %s: %d", argv[0], process.returncode)


def kill_all() -> None:
    """Kill the programs that run in blocks of `spawn`, for who ends without ending the blocks."""
    for process in list(_alive):
        process.kill()


def wait_for_the_patient() -> None:
    """Return when no program runs in a block of `spawn` that is waited for as long as it takes."""
    while patient := [process for process, grace in list(_alive.items()) if grace is None]:
        for process in patient:
            process.wait()
            _alive.pop(process, None)


def _start(argv: Sequence[str], options: Mapping[str, Any]) -> Process:
    try:
        return subprocess.Popen(argv, **options)
    except (FileNotFoundError, PermissionError) as error:
        # Both are said of a directory to run in, too; the second also of one in PATH that may not be entered.
        if error.filename != argv[0] or (isinstance(error, PermissionError) and "/" in argv[0]):
            raise
    found = _find(argv[0], PROGRAMS_OF_ROOT)
    if found is None:
        raise _not_installed(argv[0])
    return subprocess.Popen(argv, executable=found, **options)


def _guarded(argv: Sequence[str], dies_with_us: signal.Signals, env: Mapping[str, str] | None) -> list[str]:
    program = installed(argv[0], env)
    return ["setpriv", "--pdeathsig", dies_with_us.name.removeprefix("SIG"), "--", program, *argv[1:]]


def _end(process: Process, ask: signal.Signals | None, grace: float | None) -> None:
    try:
        if ask is not None:
            process.send_signal(ask)
        elif process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    finally:
        process.kill()


def _close(process: Process) -> None:
    """Close its pipes and wait for it. Left by an interrupt, a `with` of its own would hardly wait."""
    with process:
        pass


def run(
    argv: Sequence[str],
    *,
    input_data: bytes | None = None,
    check: bool = True,
    capture: bool = True,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    hint: str = "",
    output: str | None = None,
    dies_with_us: signal.Signals | None = None,
    pass_fds: Sequence[int] = (),
) -> CommandStatus:
    """Run a program to its end and return how it ended.

    Standard input is `input_data` or closed. The program is terminated, and waited for, when anything interrupts us.

    Args:
        argv: program and arguments; no shell.
        check: raise `CommandError` on a non-zero exit status.
        capture: collect its output; otherwise it goes where ours goes.
        timeout: seconds; `CommandError` when it passes.
        env: variables added to ours.
        hint: what to do if it fails.
        output: a file that its standard output is written to instead.
        dies_with_us: a signal that it gets when this process ends in whatever way.
        pass_fds: descriptors of ours that it has as well.

    Raises:
        HostError: the program is not installed.
        CommandError: it failed; details are the end of its error output.
    """
    collected = PIPE if capture else None
    with contextlib.nullcontext(collected) if output is None else open(output, "wb") as stdout:
        try:
            with spawn(
                argv,
                stdin=DEVNULL if input_data is None else PIPE,
                stdout=stdout,
                stderr=collected,
                env={**os.environ, **env} if env else None,
                cwd=cwd,
                dies_with_us=dies_with_us,
                pass_fds=pass_fds,
            ) as process:
                out, err = process.communicate(input_data, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise CommandError(
                argv, -signal.SIGTERM, details=f"it did not end within {timeout:g} s: {shlex.join(argv)}", hint=hint
            ) from None
    status = CommandStatus(process.returncode, out or b"", err or b"")
    if check and status:
        raise CommandError(argv, status.code, details=status.tail(), hint=hint)
    return status


def search_path(env: Mapping[str, str] | None = None) -> str:
    """Where programs are looked for, root's too, which the PATH of an ordinary user often lacks.

    Args:
        env: an environment in place of ours.
    """
    return f"{(os.environ if env is None else env).get('PATH') or os.defpath}:{PROGRAMS_OF_ROOT}"


def which(program: str, env: Mapping[str, str] | None = None) -> str | None:
    """Return where a program is, by our search path or that of another environment; None if it is not installed."""
    return _find(program, search_path(env))


def installed(program: str, env: Mapping[str, str] | None = None) -> str:
    """Return where a program is, as `which` does. Raises HostError if it is not installed."""
    path = which(program, env)
    if path is None:
        raise _not_installed(program)
    return path


def _find(program: str, places: str) -> str | None:
    # Imported here, with all its kinds of archives: `lago shell` needs nothing of it.
    import shutil

    return shutil.which(program, path=places)


def _not_installed(program: str) -> HostError:
    return HostError(f"the program {program} is not installed", hint=package_hint(program))


_PACKAGES: Final = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "newuidmap": "uidmap",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "apt-get": "apt",
    "apt-cache": "apt",
    "apt-config": "apt",
    "dpkg-deb": "dpkg",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nft": "nftables",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "pasta": "passt",
    "dot": "graphviz",
    "systemctl": "systemd",
    "dumpcap": "wireshark-common",
    "createrepo_c": "createrepo-c",
    "dnf": "dnf dnf-plugins-core",
}


def package_hint(program: str) -> str:
    """What to install to get `program` on Debian and its relatives."""
    return f"apt-get install {_PACKAGES.get(program, program)}"
