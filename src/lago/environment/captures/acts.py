"""What is done with captures: begun, ended."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ... import config
from ...errors import CommandError, LagoError, LockTimeout
from ...host import beside, waiting
from ...host.locks import end_holders, lock_file
from ...host.parallel import in_parallel
from ...host.programs import DEVNULL, run, spawn
from ...host.suggest import near
from ...journal.writing import Journal, outcome_of, said_by
from ...log import LOG
from ...version import installed
from . import MOST, recorder, ring
from .model import Capture, load, runs, state_of
from .programs import Program, choose

if TYPE_CHECKING:
    from ...paths import Paths
    from ...topology.model import Net, Topology
    from ...virt import VirtEnv

_PATIENCE: Final = 60
_BRIEF: Final = 1.0
_COMPILING: Final = 30

LEAST: Final = 64
"""Bytes of a packet that are kept at least: what its headers take."""


def check_names(topology: Topology, nets: Iterable[str]) -> list[str]:
    """Return names of nets, each once; all if none are given. Raises LagoError if there is none of a name."""
    wanted = list(dict.fromkeys(nets))
    for name in wanted:
        if name not in topology.nets:
            raise LagoError(f"there is no net {name}", hint=near(name, topology.nets))
    return wanted or list(topology.nets)


class Wanted(NamedTuple):
    """What is to be captured of a net.

    Attributes:
        filter: expression of libpcap that packets must meet, or nothing.
        snaplen: bytes of a packet that are kept.
        owner: who begins it, as `Capture` has it.
    """

    filter: str
    snaplen: int
    owner: str


def start(env: VirtEnv, topology: Topology, nets: Sequence[str], wanted: Wanted) -> list[Capture]:
    """Begin to capture nets, all or none, and return when packets are recorded.

    Args:
        nets: their names; none are all that are up.

    Raises:
        LagoError: a net is captured already, or not up; the filter is none; a value is out of its bounds.
        HostError: no program that captures is installed.
    """
    names = check_names(topology, nets)
    if env.hypervisor.shared:
        raise LagoError(
            "packets can't be captured on a libvirt that is shared with others: the nets there are not ours alone",
            hint="make the environment with libvirt_url = private, the default; or capture the bridge there yourself",
        )
    if not LEAST <= wanted.snaplen <= MOST:
        raise LagoError(f"of a packet {LEAST} to {MOST} bytes can be kept, not {wanted.snaplen}")
    if not wanted.filter.isprintable():
        raise LagoError(f"{wanted.filter!r} is no filter: it has control characters")
    program = choose()
    up = set(env.nets_up())
    if down := [name for name in names if name not in up]:
        if nets or not up:
            raise LagoError(f"not up: {', '.join(down)}", hint="lago start")
        names = [name for name in names if name in up]
    for name in names:
        if runs(env.paths, name, wanted.owner):
            raise _already(name)
    if wanted.filter:
        _check_filter(env, program, names[0], wanted.filter)
    begun: list[Capture] = []
    try:
        in_parallel(
            lambda name: begun.append(_start(env, topology, name, program, wanted)),
            names,
            what="capture nets",
        )
    except BaseException:
        for one in begun:
            remove(stop(env.paths, [one.net], wanted.owner))
        raise
    return sorted(begun, key=lambda one: names.index(one.net))


def _already(net: str) -> LagoError:
    return LagoError(f"net {net} is being captured already", hint=f"lago capture stop {net} ends that")


def _check_filter(env: VirtEnv, program: Program, net: str, filter_: str) -> None:
    argv = program.check(env.get_net(net).bridge_name(), filter_)
    try:
        done = run(env.hypervisor.command(argv), check=False, timeout=_COMPILING)
    except CommandError as error:
        raise LagoError(f"whether {filter_!r} is a filter can't be told", details=error.details) from None
    if done or not done.out.strip():
        raise LagoError(
            f"{filter_!r} is no filter of packets", details=done.tail(), hint="man pcap-filter; such as 'tcp port 80'"
        )


def _start(env: VirtEnv, topology: Topology, net: str, program: Program, wanted: Wanted) -> Capture:
    os.makedirs(env.paths.captures(), mode=0o700, exist_ok=True)
    try:
        with lock_file(env.paths.capture_lock(net, wanted.owner), what=f"net {net}", timeout=_BRIEF) as lock:
            path = _new_path(env.paths, net)
            device = env.get_net(net).bridge_name()
            since = time.time()
            settings = {
                **description(topology, topology.nets[net], device),
                "argv": env.hypervisor.command(program.capture(device, wanted.filter, wanted.snaplen)),
                "file": path,
                "state": state_of(path),
                "size": config.get("capture_size") << 20,
                "files": config.get("capture_files"),
                "snaplen": wanted.snaplen,
                "filter": wanted.filter,
                "version": installed(),
                "facts": {
                    "net": net,
                    "since": since,
                    "filter": wanted.filter,
                    "program": program.name,
                    "owner": wanted.owner,
                },
                "prefix": env.paths.prefix(),
            }
            _begin(settings, lock, net)
    except LockTimeout:
        raise _already(net) from None
    LOG.info("net %s is captured: %s", net, path)
    return Capture(net, [path], since, True, filter=wanted.filter, program=program.name, owner=wanted.owner)


def _new_path(paths: Paths, net: str) -> str:
    name = f"{net}-{time.strftime('%Y%m%d-%H%M%S')}"
    found, number = paths.captures(name + ring.SUFFIX), 1
    while os.path.exists(found) or os.path.exists(state_of(found)):
        number += 1
        found = paths.captures(f"{name}-{number}{ring.SUFFIX}")
    return found


def _begin(settings: dict[str, Any], lock: int, net: str) -> None:
    """Have packets recorded. The end of that is written to the journal by the program that does."""
    prefix = settings["prefix"]
    span = Journal(prefix).span("capture", net=net, file=os.path.relpath(settings["file"], prefix))
    try:
        _launch({**settings, "span": span.id}, lock, net)
    except BaseException as error:
        span.close(outcome_of(error), error=said_by(error))
        raise


def _launch(settings: dict[str, Any], lock: int, net: str) -> None:
    read, write = os.pipe()
    argv = beside.argv(recorder.__name__, json.dumps(settings), str(write))
    try:
        with spawn(argv, stdout=DEVNULL, stderr=DEVNULL, pass_fds=[write, lock], cwd="/") as parent:
            parent.wait()
        os.close(write)
        write = -1
        ready = waiting.readable([read], _PATIENCE)
        data = os.read(read, 1 << 16) if ready else b""
    finally:
        for fd in (read, write):
            if fd >= 0:
                os.close(fd)
    answer = json.loads(data) if data else {"error": "it ended at once" if ready else f"not ready in {_PATIENCE} s"}
    if "ok" not in answer:
        raise LagoError(f"net {net} can't be captured", details=answer["error"], hint="lago doctor")


def description(topology: Topology, net: Net, device: str) -> dict[str, Any]:
    """What a file says of a net and its machines, for the recorder.

    The first interface is the net itself; each nic is one more, for the packets that come from its hardware address.
    """
    nics = [(vm, nic) for vm in topology.domains.values() for nic in vm.nics if nic.net == net.name]
    lines = [
        f"{vm.name} {nic.name}: {', '.join(str(one) for one in (nic.mac, nic.ip, nic.ip6) if one)}" for vm, nic in nics
    ]
    gateway = f", gateway {net.gw}" if net.gw else ""
    names: dict[str, list[str]] = {}
    for vm, nic in nics:
        for address in (nic.ip, nic.ip6):
            if address:
                names.setdefault(str(address), []).append(vm.name)
    comment = "\n".join([f"net {net.name} ({net.type}{gateway})", *lines])
    own = {
        "name": net.name,
        "description": f"net {net.name} ({net.type}{gateway}), device {device}: packets of none of its machines",
        "comment": comment,
        "mac": "",
    }
    others = [
        {
            "name": f"{vm.name}:{nic.name}",
            "description": f"packets that {vm.name} sent on net {net.name}, by the address {nic.mac}",
            "comment": line,
            "mac": nic.mac,
        }
        for (vm, nic), line in zip(nics, lines, strict=True)
    ]
    return {"comment": comment, "interfaces": [own, *others], "names": names}


def stop(paths: Paths, nets: Iterable[str] = (), owner: str | None = None) -> list[Capture]:
    """End captures, and return them when their files are complete.

    Args:
        nets: names of nets; without them all that are captured. Of one whose capture has ended by itself it is the last
            one.
        owner: whose captures these are; None for those of all.

    Raises:
        LagoError: a net that is named was never captured.
    """
    captures = [one for one in load(paths) if owner is None or one.owner == owner]
    running = [one for one in captures if one.running]
    wanted = list(nets)
    newest = {one.net: one for one in captures}
    if missing := [name for name in wanted if name not in newest]:
        raise LagoError(f"not captured: {', '.join(missing)}", hint="lago capture list")
    doomed = [newest[name] for name in wanted] if wanted else running
    in_parallel(
        lambda one: end_holders(paths.capture_lock(one.net, one.owner)),
        [one for one in doomed if one.running],
        what="end captures",
    )
    meant = {one.files[-1] for one in doomed}
    return [one for one in load(paths) if one.files[-1] in meant]


def remove(captures: Iterable[Capture]) -> None:
    """Remove the files of captures that have ended."""
    for one in captures:
        for path in [*ring.files(one.files[-1]), state_of(one.files[-1])]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
