"""Screens and keyboards: VNC, `lago screenshot`, `send_keys`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import png
import pytest

from lago import Prefix
from lago.virt import VM

from .box import ONE, Box


@pytest.fixture(scope="module")
def vm(module_box: Box) -> Iterator[VM]:
    """A machine that runs."""
    module_box.up_warm(ONE)
    env = Prefix(str(module_box.prefix)).virt_env
    yield env.get_vm("vm0")
    env.close()


def test_a_screenshot_shows_what_the_firmware_wrote(vm: VM, module_box: Box) -> None:
    module_box.lago("screenshot", "vm0", "screen.png")
    width, height, rows, _ = png.Reader(bytes=(module_box.place / "screen.png").read_bytes()).asRGB8()
    pixels = [value for row in rows for value in row]
    assert (width, height, len(pixels)) == (720, 400, 720 * 400 * 3)
    lit = sum(1 for value in pixels if value)
    assert 1000 < lit < len(pixels) / 4, "text on a black ground"
    # The text is at the top, left.
    assert any(pixels[: 720 * 3 * 16])
    assert not any(pixels[-720 * 3 * 16 :])


def test_a_picture_replaces_a_file_only_as_a_whole(vm: VM, module_box: Box) -> None:
    refused = module_box.lago("screenshot", "vm0", "no/such/directory.png", code=2)
    assert "no/such/directory.png: No such file or directory\nhint: mkdir -p" in refused.err
    assert "there is no machine vm\nhint: did you mean vm0?" in module_box.lago("screenshot", "vm", "a.png", code=2).err
    assert not list(module_box.place.glob("*a.png*"))


def test_a_text_is_typed_on_the_keyboard(vm: VM) -> None:
    text = "Gr {a|b} \"x\" 'y' ~`^<>?\\/_+=-0123456789 The End"
    heard: list[bytes] = []
    reader = threading.Thread(
        target=lambda: heard.append(vm.ssh("(echo; echo ready) >/dev/console; head -n1 </dev/tty1").out)
    )
    reader.start()
    vm.wait_for_console_text("^ready", 30)
    vm.send_keys(text)
    vm.send_keys("ret")
    reader.join(30)
    assert heard == [f"{text}\n".encode()]


def test_vnc_speaks_on_a_loopback_port_of_the_hypervisor(vm: VM) -> None:
    assert int(vm.vnc_port()) >= 5900
    with vm.env.hypervisor.connect("127.0.0.1", int(vm.vnc_port()), 5) as client:
        assert client.recv(12) == b"RFB 003.008\n"


def test_lago_vnc_forwards_the_screen_until_it_is_interrupted(vm: VM, module_box: Box) -> None:
    with module_box.until_interrupted("vnc", "vm0") as process:
        assert process.stdout is not None
        host, port = process.stdout.readline().strip().removeprefix("vnc://").split(":")
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port)), 5) as client:
            client.settimeout(10)
            assert client.recv(12) == b"RFB 003.008\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)


def test_control_alt_delete_reboots(vm: VM) -> None:
    vm.send_keys("ctrl-alt-delete")
    vm.wait_for_console_text("lago-init: reboot", 60)
    vm.wait_for_console_text("ssh started", 120)


def test_what_does_not_run_has_no_screen(vm: VM, module_box: Box, tmp_path: Path) -> None:
    module_box.lago("stop")
    for words in (("vnc", "vm0"), ("screenshot", "vm0", str(tmp_path / "x.png")), ("console", "vm0")):
        done = module_box.lago(*words, code=2)
        assert done.err == "lago: vm0 is not running, it is down\nhint: lago start vm0\n", words
    assert not list(tmp_path.iterdir())
