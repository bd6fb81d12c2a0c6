"""Leases of subnets, by one process and by many."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lago import config, constants, subnet_lease
from lago.errors import ConfigError, HostError, LagoError, LockTimeout, PrefixError
from lago.host import locks, parallel
from lago.subnet_lease import Lease, SubnetStore

Prefix = Callable[[str], str]


@pytest.fixture
def leases(tmp_path: Path) -> SubnetStore:
    return SubnetStore(str(tmp_path / "var" / "subnets"), 200, 209)


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    def make(name: str) -> str:
        tmp_path.joinpath(name).mkdir()
        path = tmp_path / name / "uuid"
        path.write_text(f"{name:0>32}\n")
        return str(path)

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of the command line: a directory of leases for this test."""
    values = {"lease_dir": str(tmp_path / "leases")}
    config.set_command_line(values)
    yield values
    config.set_command_line({})


def gateways(found: list[Lease]) -> list[str]:
    return [lease.gateway for lease in found]


# One process


def test_each_lease_is_the_lowest_free_subnet(leases: SubnetStore, prefix: Prefix) -> None:
    one, two = prefix("one"), prefix("two")
    assert [leases.acquire(who) for who in (one, two, one)] == [f"192.168.{n}.1" for n in (200, 201, 202)]
    leases.release("192.168.201.1", two)
    assert leases.acquire(one) == "192.168.201.1"
    assert gateways(leases.list_leases()) == ["192.168.200.1", "192.168.201.1", "192.168.202.1"]


def test_a_lease_on_disk_has_the_documented_form(leases: SubnetStore, prefix: Prefix) -> None:
    one = prefix("one")
    leases.acquire(one)
    path = Path(leases.directory, "200.lease")
    assert json.loads(path.read_text()) == [one, f"{'one':0>32}"]
    assert not path.stat().st_mode & 0o022
    assert Path(leases.directory, "leases.lock").stat().st_mode & 0o777 == 0o660
    assert sorted(os.listdir(leases.directory)) == ["200.lease", "leases.lock"]


def test_leases_are_listed_by_uuid(leases: SubnetStore, prefix: Prefix) -> None:
    assert leases.list_leases() == []
    one, two = prefix("one"), prefix("two")
    for who in (one, two, one):
        leases.acquire(who)
    assert gateways(leases.list_leases(f"{'one':0>32}")) == ["192.168.200.1", "192.168.202.1"]
    assert leases.list_leases("nobody") == []


@pytest.mark.parametrize("how", ["gone", "directory gone", "content"])
def test_a_stale_lease_is_taken_over(leases: SubnetStore, prefix: Prefix, how: str) -> None:
    one = prefix("one")
    leases.acquire(one)
    if how == "gone":
        os.unlink(one)
    elif how == "directory gone":
        shutil.rmtree(os.path.dirname(one))
    else:
        Path(one).write_text("another")
    assert leases.list_leases()[0].stale()
    two = prefix("two")
    assert leases.acquire(two) == "192.168.200.1"
    assert [lease.uuid_path for lease in leases.list_leases()] == [two]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"[1, 2]", b'["a"]', b"null", b"\xff", b'["/a\\u0000b", "c"]', b"[" * 10000]
)
def test_a_damaged_lease_is_taken_over(leases: SubnetStore, prefix: Prefix, content: bytes) -> None:
    os.makedirs(leases.directory)
    Path(leases.directory, "200.lease").write_bytes(content)
    assert leases.acquire(prefix("one")) == "192.168.200.1"
    assert len(leases.list_leases()) == 1


def test_other_files_are_no_leases(leases: SubnetStore, prefix: Prefix) -> None:
    os.makedirs(leases.directory)
    for name in ("x.lease", "0200.lease", "200.lease~", "1000.lease"):
        Path(leases.directory, name).write_text("[]")
    assert leases.list_leases() == []
    assert leases.acquire(prefix("one")) == "192.168.200.1"


def test_d05_exhaustion_names_the_holders(leases: SubnetStore, prefix: Prefix) -> None:
    one, two = prefix("one"), prefix("two")
    for _ in range(9):
        leases.acquire(one)
    with pytest.raises(LagoError, match=r"^no subnet is free from 192\.168\.200\.0 to 192\.168\.209\.0$") as caught:
        leases.acquire(two, avoid=["209"])
    lines = caught.value.details.splitlines()
    assert lines[0] == f"192.168.200.1 is leased by {one}"
    assert lines[9] == "192.168.209.1 is in use on this host: 192.168.209.0/24"
    assert "subnet_range" in caught.value.hint


@pytest.mark.parametrize("used", ["200", "192.168.200.7", "192.168.200.0/24", "192.168.200.128/25"])
def test_what_the_host_uses_is_avoided(leases: SubnetStore, prefix: Prefix, used: str) -> None:
    assert leases.acquire(prefix("one"), avoid=[used, "10.0.0.0/8", "fd00::1"]) == "192.168.201.1"


def test_what_is_to_be_avoided_must_be_a_network(leases: SubnetStore, prefix: Prefix) -> None:
    with pytest.raises(LagoError, match="can't avoid bogus"):
        leases.acquire(prefix("one"), avoid=["bogus"])


def test_a_prefix_without_uuid_gets_no_lease(leases: SubnetStore, tmp_path: Path) -> None:
    for content in (None, "", "\n"):
        if content is not None:
            tmp_path.joinpath("uuid").write_text(content)
        with pytest.raises(PrefixError, match="uuid is missing, empty or not readable"):
            leases.acquire(str(tmp_path / "uuid"))


# A subnet of one's choice


@pytest.mark.parametrize(
    ("wish", "gateway"),
    [("192.168.205.1", "192.168.205.1"), ("192.168.205.254", "192.168.205.254"), ("192.168.205.0/24", "192.168.205.1")],
)
def test_d30_a_chosen_subnet_in_the_range_is_leased(
    leases: SubnetStore, prefix: Prefix, wish: str, gateway: str
) -> None:
    one, two = prefix("one"), prefix("two")
    assert leases.acquire(one, wish) == gateway
    assert leases.acquire(one, wish) == gateway, "one's own is granted again"
    assert leases.acquire(one, wish, avoid=["205"]) == gateway, "also when it runs already"
    assert gateways(leases.list_leases()) == ["192.168.205.1"]
    with pytest.raises(LagoError, match=f"^192.168.205.3 is leased by {one}$"):
        leases.acquire(two, "192.168.205.3")
    os.unlink(one)
    assert leases.acquire(two, wish) == gateway


@pytest.mark.parametrize("wish", ["192.168.1.1", "192.168.210.1", "10.0.0.1", "172.31.255.254"])
def test_d30_a_chosen_private_subnet_outside_the_range_needs_no_lease(
    leases: SubnetStore, prefix: Prefix, wish: str
) -> None:
    assert leases.acquire(prefix("one"), wish) == wish
    assert not os.path.exists(leases.directory)
    with pytest.raises(LagoError, match=f"^{wish} is in use on this host: "):
        leases.acquire(prefix("two"), wish, avoid=[wish])


def test_a_chosen_subnet_that_a_wider_range_leased_is_taken(leases: SubnetStore, prefix: Prefix) -> None:
    one, two = prefix("one"), prefix("two")
    SubnetStore(leases.directory, 220, 220).acquire(one)
    with pytest.raises(LagoError, match=f"^192.168.220.1 is leased by {one}$"):
        leases.acquire(two, "192.168.220.1")
    leases.release("192.168.220.1", one)
    assert leases.acquire(two, "192.168.220.1") == "192.168.220.1"


@pytest.mark.parametrize(
    "wish",
    ["", "bogus", "192.168.200", "192.168.200.1.1", "192.168.256.1", "192.168.200.255", "192.168.200.1/16", "::1"],
)
def test_a_malformed_subnet_is_refused(leases: SubnetStore, prefix: Prefix, wish: str) -> None:
    with pytest.raises(LagoError, match=f"^{wish} is not an address in a /24 network$"):
        leases.acquire(prefix("one"), wish)


@pytest.mark.parametrize("wish", ["8.8.8.8", "172.32.0.1", "127.0.0.1", "169.254.1.1", "192.169.200.1"])
def test_a_public_subnet_is_refused(leases: SubnetStore, prefix: Prefix, wish: str) -> None:
    with pytest.raises(LagoError, match=f"^{wish} is not a private address$"):
        leases.acquire(prefix("one"), wish)


# Owners


def test_d30_only_owners_release(leases: SubnetStore, prefix: Prefix) -> None:
    one, two = prefix("one"), prefix("two")
    for who in (one, two, one):
        leases.acquire(who)
    with pytest.raises(LagoError, match="not released") as caught:
        leases.release(["192.168.200.1", "192.168.201.1"], one)
    assert caught.value.details == f"192.168.201.1 is leased by {two}"
    assert gateways(leases.list_leases()) == ["192.168.201.1", "192.168.202.1"]
    leases.release_all(one)
    assert gateways(leases.list_leases()) == ["192.168.201.1"]


@pytest.mark.parametrize("nothing", [None, "", [], [None], "bogus", "10.0.0.1", ["192.168.1.1", "192.168.200.1"]])
def test_d30_what_is_not_leased_is_passed_over(
    leases: SubnetStore, prefix: Prefix, nothing: str | list[str | None] | None
) -> None:
    one = prefix("one")
    leases.release(nothing, one)
    leases.release_all(one)
    assert not os.path.exists(leases.directory)


def test_leases_are_released_after_the_prefix_is_gone(leases: SubnetStore, prefix: Prefix) -> None:
    one = prefix("one")
    leases.acquire(one)
    shutil.rmtree(os.path.dirname(one))
    leases.release_all(one)
    assert leases.list_leases() == []


def test_a_moved_prefix_keeps_its_leases(leases: SubnetStore, prefix: Prefix, tmp_path: Path) -> None:
    one = prefix("one")
    leases.acquire(one)
    os.rename(tmp_path / "one", tmp_path / "moved")
    moved = str(tmp_path / "moved" / "uuid")
    assert leases.acquire(moved, "192.168.200.1") == "192.168.200.1"
    assert leases.list_leases()[0].uuid_path == moved
    os.rename(tmp_path / "moved", tmp_path / "again")
    leases.release("192.168.200.1", str(tmp_path / "again" / "uuid"))
    assert leases.list_leases() == []


def test_a_copied_prefix_does_not_own_the_leases_of_the_original(
    leases: SubnetStore, prefix: Prefix, tmp_path: Path
) -> None:
    one = prefix("one")
    leases.acquire(one)
    copy = shutil.copytree(tmp_path / "one", tmp_path / "copy") / "uuid"
    leases.release_all(str(copy))
    with pytest.raises(LagoError, match=f"is leased by {one}$"):
        leases.acquire(str(copy), "192.168.200.1")


def test_a_prefix_is_the_same_through_a_symbolic_link(leases: SubnetStore, prefix: Prefix, tmp_path: Path) -> None:
    one = prefix("one")
    tmp_path.joinpath("link").symlink_to("one")
    leases.acquire(str(tmp_path / "link" / "uuid"))
    assert leases.acquire(one, "192.168.200.1") == "192.168.200.1"
    leases.release("192.168.200.1", str(tmp_path / "link" / "uuid"))
    assert leases.list_leases() == []


# The documented functions


def test_the_documented_names() -> None:
    assert subnet_lease.LEASE_DIR == "/var/lib/lago/subnets/"
    assert subnet_lease.LOCK_FILE == "/var/lib/lago/subnets/leases.lock"
    assert (subnet_lease.MIN_SUBNET, subnet_lease.MAX_SUBNET) == (constants.MIN_SUBNET, constants.MAX_SUBNET)


def test_acquire_and_release(settings: dict[str, str], prefix: Prefix) -> None:
    one, two = prefix("one"), prefix("two")
    assert [subnet_lease.acquire(one), subnet_lease.acquire(two)] == ["192.168.200.1", "192.168.201.1"]
    subnet_lease.release("192.168.200.0")
    subnet_lease.release("192.168.200.0")
    subnet_lease.release("bogus")
    assert gateways(subnet_lease.default_store().list_leases()) == ["192.168.201.1"]


def test_the_documented_attributes_are_the_defaults(
    monkeypatch: pytest.MonkeyPatch, prefix: Prefix, tmp_path: Path
) -> None:
    monkeypatch.setattr(subnet_lease, "LEASE_DIR", str(tmp_path / "mine"))
    monkeypatch.setattr(subnet_lease, "MIN_SUBNET", 207)
    assert subnet_lease.acquire(prefix("one")) == "192.168.207.1"
    assert tmp_path.joinpath("mine", "207.lease").exists()


@pytest.mark.parametrize(
    ("subnet", "leasable"),
    [
        ("192.168.200.0", True),
        ("192.168.209.255", False),
        ("192.168.209.254", True),
        ("192.168.204.0/24", True),
        ("192.168.199.1", False),
        ("192.168.210.1", False),
        ("10.0.200.1", False),
        ("bogus", False),
    ],
)
def test_is_leasable_subnet(settings: dict[str, str], subnet: str, leasable: bool) -> None:
    assert subnet_lease.is_leasable_subnet(subnet) is leasable


def test_the_range_is_a_setting(settings: dict[str, str], prefix: Prefix) -> None:
    config.set_command_line(settings | {"subnet_range": "253 - 255"})
    assert subnet_lease.acquire(prefix("one")) == "192.168.253.1"
    assert subnet_lease.is_leasable_subnet("192.168.255.1")
    assert not subnet_lease.is_leasable_subnet("192.168.200.1")


@pytest.mark.parametrize("text", ["", "200", "209-200", "200-256", "-1-5", "a-b", "200-209-210", "1000-1001"])
def test_a_wrong_range_is_refused(settings: dict[str, str], text: str) -> None:
    config.set_command_line(settings | {"subnet_range": text})
    with pytest.raises(ConfigError, match=f"^subnet_range = {text}: expected two numbers"):
        subnet_lease.default_store()


# The lock, and permissions


def test_d55_a_lock_that_is_busy_names_its_holder(leases: SubnetStore, prefix: Prefix) -> None:
    one = prefix("one")
    leases.acquire(one)
    impatient = SubnetStore(leases.directory, 200, 209, lock_timeout=0.1)
    with locks.lock_file(os.path.join(leases.directory, "leases.lock"), what="it"):
        for use in (lambda: impatient.acquire(one), lambda: impatient.release_all(one)):
            with pytest.raises(LockTimeout, match=f"{leases.directory} is still in use by process {os.getpid()} "):
                use()
    assert impatient.acquire(one) == "192.168.201.1"


def test_a_directory_that_is_none_is_named(prefix: Prefix, tmp_path: Path) -> None:
    tmp_path.joinpath("file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "leases"):
        with pytest.raises(HostError, match=f"^can't use the directory of subnet leases {directory}$"):
            SubnetStore(str(directory), 200, 209).acquire(prefix(f"for-{directory.name}"))


ORDINARY = """
import os, sys
from lago.errors import LagoError
from lago.subnet_lease import SubnetStore
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
directory, uuid = sys.argv[1:]
try:
    print(SubnetStore(directory, 200, 209, lock_timeout=5).acquire(uuid))
except LagoError as error:
    print(type(error).__name__, error.render())
"""


@pytest.fixture
def open_place(base: Path) -> Iterator[Path]:
    """A directory that every user may enter."""
    place = Path(tempfile.mkdtemp(dir=base))
    place.chmod(0o777)
    place.joinpath("uuid").write_text("mine")
    yield place
    for directory in place.iterdir():
        directory.chmod(0o700)
    shutil.rmtree(place)


def as_ordinary_user(place: Path, directory: Path) -> str:
    return python(ORDINARY, directory, place / "uuid").stdout.strip()


def python(script: str, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == code, ended.stderr
    return ended


@pytest.mark.programs
@pytest.mark.parametrize("what", ["directory", "its parent", "lock", "lease"])
def test_d55_a_missing_permission_is_no_busy_lock(open_place: Path, what: str) -> None:
    leases = open_place / "leases"
    leases.mkdir()
    leases.chmod(0o777)
    if what == "directory":
        leases.chmod(0o555)
    elif what == "its parent":
        leases.chmod(0o555)
        leases /= "below"
    else:
        path = leases / {"lock": "leases.lock", "lease": "200.lease"}[what]
        path.touch()
        path.chmod(0)
    said = as_ordinary_user(open_place, leases)
    assert said.startswith(f"HostError no permission to use the directory of subnet leases {leases}\n"), said
    assert "set lease_dir to another directory" in said


@pytest.mark.programs
def test_a_prefix_that_we_may_not_look_at_keeps_its_lease(open_place: Path) -> None:
    leases, private = open_place / "leases", open_place / "private"
    for directory in (leases, private):
        directory.mkdir()
    leases.chmod(0o777)
    private.joinpath("uuid").write_text("theirs")
    assert SubnetStore(str(leases), 200, 209).acquire(str(private / "uuid")) == "192.168.200.1"
    leases.joinpath("leases.lock").unlink()
    private.chmod(0)
    assert as_ordinary_user(open_place, leases) == "192.168.201.1"


# Many processes

CROWD = """
import os, random, sys, time
from lago.errors import LagoError
from lago.log import LOG
from lago.subnet_lease import SubnetStore

LOG.disabled = True
place, workers, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
leases = SubnetStore(f"{place}/leases", 200, 209)

def once(uuid):
    try:
        gateway = leases.acquire(uuid)
    except LagoError as error:
        if "no subnet is free" not in error.what:
            raise
        return None
    os.close(os.open(f"{place}/held/{gateway}", os.O_CREAT | os.O_EXCL))  # fails if somebody else has it too
    return gateway

def work(number):
    uuid = f"{place}/{number}"
    with open(uuid, "w") as file:
        file.write(f"uuid {number}")
    done = 0
    while done < max(rounds, 1):
        gateway = once(uuid)
        if not rounds:
            return 3 if gateway is None else 0
        if gateway is None:
            time.sleep(random.uniform(0, 0.05))
            continue
        time.sleep(random.uniform(0, 0.01))
        os.unlink(f"{place}/held/{gateway}")
        leases.release(gateway, uuid)
        done += 1
    return 0

def child(number):
    try:
        os._exit(work(number))
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    os._exit(1)

os.mkdir(f"{place}/held")
pids = [os.fork() or child(number) for number in range(workers)]
print(*sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


@pytest.mark.programs
def test_d49_50_processes_at_once_never_hold_the_same_subnet(tmp_path: Path) -> None:
    ended = python(CROWD, tmp_path, 50, 3)
    assert ended.stdout.split() == ["0"] * 50, ended.stderr
    assert os.listdir(tmp_path / "held") == []
    assert os.listdir(tmp_path / "leases") == ["leases.lock"]


@pytest.mark.programs
def test_of_50_processes_at_once_10_get_the_10_subnets(tmp_path: Path) -> None:
    ended = python(CROWD, tmp_path, 50, 0)
    assert ended.stdout.split() == ["0"] * 10 + ["3"] * 40, ended.stderr
    leases = SubnetStore(str(tmp_path / "leases"), 200, 209).list_leases()
    assert sorted(os.listdir(tmp_path / "held")) == gateways(leases) == [f"192.168.{n}.1" for n in range(200, 210)]
    assert len({lease.uuid for lease in leases}) == 10


def test_threads_at_once_never_hold_the_same_subnet(leases: SubnetStore, prefix: Prefix) -> None:
    one = prefix("one")
    found = parallel.in_parallel(lambda _: leases.acquire(one), range(10), what="leases")
    assert sorted(found) == [f"192.168.{n}.1" for n in range(200, 210)]


KILLED = """
import os, signal, sys
from lago.subnet_lease import SubnetStore

call = sys.argv[3]
original = getattr(os, call)

def last(*arguments):
    if sys.argv[4] == "after":
        original(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

leases = SubnetStore(sys.argv[1], 200, 209)
if call == "unlink":
    leases.acquire(sys.argv[2])
setattr(os, call, last)
leases.acquire(sys.argv[2]) if call != "unlink" else leases.release("192.168.200.1", sys.argv[2])
"""


@pytest.mark.programs
@pytest.mark.parametrize("call", ["fsync", "rename", "unlink"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_killed_at_work_leaves_a_sound_store(
    leases: SubnetStore, prefix: Prefix, call: str, when: str
) -> None:
    one, two = prefix("one"), prefix("two")
    python(KILLED, leases.directory, one, call, when, code=-signal.SIGKILL)
    had_it = (call, when) in {("rename", "after"), ("unlink", "before")}
    assert [lease.uuid_path for lease in leases.list_leases()] == [one] * had_it
    start = time.monotonic()
    assert leases.acquire(two) == f"192.168.{200 + had_it}.1"
    assert time.monotonic() - start < 30, "the lock of the dead process is not waited for"
    assert not [name for name in os.listdir(leases.directory) if name.startswith(".")]
    leases.release_all(one)
    assert [lease.uuid_path for lease in leases.list_leases()] == [two]


@pytest.mark.programs
def test_processes_killed_at_any_time_leave_a_sound_store(leases: SubnetStore, prefix: Prefix) -> None:
    script = """
import sys
from lago.log import LOG
from lago.subnet_lease import SubnetStore
LOG.disabled = True
leases = SubnetStore(sys.argv[1], 200, 209)
print(flush=True)
while True:
    leases.release(leases.acquire(sys.argv[2]), sys.argv[2])
"""
    for turn in range(3):
        victims = []
        for number in range(3):
            argv = [sys.executable, "-c", script, leases.directory, prefix(f"{turn}.{number}")]
            victims.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        for victim in victims:
            assert victim.stdout
            victim.stdout.readline()
        for victim in victims:
            time.sleep(0.02)
            victim.kill()
            with victim:
                assert victim.wait() == -signal.SIGKILL
    left = leases.list_leases()
    for lease in left:
        assert not lease.stale()
        os.unlink(lease.uuid_path)
    one = prefix("one")
    assert [leases.acquire(one) for _ in range(10)] == [f"192.168.{n}.1" for n in range(200, 210)]
    assert len(os.listdir(leases.directory)) == 11
