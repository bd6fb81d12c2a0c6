"""What the supervisor changes in its own namespaces, and that the host does not see it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "--"]


def inside(script: str) -> str:
    """Output of a script in a mount namespace of its own."""
    code = f"import os\nfrom lago.hypervisor import namespace\n{script}"
    done = subprocess.run([*UNSHARE, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.stderr.startswith("unshare:"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a file, a directory and something to leave out."""
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "deep").write_text("deep")
    (tmp_path / "d" / "file").write_text("old")
    (tmp_path / "d" / "out").write_text("out")
    return tmp_path / "d"


def test_a_shadowed_directory_is_ours_to_write_and_still_has_its_entries(place: Path) -> None:
    script = f"""
namespace.shadow({str(place)!r}, without=["out"])
os.chdir({str(place)!r})
open("new", "w").write("new")
print(sorted(os.listdir()), open("file").read(), open("sub/deep").read())
open("file", "w").write("changed through")
"""
    assert inside(script) == "['.host', 'file', 'new', 'sub'] old deep\n"
    assert sorted(os.listdir(place)) == ["file", "out", "sub"]
    assert (place / "file").read_text() == "changed through"


def test_a_covered_directory_is_empty(place: Path) -> None:
    out = inside(
        f"namespace.cover({str(place)!r}); open({str(place)!r} + '/x', 'w'); print(os.listdir({str(place)!r}))"
    )
    assert out == "['x']\n"
    assert not (place / "x").exists()


def test_directories_that_the_host_lacks_can_be_covered_too(place: Path) -> None:
    script = f"""
for name in ("one", "two"):
    namespace.cover(os.path.join({str(place)!r}, name))
print(sorted(os.listdir({str(place)!r})))
"""
    assert inside(script) == "['.host', 'file', 'one', 'out', 'sub', 'two']\n"
    assert sorted(os.listdir(place)) == ["file", "out", "sub"]


def test_no_name_that_the_host_has_in_run_is_in_our_way(tmp_path: Path) -> None:
    host = tmp_path / "run"
    for name in ("libvirt", "lago-memory", ".host", ".lago", "lago", "user"):
        (host / name).mkdir(parents=True)
        (host / name / "theirs").touch()
    for name in (".lago-passwd", ".lago-group", "lago-notify", "libvirtd.pid"):
        (host / name).touch()
    before = sorted(str(path) for path in host.rglob("*"))
    script = f"""
namespace.bind({str(host)!r}, "/run")
namespace.own_run()
namespace.make_memory_dir()
namespace.add_users(("lago-test-user",))
import pwd
print(pwd.getpwnam("lago-test-user").pw_uid, sorted(os.listdir("/run/.lago")), os.listdir("/run/libvirt"))
print(os.listdir("/run/user"), os.listdir("/run/.host/.host"), os.path.exists("/run/libvirtd.pid"))
"""
    assert inside(script) == "0 ['memory'] []\n['theirs'] ['theirs'] False\n"
    assert sorted(str(path) for path in host.rglob("*")) == before


def test_a_directory_is_covered_whatever_is_beside_it(place: Path) -> None:
    (place / ".host").mkdir()
    out = inside(f"namespace.cover({str(place / 'new')!r}); print(sorted(os.listdir({str(place)!r})))")
    assert out == "['.host', 'file', 'new', 'out', 'sub']\n"
    assert sorted(os.listdir(place)) == [".host", "file", "out", "sub"]


@pytest.mark.parametrize("name", ["with 'quotes\" and % signs", "\u00fc", os.fsdecode(b"\xff")], ids=ascii)
def test_a_bound_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "inside").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    source = f"os.fsdecode({os.fsencode(tmp_path / name)!r})"
    target = f"{str(tmp_path / 'target')!r}"
    assert inside(f"namespace.bind({source}, {target}); print(os.listdir({target}))") == "['inside']\n"


def test_a_bound_directory_appears_elsewhere(place: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    out = inside(
        f"namespace.bind({str(place)!r}, {str(tmp_path / 'target')!r}); print(os.listdir({str(tmp_path / 'target')!r}))"
    )
    assert "file" in out
    assert os.listdir(tmp_path / "target") == []


def test_users_are_added_once_and_the_host_keeps_its_own() -> None:
    before = Path("/etc/passwd").read_text()
    script = """
namespace.own_run()
namespace.add_users(("root", "lago-test-user"))
import grp, pwd
user = pwd.getpwnam("lago-test-user")
print(user.pw_uid, user.pw_gid, grp.getgrnam("lago-test-user").gr_gid, pwd.getpwnam("root").pw_uid)
print(open("/etc/passwd").read().count("root:"))
"""
    assert inside(script) == f"0 0 0 0\n{before.count('root:')}\n"
    assert Path("/etc/passwd").read_text() == before


def test_a_file_that_is_missing_stays_missing(place: Path) -> None:
    script = f"""
namespace.own_run()
for name in ("file", "none"):
    namespace.replace_file(os.path.join({str(place)!r}, name), "ours")
print(open({str(place / "file")!r}).read(), os.path.exists({str(place / "none")!r}))
"""
    assert inside(script) == "ours False\n"
    assert (place / "file").read_text() == "old"


def test_a_new_network_has_its_loopback_alone() -> None:
    script = """
namespace.new_network()
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
print(os.listdir("/sys/class/net"), open("/sys/class/net/lo/operstate").read().strip())
"""
    assert inside(script) == "['lo'] unknown\n"


def test_own_mounts_do_not_follow_what_comes_later(place: Path) -> None:
    script = f"""
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    namespace.own_mounts()
    os.close(write)
    os.read(read, 1)
    print(sorted(os.listdir({str(place)!r})), flush=True)
    os._exit(0)
os.close(read)
import time
while os.readlink(f"/proc/{{pid}}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
    time.sleep(0.01)
namespace.cover({str(place)!r})
os.close(write)
os.waitpid(pid, 0)
print(os.listdir({str(place)!r}))
"""
    assert inside(script) == "['file', 'out', 'sub']\n[]\n"


def test_what_the_kernel_refuses_is_an_error_that_says_what() -> None:
    out = inside("""
try:
    namespace.bind("/no/such/place", "/nor/here")
except OSError as error:
    print(error.errno, error.strerror)
""")
    assert out == "2 mount /nor/here: No such file or directory\n"
