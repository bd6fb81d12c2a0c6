"""Captures: the packets of nets as files that Wireshark and its like read."""

from typing import Final

MOST: Final = 1 << 18
"""Bytes of a packet that capturing programs keep, and no more."""
