"""Pictures of screens, as other programs read them."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import png
import pytest

from lago.errors import VMError
from lago.virt.picture import png_of_ppm, size

SIZES = [(1, 1), (3, 2), (7, 5), (720, 400)]


def ppm(width: int, height: int, seed: int = 1) -> tuple[bytes, list[bytes]]:
    """A picture as QEMU makes it, and its lines; they begin with what might be taken for the end of its head."""
    rng = random.Random(seed)
    lines = [(b" \n5" + rng.randbytes(3 * width))[: 3 * width] for _ in range(height)]
    return b"P6\n%d %d\n255\n" % (width, height) + b"".join(lines), lines


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_is_read_by_another_decoder_pixel_by_pixel(width: int, height: int) -> None:
    data, lines = ppm(width, height)
    found_width, found_height, rows, info = png.Reader(bytes=png_of_ppm(data)).read()
    assert (found_width, found_height, [bytes(row) for row in rows]) == (width, height, lines)
    assert (info["bitdepth"], info["greyscale"], info["alpha"], info["interlace"]) == (8, False, False, 0)


@pytest.mark.programs
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_is_drawn_by_graphviz_whose_decoder_is_libpng(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "screen.png").write_bytes(png_of_ppm(ppm(width, height)[0]))
    text = 'digraph { a [image="screen.png" shape=none label="" margin=0] }'
    done = subprocess.run(["dot", "-Tpng"], cwd=tmp_path, input=text.encode(), capture_output=True, check=True)
    assert not done.stderr
    assert done.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P5\n1 1\n255\nx",
        b"P6\n1 1\n65535\n123456",
        b"P6\n0 1\n255\n",
        b"P6\nx 1\n255\n123",
        ppm(3, 2)[0][:-1],
    ],
)
def test_what_is_no_whole_picture_is_an_error(data: bytes) -> None:
    with pytest.raises(VMError, match="the picture of the screen has an unknown format"):
        png_of_ppm(data)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_size_of_a_picture_is_found_in_both_forms(width: int, height: int) -> None:
    data, _ = ppm(width, height)
    assert size(data) == size(png_of_ppm(data)) == (width, height)
    with pytest.raises(VMError, match="unknown format"):
        size(b"GIF89a")
