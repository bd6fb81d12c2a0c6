"""How pages of the manual are read, and what counts as the output that they show."""

from __future__ import annotations

import os
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import pyte
import pytest
from pages import film
from pages.blocks import Command, commands, read, shows
from pages.terminal import Terminal

PAGE = """\
# A page

<!-- run in: nothing -->

<!-- exit status: 2 -->
```console
$ lago start \\
  web
it says this
$ lago stop
```

Something else, with `lago list`.

- In a list:

  <!-- file: LagoInitFile -->
  <!-- not run: it is
       wrong -->
  ```yaml
  domains: 1
  ```

      indented
"""


def test_blocks_have_their_language_and_the_marks_right_before_them(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    page = read(path)
    assert page.place == "nothing"
    assert page.inline == ("lago list",)
    assert [(block.line, block.language, block.marks) for block in page.blocks] == [
        (6, "console", {"exit status": "2"}),
        (20, "yaml", {"file": "LagoInitFile", "not run": "it is wrong"}),
        (24, "", {}),
    ]
    first, second = commands(page.blocks[0])
    assert first == Command("lago start    web", ("it says this",))
    assert second == Command("lago stop", ())


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("web  up    11.9 s", True),
        ("web  up 3.0 s", True),
        ("web  down 3.0 s", False),
        ("web ... s", True),
        ("... up", False),
    ],
)
def test_numbers_and_spaces_may_differ_and_words_may_not(line: str, same: bool) -> None:
    assert shows("starting\n  web   up     7.25 s  \n", line) is same


def test_a_path_of_the_reader_is_any_path_and_a_digest_any_digest() -> None:
    assert shows("/tmp/x/.lago/default  uuid d1d5b7", "/home/you/.lago/default  uuid 85a27e")
    assert not shows("/tmp/x/.lago/other  uuid d1d5b7", "/home/you/.lago/default  uuid 85a27e")


def test_a_film_is_an_svg_that_has_each_line_once() -> None:
    screen = pyte.Screen(20, 3)
    stream = pyte.Stream(screen)
    frames = []
    for time, text in enumerate(("\x1b[1;32m$\x1b[0m a <b>", "\r\nsaid", "\r\nmore")):
        stream.feed(text)
        frames.append(film.frame(time, screen))
    drawn = ET.fromstring(film.svg(frames, 20, "three & frames"))
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["$", "a <b>", "said", "more"]
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}use"))) == 6


@pytest.mark.programs
def test_a_terminal_has_all_that_was_said_also_if_something_goes_on_in_the_background(tmp_path: Path) -> None:
    with Terminal("sleep 60 & echo $!; seq 1 300; exit 3", tmp_path, os.environ) as terminal:
        assert terminal.wait(30) == 3
        pid, *numbers = terminal.text.split()
    os.kill(int(pid), signal.SIGKILL)
    assert numbers == [str(number) for number in range(1, 301)]


@pytest.mark.programs
def test_a_command_is_interrupted_as_by_control_c(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    with Terminal(script, tmp_path, os.environ) as terminal:
        terminal.read_until(lambda: "ready" in terminal.text, 30)
        assert terminal.interrupt(30) == 5
        assert terminal.text == "ready\nbye"
