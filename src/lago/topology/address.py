"""IPv4 addresses, in nets that are a /24 each."""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}", re.ASCII)

PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""What RFC 1918 leaves to private networks."""


class Address(str):
    """An IPv4 address: text wherever text is wanted, and the four numbers of it.

    Raises:
        ValueError: the text is no address in plain form, such as `192.168.200.7`.
    """

    __slots__ = ("octets",)

    octets: tuple[int, int, int, int]

    def __new__(cls, text: str) -> Address:
        if isinstance(text, Address):
            return text
        numbers = tuple(map(int, text.split("."))) if _PLAIN.fullmatch(text) else (256,)
        if max(numbers) > 255:
            raise ValueError(f"{text} is no IPv4 address")
        return cls.of(*numbers)

    @classmethod
    def of(cls, first: int, second: int, third: int, last: int) -> Address:
        """Make the address with these octets."""
        made = super().__new__(cls, f"{first}.{second}.{third}.{last}")
        made.octets = (first, second, third, last)
        return made

    @classmethod
    def read(cls, text: str) -> Address | None:
        """Return the address that a text is; None if it is none."""
        try:
            return cls(text)
        except ValueError:
            return None

    def with_last(self, last: int) -> Address:
        """Return the address in the same net that ends otherwise."""
        return Address.of(*self.octets[:3], last)

    @property
    def last(self) -> int:
        """Its last octet."""
        return self.octets[3]

    @property
    def subnet(self) -> str:
        """The three octets that its net has in common, such as `192.168.200`."""
        return ".".join(map(str, self.octets[:3]))

    @property
    def only_last(self) -> bool:
        """Whether it is such as 0.0.0.7, which asks for the last octet alone, wherever the net is."""
        return self.octets[:3] == (0, 0, 0)

    @property
    def of_no_machine(self) -> bool:
        """Whether it is that of its net itself, or of all in it."""
        return self.last in (0, 255)

    @property
    def private(self) -> bool:
        """Whether it is in one of the networks `PRIVATE`."""
        first, second = self.octets[:2]
        return first == 10 or (first == 172 and 16 <= second < 32) or (first == 192 and second == 168)
