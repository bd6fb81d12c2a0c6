"""Films of screens and consoles: `lago film`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lago import Prefix
from lago.virt import VM

from .box import ONE, Box


@pytest.fixture
def vm(module_box: Box) -> Iterator[VM]:
    """A machine that runs."""
    module_box.up_warm(ONE)
    env = Prefix(str(module_box.prefix)).virt_env
    yield env.get_vm("vm0")
    env.close()


def probed(path: Path) -> dict[str, str]:
    """What ffprobe finds in a film."""
    wanted = "stream=codec_name,width,height,nb_read_frames"
    argv = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", wanted, "-of", "json", f"file:{path}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    [stream] = json.loads(done.stdout)["streams"]
    return {key: str(value) for key, value in stream.items()}


def cast(path: Path) -> tuple[dict[str, Any], list[tuple[float, str]]]:
    """The header of an asciicast, and when the terminal got what."""
    header, *events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert {kind for _, kind, _ in events} <= {"o"}
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    return header, [(at, text) for at, _, text in events]


@pytest.mark.parametrize(("name", "codec"), [("film.webm", "vp8"), ("film.gif", "gif")])
def test_a_film_of_the_screen_has_as_many_frames_as_its_time(vm: VM, module_box: Box, name: str, codec: str) -> None:
    done = module_box.lago("film", "vm0", name, "--duration", "2", "--rate", "4")
    assert done.err == "recording vm0, for 2 s\n"
    found = probed(module_box.place / name)
    assert found == {"codec_name": codec, "width": "720", "height": "400", "nb_read_frames": "8"}


@pytest.mark.parametrize("name", ["cut.webm", "cut.cast"])
def test_control_c_ends_a_film_with_a_sound_file(vm: VM, module_box: Box, name: str) -> None:
    path = module_box.place / name
    with module_box.until_interrupted("film", "vm0", name) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "recording vm0, Ctrl-C ends it\n"
        assert not path.exists()
    if name.endswith(".webm"):
        assert int(probed(path)["nb_read_frames"]) >= 1
    else:
        assert cast(path)[0]["title"] == "vm0: console"
    assert not list(module_box.place.glob(f"{name}?*"))
    assert not list(module_box.place.glob(f".{name}*"))


def test_a_film_of_the_console_has_what_was_said_when_it_was_said(vm: VM, module_box: Box) -> None:
    vm.ssh("echo 'said before' >/dev/console")
    vm.wait_for_console_text("said before", 60)
    path = module_box.place / "said.cast"
    with module_box.until_interrupted("film", "vm0", "said.cast") as process:
        assert process.stderr is not None
        process.stderr.readline()
        vm.ssh(r"printf '\033[1mbold \303\266\0\377\n' >/dev/console; sleep 1; echo 'said later' >/dev/console")
        vm.wait_for_console_text("said later", 60)
    header, events = cast(path)
    assert abs(header["timestamp"] - time.time()) < 600
    assert (events[0][0] < 0.5, "said before" in events[0][1]) == (True, True)
    text = "".join(text for _, text in events)
    assert "\x1b[1mbold \u00f6\0\ufffd" in text
    [bold] = [at for at, text in events[1:] if "bold" in text]
    later = max(at for at, text in events if "said" in text or "later" in text)
    # On a busy host both may be read at once.
    assert 0 <= later - bold < 60


def test_a_film_ends_with_its_machine(vm: VM, module_box: Box) -> None:
    with module_box.popen("film", "vm0", "end.webm") as film, module_box.popen("film", "vm0", "end.cast") as console:
        for one in (film, console):
            assert one.stderr is not None
            one.stderr.readline()
        module_box.lago("stop")
        assert (film.wait(60), console.wait(60)) == (0, 0)
    assert int(probed(module_box.place / "end.webm")["nb_read_frames"]) >= 1
    assert cast(module_box.place / "end.cast")[0]["version"] == 2


def test_a_film_that_can_not_be_made_leaves_nothing(vm: VM, module_box: Box) -> None:
    for words, said in [
        (("no.avi",), "the ending says what kind of film it is, one of .webm, .gif, .cast"),
        (("no.cast", "--duration", "0"), "a film lasts for more than 0 seconds, not 0"),
        (("no.gif", "--rate", "99"), "a film has 0.1 to 30 frames a second, not 99"),
        (("no/such/no.gif",), "No such file or directory\nhint: mkdir -p"),
    ]:
        assert said in module_box.lago("film", "vm0", *words, code=2).err
    assert not list(module_box.place.glob("*no.*"))
