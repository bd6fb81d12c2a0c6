"""A recording of a terminal as an animated SVG: frames side by side, of which CSS shows one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import pyte

_WIDTH, _HEIGHT, _MARGIN = 8.4, 18, 14
"""Of a character, and around all, in pixels."""

_COLOURS = {
    "default": "#d7dae0",
    "red": "#f7768e",
    "green": "#9ece6a",
    "brown": "#e0af68",
    "blue": "#7aa2f7",
    "magenta": "#bb9af7",
    "cyan": "#7dcfff",
}
_LINGER = 4.0
"""Seconds that the last frame stays."""

Run = tuple[int, str, str, bool]
"""Column, text, colour and boldness of characters that look the same."""

Row = tuple[Run, ...]


@dataclass(frozen=True)
class Frame:
    """What is on the screen from a time on, in seconds."""

    time: float
    rows: tuple[Row, ...]


def frame(time: float, screen: pyte.Screen) -> Frame:
    """What is on a screen now."""
    return Frame(time, tuple(_row(screen, number) for number in range(screen.lines)))


def _row(screen: pyte.Screen, number: int) -> Row:
    runs = []
    line = screen.buffer[number]
    columns = groupby(range(screen.columns), key=lambda column: (line[column].fg, line[column].bold))
    for (colour, bold), group in columns:
        at = list(group)
        text = "".join(line[column].data for column in at)
        if text.strip():
            start = at[0] + len(text) - len(text.lstrip())
            runs.append((start, text.strip(), _COLOURS.get(colour, _COLOURS["default"]), bold))
    return tuple(runs)


def svg(frames: Sequence[Frame], columns: int, title: str) -> str:
    """The animation, which begins anew after its end; for those who want no motion, its last frame."""
    width, height = columns * _WIDTH + 2 * _MARGIN, len(frames[0].rows) * _HEIGHT + 2 * _MARGIN
    rows = {row: f"r{number}" for number, row in enumerate(dict.fromkeys(r for f in frames for r in f.rows if r))}
    end = frames[-1].time + _LINGER
    shown = [f"{f.time / end:.3%}{{transform:translateX({-number * width:g}px)}}" for number, f in enumerate(frames)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
        f"<title>{escape(title)}</title>",
        "<style>text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        f"@keyframes film{{{''.join(shown)}}}#film{{animation:film {end:g}s steps(1,end) infinite}}"
        "@media(prefers-reduced-motion:reduce){#film{animation:none;"
        f"transform:translateX({-(len(frames) - 1) * width:g}px)}}}}</style>",
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#1a1b26"/>',
        "<defs>",
        *(f'<g id="{name}">{"".join(map(_text, row))}</g>' for row, name in rows.items()),
        f'</defs><clipPath id="c"><rect width="{width:g}" height="{height:g}"/></clipPath>',
        '<g clip-path="url(#c)"><g id="film">',
        *(_placed(f, number * width, rows) for number, f in enumerate(frames)),
        "</g></g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(run: Run) -> str:
    column, text, colour, bold = run
    look = f'fill="{colour}"' + (' font-weight="bold"' if bold else "")
    place = f'x="{column * _WIDTH:g}" textLength="{len(text) * _WIDTH:g}"'
    return f"<text {place} {look}>{escape(text)}</text>"


def _placed(one: Frame, left: float, rows: dict[Row, str]) -> str:
    lines = (
        f'<use href="#{rows[row]}" x="{left + _MARGIN:g}" y="{_MARGIN + (number + 0.8) * _HEIGHT:g}"/>'
        for number, row in enumerate(one.rows)
        if row
    )
    return "".join(lines)
