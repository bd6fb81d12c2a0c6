"""The floor of a boot: machines under bare QEMU, on taps of a bridge with a DHCP server, in namespaces of their own.

`boot` runs this file as a program in those namespaces. It reads what to boot on standard input, and prints the seconds
from the start of the first QEMU until all machines have run `true` over ssh. With it everything it started ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_PACE = 0.05
_PATIENCE = 1.0
_DEADLINE = 600.0


def boot(spec: dict[str, Any]) -> float:
    """Boot machines; seconds until all of them answer.

    `spec` has `accel`, `room` (a directory), `gateway`, `user`, `key`, and in `vms` of each `ip`, `mac`, `memory` in
    MiB, `vcpu`, `kernel`, `initrd`, `cmdline`, `disk` (qcow2), `seed`.
    """
    users = [] if os.geteuid() == 0 else ["--user", "--map-auto", "--map-root-user"]
    argv = ["unshare", *users, "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run([*argv, sys.executable, __file__], input=json.dumps(spec), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"bare QEMU: exit status {done.returncode}\n{done.stderr}")
    return float(done.stdout)


def _sh(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def _network(spec: dict[str, Any]) -> None:
    _sh("ip", "link", "set", "lo", "up")
    _sh("ip", "link", "add", "br0", "type", "bridge")
    _sh("ip", "address", "add", f"{spec['gateway']}/24", "dev", "br0")
    _sh("ip", "link", "set", "br0", "up")
    for number in range(len(spec["vms"])):
        _sh("ip", "tuntap", "add", f"tap{number}", "mode", "tap")
        _sh("ip", "link", "set", f"tap{number}", "master", "br0", "up")
    files = ["--conf-file=/dev/null", "--pid-file", f"--dhcp-leasefile={spec['room']}/leases", "--user=root"]
    hosts = [f"--dhcp-host={vm['mac']},{vm['ip']}" for vm in spec["vms"]]
    # It returns when it listens.
    _sh("dnsmasq", *files, "--port=0", "--interface=br0", f"--dhcp-range={spec['gateway']},static", *hosts)


def _qemu(spec: dict[str, Any], number: int) -> list[str]:
    vm = spec["vms"][number]
    argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", spec["accel"], "-cpu", "max"]
    argv += ["-m", str(vm["memory"]), "-smp", str(vm["vcpu"]), "-nodefaults", "-display", "none"]
    argv += ["-serial", f"file:{spec['room']}/console{number}"]
    argv += ["-kernel", vm["kernel"], "-initrd", vm["initrd"], "-append", vm["cmdline"]]
    argv += ["-drive", f"file={vm['disk']},if=none,id=disk,format=qcow2", "-device", "virtio-blk-pci,drive=disk"]
    argv += ["-drive", f"file={vm['seed']},if=none,id=seed,format=raw,readonly=on"]
    argv += ["-device", "virtio-blk-pci,drive=seed"]
    argv += ["-netdev", f"tap,id=net,ifname=tap{number},script=no,downscript=no"]
    return [*argv, "-device", f"virtio-net-pci,netdev=net,mac={vm['mac']}"]


def _boot_one(spec: dict[str, Any], number: int) -> None:
    address = spec["vms"][number]["ip"]
    qemu = subprocess.Popen(_qemu(spec, number), stdin=subprocess.DEVNULL, stdout=sys.stderr)
    deadline = time.monotonic() + _DEADLINE
    settings = ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oBatchMode=yes"]
    ssh = ["ssh", "-F", "/dev/null", *settings, "-i", spec["key"], f"{spec['user']}@{address}", "true"]
    _wait_for_port(address, deadline)
    while subprocess.run(ssh, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode != 0:
        if qemu.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{address} does not answer")
        time.sleep(_PACE)


def _wait_for_port(address: str, deadline: float) -> None:
    """Return when ssh's port is open; attempts overlap, as one that meets a guest not yet ready learns of it late."""
    with contextlib.ExitStack() as stack:
        attempts: list[tuple[socket.socket, float]] = []
        while (now := time.monotonic()) < deadline:
            for old in [one for one in attempts if one[1] < now]:
                attempts.remove(old)
                old[0].close()
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((address, 22))
            attempts.append((one, now + _PATIENCE))
            while (left := now + _PACE - time.monotonic()) > 0:
                settled = select.select([], [one for one, _ in attempts], [], left)[1]
                if any(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 for one in settled):
                    return
                attempts = [attempt for attempt in attempts if attempt[0] not in settled]
    raise RuntimeError(f"port 22 of {address} does not open")


def _main() -> None:
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    spec = json.load(sys.stdin)
    _network(spec)
    began = time.perf_counter()
    with ThreadPoolExecutor(len(spec["vms"])) as pool:
        list(pool.map(lambda number: _boot_one(spec, number), range(len(spec["vms"]))))
    print(time.perf_counter() - began, flush=True)
    # Not waiting for QEMUs: we are process 1, and they end with us.
    os._exit(0)


if __name__ == "__main__":
    _main()
