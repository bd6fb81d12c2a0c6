"""What capturing programs say (pcap), and the files that we make of it (pcapng).

Sources: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html; names of fields and options are theirs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from . import MOST

_MICROSECONDS: Final = 0xA1B2C3D4
_NANOSECONDS: Final = 0xA1B23C4D
_HEADER: Final = 24
_RECORD: Final = 16

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_NAMES: Final = 4
_STATISTICS: Final = 5
_PACKET: Final = 6

_COMMENT: Final = 1
_SHB_USERAPPL: Final = 4
_IF_NAME: Final = 2
_IF_DESCRIPTION: Final = 3
_IF_MACADDR: Final = 6
_IF_TSRESOL: Final = 9
_IF_FILTER: Final = 11
_ISB_IFRECV: Final = 4
_ISB_OSDROP: Final = 7
_NRB_IPV4: Final = 1
_NRB_IPV6: Final = 2

_LONGEST: Final = 0xFFF0
"""Bytes of an option or record."""


class Packet(NamedTuple):
    """A packet as it was captured.

    Attributes:
        nanoseconds: since 1970.
        length: bytes that it had.
        data: those that are kept.
    """

    nanoseconds: int
    length: int
    data: bytes


class Reader:
    """Packets out of a pcap stream that comes in pieces.

    Attributes:
        link_type: what the packets begin with (1 is Ethernet), once `begun`.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._order = ""
        self._unit = 1
        self.link_type = 0

    @property
    def begun(self) -> bool:
        """Whether its header has come."""
        return bool(self._order)

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that are complete with these bytes.

        Raises:
            ValueError: this is no pcap.
        """
        self._rest += data
        at = 0
        if not self._order:
            if len(self._rest) < _HEADER:
                return []
            self._read_header()
            at = _HEADER
        packets = []
        while len(self._rest) - at >= _RECORD:
            seconds, fraction, kept, length = struct.unpack_from(f"{self._order}4I", self._rest, at)
            if kept > MOST:
                raise ValueError(f"a packet of {kept} bytes in pcap")
            if len(self._rest) - at < _RECORD + kept:
                break
            at += _RECORD
            packets.append(Packet(seconds * 1_000_000_000 + fraction * self._unit, length, self._rest[at : at + kept]))
            at += kept
        self._rest = self._rest[at:]
        return packets

    def _read_header(self) -> None:
        for order in "<>":
            magic, *_, link_type = struct.unpack_from(f"{order}IHHiIII", self._rest)
            if magic in (_MICROSECONDS, _NANOSECONDS):
                self._order = order
                self._unit = 1 if magic == _NANOSECONDS else 1000
                # Its upper bits say whether packets end with a checksum.
                self.link_type = link_type & 0xFFFF
                return
        raise ValueError(f"no pcap begins with {self._rest[:4]!r}")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: str | bytes) -> bytes:
    data = (value.encode(errors="replace") if isinstance(value, str) else value)[:_LONGEST]
    if isinstance(value, str):
        # No character may be cut in two.
        data = data.decode(errors="ignore").encode()
    return struct.pack("<HH", code, len(data)) + _padded(data) if data else b""


def _block(kind: int, body: bytes, options: bytes = b"") -> bytes:
    content = _padded(body) + (options + bytes(4) if options else b"")
    length = len(content) + 12
    return struct.pack("<II", kind, length) + content + struct.pack("<I", length)


def section(program: str, comment: str) -> bytes:
    """The block that a file begins with."""
    # Of a length that is not known beforehand.
    body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    return _block(_SECTION, body, _option(_COMMENT, comment) + _option(_SHB_USERAPPL, program))


def interface(
    name: str,
    *,
    link_type: int,
    most: int,
    description: str = "",
    comment: str = "",
    mac: str = "",
    filter_: str = "",
) -> bytes:
    """The block of an interface; packets refer to the interfaces of their file by number, from 0.

    Args:
        most: bytes of a packet that are kept.
        filter_: an expression of libpcap.
    """
    options = [
        _option(_COMMENT, comment),
        _option(_IF_NAME, name),
        _option(_IF_DESCRIPTION, description),
        _option(_IF_MACADDR, bytes.fromhex(mac.replace(":", ""))),
        # Nanoseconds.
        _option(_IF_TSRESOL, b"\x09"),
        # What stands behind a 0 is text.
        _option(_IF_FILTER, b"\0" + filter_.encode(errors="replace") if filter_ else b""),
    ]
    return _block(_INTERFACE, struct.pack("<HHI", link_type, 0, most), b"".join(options))


def names(known: Mapping[str, Iterable[str]]) -> bytes:
    """The block by which readers show names in place of addresses; none if there are none.

    Args:
        known: names by IPv4 or IPv6 address.
    """
    import ipaddress

    records = []
    for address, called in known.items():
        packed = ipaddress.ip_address(address).packed
        data = (packed + b"".join(name.encode() + b"\0" for name in called))[:_LONGEST]
        kind = _NRB_IPV4 if len(packed) == 4 else _NRB_IPV6
        records.append(struct.pack("<HH", kind, len(data)) + _padded(data))
    return _block(_NAMES, b"".join(records) + bytes(4)) if records else b""


def packet(one: Packet, interface_number: int) -> bytes:
    """The block of a packet."""
    high, low = one.nanoseconds >> 32, one.nanoseconds & 0xFFFFFFFF
    return _block(_PACKET, struct.pack("<5I", interface_number, high, low, len(one.data), one.length) + one.data)


def statistics(interface_number: int, nanoseconds: int, received: int, dropped: int | None) -> bytes:
    """The block that says at the end how many packets there were, and how many the kernel dropped, if that is known."""
    options = _option(_ISB_IFRECV, struct.pack("<Q", received))
    if dropped is not None:
        options += _option(_ISB_OSDROP, struct.pack("<Q", dropped))
    return _block(
        _STATISTICS, struct.pack("<3I", interface_number, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF), options
    )


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole blocks that a file of ours has: kind and body of each.

    Raises:
        ValueError: something else stands there.
    """
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at) if len(data) - at >= 12 else (0, 0)
        if (
            length < 12
            or length % 4
            or at + length > len(data)
            or data[at + length - 4 : at + length] != data[at + 4 : at + 8]
        ):
            raise ValueError(f"no whole block at byte {at}")
        yield kind, data[at + 8 : at + length - 4]
        at += length
