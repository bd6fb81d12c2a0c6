"""What the host must offer for private hypervisors, each thing as a check with its remedy.

`lago doctor` shows them all; a command that fails for want of one raises what `explain_namespaces` returns.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from .. import config
from ..errors import CommandError, HostError
from ..host.programs import package_hint, run
from ..host.programs import which as which
from ..host.trust import user_name
from . import ids

Status = Literal["ok", "warn", "fail"]

_SOURCE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_OWN_RUN: Final = """\
import sys
sys.path.insert(0, sys.argv[1])
from lago.hypervisor import namespace
try:
    namespace.own_run()
except OSError as error:
    sys.exit(error.strerror)
"""
"""What is done first in new namespaces, and needs calls that a seccomp filter may not know."""

_CONFINE: Final = """\
import sys
sys.path.insert(0, sys.argv[1])
from lago.hypervisor import confine
try:
    namespaces = confine.Namespaces(int(sys.argv[2]), int(sys.argv[3]))
    confine.try_out(namespaces)
    confine.View(namespaces).take(sys.argv[4], writable=True)
except OSError as error:
    sys.exit(error.strerror)
"""
_RUN: Final = ("libvirtd", "qemu-system-x86_64", "dnsmasq", "swtpm", "slirp4netns", "pasta")


class Check(NamedTuple):
    """What was looked at, how it is, what was found, and what to do about it."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def namespace_argv() -> list[str]:
    """Command line that enters new namespaces, all but that of the network: a program and its arguments follow.

    The supervisor enters a new network by itself, after it has made the child that connects it with the host's.
    """
    return _unshare(*([] if os.geteuid() == 0 else ["--user", "--map-auto", "--map-root-user"]), "--mount-proc")


def _unshare(*more: str) -> list[str]:
    return ["unshare", *more, "--mount", "--pid", "--fork"]


def require() -> None:
    """Refuse to go on where no private hypervisor can be made; takes some milliseconds.

    Raises:
        HostError: the host lacks something that it needs; says what, and the remedy.
    """
    _try_namespaces()
    found = tun()
    if found.status == "fail":
        raise HostError(f"no network interfaces for guests, {found.name}: {found.found}", hint=found.remedy)


def require_libvirt() -> None:
    """Refuse to go on where libvirtd lacks what makes machines and networks; takes a millisecond.

    Raises:
        HostError: says what, and the remedy.
    """
    found = libvirt_drivers()
    if found.status == "fail":
        raise HostError(found.found, hint=found.remedy)


def _try_namespaces() -> None:
    """Make the namespaces without mapping ids.

    This comes before `namespace_argv` is run, because an unshare that maps ids and is refused leaves a child that waits
    forever and holds our pipes.
    """
    try:
        run([*_unshare(*([] if os.geteuid() == 0 else ["--user"]), "--net"), "true"], timeout=30)
    except CommandError as error:
        raise explain_namespaces(error.details) from None


def namespaces() -> Check:
    """Check that namespaces as a private hypervisor needs them can be made; it makes some."""
    name = "namespaces"
    try:
        _try_namespaces()
        run([*namespace_argv(), "--net", sys.executable, "-I", "-S", "-c", _OWN_RUN, _SOURCE], timeout=30)
    except CommandError as error:
        why = explain_namespaces(error.details)
        return Check(name, "fail", why.what, why.hint)
    except HostError as error:
        return Check(name, "fail", error.what, error.hint)
    kinds = "mount, network and process" if os.geteuid() == 0 else "user, mount, network and process"
    return Check(name, "ok", f"{kinds} namespaces can be made")


def explain_namespaces(details: str = "") -> HostError:
    """Error for a host that refused namespaces; `details` is what the refusing program said."""
    for check in NAMESPACE_CHECKS:
        found = check()
        if found.status == "fail":
            return HostError(f"namespaces can't be made: {found.found}", details=details, hint=found.remedy)
    said = details.strip().splitlines()
    if "/proc" in details and "mount" in details:
        return HostError(
            "namespaces can't be made: /proc can't be mounted in them, as in a container that covers parts of it",
            details=details,
            hint="start the container with --security-opt systempaths=unconfined",
        )
    if _seccomp():
        return HostError(
            f"namespaces can't be made: a seccomp filter is in force{': ' + said[-1] if said else ''}",
            details=details,
            hint="in a container, start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
        )
    return HostError(
        f"namespaces can't be made{': ' + said[-1] if said else ''}",
        details=details,
        hint=f"see what this says: {' '.join([*namespace_argv(), '--net', 'true'])}",
    )


def user_namespaces() -> Check:
    """Check that the kernel lets this user make user namespaces at all."""
    name = "user namespaces"
    if os.geteuid() == 0:
        return Check(name, "ok", "not needed as root")
    limit = _sysctl("user/max_user_namespaces")
    if limit is None:
        return Check(name, "fail", "the kernel has none", "boot a kernel with CONFIG_USER_NS")
    if limit == "0":
        return Check(name, "fail", "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=15000")
    for switch, forbids in (("unprivileged_userns_clone", "0"), ("apparmor_restrict_unprivileged_userns", "1")):
        if _sysctl(f"kernel/{switch}") == forbids:
            allows = 1 - int(forbids)
            return Check(name, "fail", f"kernel.{switch} is {forbids}", f"sysctl -w kernel.{switch}={allows}")
    return Check(name, "ok", f"up to {limit}")


def capabilities() -> Check:
    """Check that root really is root: in most containers it may not make namespaces."""
    name = "capabilities"
    if os.geteuid() != 0:
        return Check(name, "ok", "not needed as an ordinary user")
    effective = int(_status().get("CapEff", "0"), 16)
    needed = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
    missing = [cap for cap, bit in needed.items() if not effective >> bit & 1]
    if missing:
        return Check(
            name,
            "fail",
            f"root lacks {' and '.join(missing)}, as in a locked-down container",
            "start the container with --privileged, or run as an ordinary user of a host with user namespaces",
        )
    return Check(name, "ok", "root has " + " and ".join(needed))


def subids() -> Check:
    """Check that the user has ranges of user and group ids to map: libvirt and dnsmasq change theirs."""
    name = "subordinate ids"
    if os.geteuid() == 0:
        return Check(name, "ok", "not needed as root")
    user = user_name(os.geteuid())
    names = {user, str(os.geteuid())}
    missing = [path for path in ("/etc/subuid", "/etc/subgid") if _range(path, names) < _IDS]
    if missing:
        options = {"/etc/subuid": "--add-subuids", "/etc/subgid": "--add-subgids"}
        ranges = " ".join(f"{options[path]} {_free_range(path)}" for path in missing)
        found = f"{user} has no range of 65536 ids in {' and '.join(missing)}"
        return Check(name, "fail", found, f"usermod {ranges} {user} (as root)")
    return Check(name, "ok", f"{user} has ranges in /etc/subuid and /etc/subgid")


_MAPPERS_NEED: Final = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SYS_ADMIN": 21}
"""With their numbers (capabilities(7)); to write the map of another user's namespace."""


def id_mappers() -> Check:
    """Check that the programs that map those ids are there and may do so."""
    name = "newuidmap, newgidmap"
    if os.geteuid() == 0:
        return Check(name, "ok", "not needed as root")
    for program in ("newuidmap", "newgidmap"):
        path = which(program)
        if not path:
            return Check(name, "fail", f"{program} is not installed", package_hint(program))
        if not os.stat(path).st_mode & 0o4000 and not _file_capabilities(path):
            return Check(name, "fail", f"{path} is not setuid", f"chmod u+s {path} (as root)")
    if _status().get("NoNewPrivs") == "1":
        return Check(name, "fail", "no_new_privs is set, so they have no rights", "start Lago without no_new_privs")
    bounds = int(_status().get("CapBnd", "-1"), 16)
    if lacking := [cap for cap, bit in _MAPPERS_NEED.items() if not bounds >> bit & 1]:
        found = f"they can't get {' and '.join(lacking)}, as in a locked-down container"
        return Check(name, "fail", found, f"give the container {' '.join(f'--cap-add {cap}' for cap in lacking)}")
    return Check(name, "ok", "installed, with their rights")


def places_of_programs() -> list[str]:
    """Directories of the programs that a private hypervisor runs, where these are not among those of the system."""
    from .confine import under_system

    found = [path for path in map(which, _RUN) if path is not None]
    # They may be links, in a directory of links.
    named = {*found, *map(os.path.realpath, found)}
    return sorted({os.path.dirname(path) for path in named if not under_system(path)})


def confinement() -> Check:
    """Check that guests which root runs can be confined; it makes namespaces, and a view of files."""
    name = "confinement"
    if os.geteuid() != 0:
        return Check(name, "ok", "guests have the rights of an ordinary user")
    if config.get("confine") == "no":
        return Check(
            name, "warn", "guests have all rights of root: confine is no", "leave out confine, or set it to auto"
        )
    place = config.template_store()
    while not os.path.exists(place):
        place = os.path.dirname(place)
    try:
        first = ids.block("doctor")
        words = [_SOURCE, str(first), str(ids.COUNT), place]
        run([*_unshare("--mount-proc"), sys.executable, "-I", "-S", "-c", _CONFINE, *words], timeout=30)
    except CommandError as error:
        said = error.details.strip().splitlines()
        remedy = "put environments and templates on ext4, xfs or btrfs (in a container, on a volume), or use no root"
        return Check(name, "warn", f"guests have all rights of root: {said[-1] if said else error.what}", remedy)
    except HostError as error:
        return Check(name, "warn", f"guests have all rights of root: {error.what}", error.hint)
    return Check(name, "ok", f"guests have ids of their own, such as {first}, and few files in view")


def tun() -> Check:
    """Check that network interfaces for guests can be made."""
    name, device = "/dev/net/tun", "/dev/net/tun"
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Check(name, "fail", "it is not there", "modprobe tun, or give the container --device /dev/net/tun")
    except OSError as error:
        return Check(name, "fail", f"it can't be opened: {error.strerror}", f"chmod 666 {device} (as root)")
    return Check(name, "ok", "it can be opened")


def libvirt_drivers() -> Check:
    """Check that libvirtd has the parts that private hypervisors need, which may be packages of their own."""
    name, libvirtd = "libvirt drivers", which("libvirtd")
    if libvirtd is None:
        return Check(name, "fail", "the program libvirtd is not installed", package_hint("libvirtd"))
    prefix = glob.escape(os.path.dirname(os.path.dirname(os.path.realpath(libvirtd))))
    places = [path for lib in ("lib*", "lib/*") for path in glob.glob(f"{prefix}/{lib}/libvirt/connection-driver")]
    if not places:
        return Check(name, "warn", f"can't tell: none are where those of {libvirtd} belong")
    files = {file for place in places for file in os.listdir(place)}
    missing = [driver for driver in _DRIVERS if f"libvirt_driver_{driver}.so" not in files]
    if missing:
        packages = " ".join(f"libvirt-daemon-driver-{driver}" for driver in missing)
        found = f"libvirt's driver for {' and '.join(_DRIVERS[driver] for driver in missing)} is not installed"
        return Check(name, "fail", found, f"apt-get install {packages}")
    return Check(name, "ok", ", ".join(_DRIVERS))


_DRIVERS: Final = {"qemu": "machines", "network": "networks"}
_IDS: Final = 65536
_FIRST_ID: Final = 100000
"""Where useradd(8) begins to give them out."""

NAMESPACE_CHECKS: Final[tuple[Callable[[], Check], ...]] = (user_namespaces, capabilities, subids, id_mappers)
"""Why namespaces may be refused, likely causes first."""


def _rows(path: str) -> list[tuple[str, int, int]]:
    """What a file of subordinate ids says (subuid(5)): user, first id, number of ids."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.strip().split(":") for line in file]
    except OSError:
        return []
    return [
        (row[0], int(row[1]), int(row[2])) for row in rows if len(row) == 3 and row[1].isdigit() and row[2].isdigit()
    ]


def _range(path: str, names: set[str]) -> int:
    """The longest range of ids that `path` gives one of `names`."""
    return max((count for name, _, count in _rows(path) if name in names), default=0)


def _free_range(path: str) -> str:
    """A range of ids that nobody has, as usermod(8) wants it."""
    first = _FIRST_ID
    for _, taken, count in sorted(_rows(path), key=lambda row: row[1]):
        if first + _IDS <= taken:
            break
        first = max(first, taken + count)
    return f"{first}-{first + _IDS - 1}"


def _sysctl(name: str) -> str | None:
    try:
        with open(f"/proc/sys/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _status() -> dict[str, str]:
    """The fields of this process's status."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        rows = (line.partition(":") for line in file)
        return {key: value.strip() for key, _, value in rows}


def _seccomp() -> bool:
    return _status().get("Seccomp", "0") == "2"


def _file_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False
