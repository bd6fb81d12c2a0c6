"""The recipe `mini`: a kernel, busybox, an ssh server; boots in seconds even when emulated."""

from __future__ import annotations

from functools import partial

from ...host.programs import run
from .apt import open_package
from .recipe import Recipe
from .tree import Tree

RECIPE = Recipe(
    name="mini",
    suite="bookworm",
    base="unpack",
    packages=(
        "bash",
        "busybox-static",
        "coreutils",
        "dropbear-bin",
        "libc6",
        "libcrypt1",
        "libgmp10",
        "libtinfo6",
        "libtomcrypt1",
        "libtommath1",
        "openssh-client",
        "openssh-sftp-server",
        "zlib1g",
    ),
    files={
        "usr/sbin/init": ("mini-init", 0o755),
        "usr/lib/lago/seed": ("mini-seed", 0o755),
        "usr/lib/lago/dhcp": ("mini-dhcp", 0o755),
    },
    texts={
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
        "etc/shells": "/bin/sh\n/bin/bash\n",
        "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
        "etc/hostname": "localhost\n",
        "etc/resolv.conf": "",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "etc/profile": 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin PS1="\\h:\\w\\$ "\n',
        "etc/os-release": 'ID=lago-mini\nID_LIKE=debian\nPRETTY_NAME="Lago mini guest (Debian 12)"\n',
    },
    links={
        "etc/mtab": "/proc/self/mounts",
        "var/run": "/run",
        # The kernel looks for it here, to load what a mount asks for.
        "usr/sbin/modprobe": "../bin/modprobe",
    },
    size=8 << 30,
    metadata={"distro": "mini", "arch": "x86_64", "bootstrap": "cloud-init", "ssh-user": "root"},
)

_DIRECTORIES = ("dev", "etc/dropbear", "mnt", "proc", "run", "sys", "usr/local/bin", "usr/local/sbin", "var/log")
_SHADOW = "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n"


def fill(tree: Tree, recipe: Recipe, packages: dict[str, str], busybox: str, work: str) -> None:
    """Put everything but kernel modules into `tree`.

    Args:
        packages: files of downloaded packages by name.
        busybox: path of that program, to be asked for its applets.
        work: directory for temporary files.
    """
    for name in recipe.packages:
        with open_package(packages[name], work) as archive:
            tree.add_tar(archive, partial(_wanted, name))
    for path in _DIRECTORIES:
        tree.directory(path)
    for path, permissions in {"root": 0o700, "root/.ssh": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}.items():
        tree.directory(path, permissions)
    tree.file("etc/shadow", _SHADOW, 0o600)
    for applet in _applets(busybox):
        if not any(f"usr/{directory}/{applet}" in tree for directory in ("bin", "sbin")):
            tree.symlink(f"usr/bin/{applet}", "busybox")
    recipe.add_files(tree)


def _wanted(name: str, path: str) -> bool:
    if name == "coreutils":
        # Busybox's sets the clock to whole seconds only.
        return path == "usr/bin/date"
    if path.startswith(("usr/share/", "etc/", "usr/lib/x86_64-linux-gnu/gconv/", "usr/lib/systemd/", "usr/lib/udev/")):
        return False
    # Of the OpenSSH client, scp is what the other end of a copy needs.
    return not path.startswith(("usr/bin/ssh", "usr/lib/openssh/ssh", "usr/bin/dropbearconvert"))


def _applets(busybox: str) -> list[str]:
    names = run([busybox, "--list"]).text.split()
    return [name for name in names if name not in ("busybox", "init", "linuxrc")]
