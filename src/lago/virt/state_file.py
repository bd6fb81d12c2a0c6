"""The file with what devices of a machine hold: libvirt's description of the machine, and then QEMU's stream.

The description comes behind its length in bytes, which is a line.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from typing import BinaryIO

from . import stream


def write_text(file: BinaryIO, text: bytes) -> None:
    """Begin a file with a description. Raises OSError."""
    file.write(b"%d\n" % len(text) + text)


def read_text(file: BinaryIO) -> bytes:
    """Read the description; the stream comes next. Raises OSError."""
    return file.read(int(file.readline()))


def read_description(file: BinaryIO) -> ET.Element:
    """Read the description, parsed; the stream comes next. Raises OSError."""
    return ET.fromstring(read_text(file))  # noqa: S314 - libvirt's own


def read_head(file: BinaryIO) -> stream.Head:
    """Read on until the pages of memory begin. Raises OSError, HypervisorError if the stream is none that we know."""
    file.seek(int(file.readline()), os.SEEK_CUR)
    return stream.head(file)
