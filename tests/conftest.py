"""What all tests stand on: a world of their own, and the proof that they left nothing in the real one.

With pytest-xdist this holds for all workers together: the session is the controller's, and each worker has a part of
its directory.

Variables: `LAGO_TEST_STORE` is the store of template images kept between runs, `LAGO_TEST_KEEP` keeps the session's
directory, `LAGO_TEST_SHARED` says that others use this machine meanwhile (see `leftovers`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import leftovers, properties, schedule
from .users import REPOSITORY, User, open_device, throwaway

_BASE = pytest.StashKey[Path]()
_BEFORE = pytest.StashKey[leftovers.Snapshot]()
_LEFT = pytest.StashKey[list[str]]()
_REAL_HOME = os.path.expanduser("~")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `schedule`."""
    schedule.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Look at the host, then give the session directories and an environment of its own."""
    properties.choose(slow=config.option.slow)
    config.addinivalue_line("markers", "programs: a unit test that may run programs")
    config.addinivalue_line("markers", "slow: boots whole distributions, or as long; see --slow")
    if worker := _worker(config):
        session = Path(os.environ["LAGO_TEST_SESSION"])
        base = session / worker
        base.mkdir()
        config.option.basetemp = None
    else:
        if config.option.record_durations:
            config.pluginmanager.register(schedule.Durations())
        config.stash[_BEFORE] = leftovers.take(_REAL_HOME, str(REPOSITORY))
        # Unix sockets have names of at most 107 bytes, so the base is short, and others may pass through it. Its name
        # has what some program may take for more than a part of a name.
        session = base = Path(tempfile.mkdtemp(prefix="lt-\u00fc% '\"", dir="/tmp"))
        if os.geteuid() == 0:
            config.add_cleanup(open_device(Path("/dev/net/tun")))
    base.chmod(0o711)
    config.stash[_BASE] = base
    if config.option.basetemp is None:
        config.option.basetemp = base / "t"
    _isolate(base)
    # It takes long to be made, and workers may have the same one.
    appliance = session / "guestfs"
    appliance.mkdir(mode=0o700, exist_ok=True)
    os.environ["LIBGUESTFS_CACHEDIR"] = str(appliance)


def _worker(config: pytest.Config) -> str | None:
    """Name of this worker of pytest-xdist."""
    worker: str | None = getattr(config, "workerinput", {}).get("workerid")
    return worker


def _isolate(base: Path) -> None:
    store = os.environ.get("LAGO_TEST_STORE") or str(REPOSITORY / ".cache" / "test-store")
    for name in list(os.environ):
        if name.startswith(("LAGO_", "LIBVIRT_", "VIRSH_", "XDG_")) and not name.startswith("LAGO_TEST_"):
            del os.environ[name]
    os.environ.pop("SSH_AUTH_SOCK", None)
    directories = {
        "HOME": "home",
        "TMPDIR": "tmp",
        "XDG_RUNTIME_DIR": "run",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_CONFIG_DIRS": "xdg",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
    }
    for name, directory in directories.items():
        base.joinpath(directory).mkdir(mode=0o700)
        os.environ[name] = str(base / directory)
    tempfile.tempdir = None
    os.environ["LAGO_TEMPLATE_STORE"] = store
    os.environ["LAGO_TEST_SESSION"] = str(base)
    os.environ["PATH"] = f"{REPOSITORY}/.venv/bin:{os.environ.get('PATH', os.defpath)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that boot guests are known by their directory; workers begin with modules that take long."""
    for item in items:
        if {REPOSITORY / "tests" / "vm", REPOSITORY / "tests" / "chaos"} & {*item.path.parents}:
            item.add_marker(pytest.mark.vm)
    out = set(schedule.left_out(config, items))
    config.hook.pytest_deselected(items=[item for item in items if item in out])
    items[:] = [item for item in items if item not in out]
    if _worker(config):
        schedule.longest_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let workers tell what tests said also where it is no UTF-8; surrogates in it would end the session."""
    return _sendable((yield))


def _sendable(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode(errors="backslashreplace").decode()
    if isinstance(data, dict):
        return {_sendable(key): _sendable(value) for key, value in data.items()}
    return type(data)(map(_sendable, data)) if type(data) in (list, tuple) else data


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that left something behind."""
    config = session.config
    if _worker(config):
        return
    base, before = config.stash[_BASE], config.stash[_BEFORE]
    leftovers.settle(before, str(base))
    after = leftovers.take(_REAL_HOME, str(REPOSITORY))
    shared = bool(os.environ.get("LAGO_TEST_SHARED"))
    left = leftovers.difference(before, after, base=str(base), shared=shared)
    left += leftovers.sockets(base)
    leftovers.end_ours(before, str(base))
    if not os.environ.get("LAGO_TEST_KEEP"):
        _open_directories(base)
        shutil.rmtree(base, ignore_errors=True)
        if base.exists():
            left.append(f"file {base} can't be removed")
    config.stash[_LEFT] = left
    if left and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _open_directories(base: Path) -> None:
    """Let directories be emptied that a test closed to its own user; root needs none of it."""
    for place, _, _ in os.walk(base):
        for entry in os.scandir(place):
            if entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    os.chmod(entry.path, stat.S_IRWXU)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left behind."""
    if left := config.stash.get(_LEFT, []):
        terminalreporter.section("left behind by the tests", red=True, bold=True)
        for line in left:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def base(pytestconfig: pytest.Config) -> Path:
    """The session's directory, with a short name."""
    return pytestconfig.stash[_BASE]


@pytest.fixture
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for sockets of the test's own: those of what is no whole environment are removed by nobody."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    return path


@pytest.fixture(scope="session")
def store() -> Path:
    """The store of template images, kept between sessions."""
    path = Path(os.environ["LAGO_TEMPLATE_STORE"])
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def throwaway_user(base: Path) -> Iterator[User]:
    """An ordinary user, made for this session; only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a user")
    try:
        with throwaway(base) as user:
            yield user
    except LookupError as error:
        pytest.skip(str(error))
