"""A machine's screen and keyboard: VNC, pictures, keys."""

from __future__ import annotations

import io
import time
import xml.etree.ElementTree as ET
from typing import Final

import libvirt

from ..errors import VMError
from ..host.files import write_out
from .connection import refusals
from .keys import strokes
from .machine import Machine
from .picture import png_of_ppm

LOOPBACK: Final = "127.0.0.1"
"""Where VNC listens, in the network of the hypervisor."""

_HOLD: Final = 0.02


def vnc_port(machine: Machine) -> str:
    """Port on the loopback address of its hypervisor where its screen is shown by VNC.

    Raises:
        VMNotRunning: it does not run.
        VMError: it has no screen.
    """
    with refusals(f"{machine.name()}: its screen can't be asked for"):
        root = ET.fromstring(machine.running_domain().XMLDesc())  # noqa: S314 - libvirt's own
    port = next((one.get("port", "-1") for one in root.iterfind("devices/graphics[@type='vnc']")), "-1")
    if port == "-1":
        name = machine.name()
        raise VMError(
            f"{name} has no screen",
            hint=f"machines that earlier releases started have none: lago stop {name}; lago start {name}",
        )
    return port


def screenshot(machine: Machine, path: str) -> None:
    """Write what its screen shows now to a PNG file.

    Raises:
        VMNotRunning: it does not run.
        HypervisorError: libvirt refuses; without a screen it does.
    """
    kind, data = take(machine)
    write_out(path, data if kind == "image/png" else png_of_ppm(data))


def take(machine: Machine) -> tuple[str, bytes]:
    """Return what its screen shows now: a type such as `image/png`, and a picture of that type.

    Raises:
        VMNotRunning: it does not run.
        HypervisorError: libvirt refuses; without a screen it does.
    """
    domain = machine.running_domain()
    received = io.BytesIO()
    with refusals(f"{machine.name()}: there is no picture of its screen"):
        stream = machine.env.libvirt_con.newStream()
        kind = domain.screenshot(stream, 0)
        stream.recvAll(lambda _stream, data, file: file.write(data), received)
        stream.finish()
    return kind, received.getvalue()


def send_keys(machine: Machine, keys: str) -> None:
    """Press keys on its keyboard: a key, a key with modifiers, or a text; see `lago.virt.keys.strokes`.

    Raises:
        VMNotRunning: it does not run.
        VMError: a character is on no key of a US keyboard.
    """
    todo = strokes(keys)
    domain = machine.running_domain()
    for codes in todo:
        with refusals(f"{machine.name()} can't be sent keys"):
            domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, round(1000 * _HOLD), codes, len(codes), 0)
        # QEMU takes them at once and presses them later; nothing tells when, and what is too much it drops.
        time.sleep(2 * _HOLD * len(codes))
