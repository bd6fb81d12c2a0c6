"""Password hashes as /etc/shadow has them: SHA-512 crypt, by its public specification.

Python's own module for it is gone since 3.13.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

_LETTERS: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS: Final = 5000
_SIZE: Final = 64


def hashed(password: str, salt: str = "") -> str:
    """`$6$<salt>$<hash>`; without a salt, one that nobody else has."""
    salt = salt or "".join(secrets.choice(_LETTERS) for _ in range(16))
    return f"$6${salt}${_spelled(_digest(password.encode(), salt.encode()))}"


def _sha(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def _repeated(data: bytes, length: int) -> bytes:
    return (data * (length // len(data) + 1))[:length]


def _digest(password: bytes, salt: bytes) -> bytes:
    other = _sha(password, salt, password)
    bits = []
    count = len(password)
    while count:
        bits.append(other if count & 1 else password)
        count >>= 1
    current = _sha(password, salt, _repeated(other, len(password)), *bits)
    p = _repeated(_sha(password * len(password)), len(password))
    s = _repeated(_sha(salt * (16 + current[0])), len(salt))
    for number in range(_ROUNDS):
        odd = number & 1
        current = _sha(p if odd else current, s if number % 3 else b"", p if number % 7 else b"", current if odd else p)
    return current


def _spelled(digest: bytes) -> str:
    text = ""
    for number in range(21):
        three = [number, number + 21, number + 42]
        turned = three[number % 3 :] + three[: number % 3]
        text += _letters(digest[turned[0]] << 16 | digest[turned[1]] << 8 | digest[turned[2]], 4)
    return text + _letters(digest[_SIZE - 1], 2)


def _letters(value: int, count: int) -> str:
    return "".join(_LETTERS[value >> 6 * n & 63] for n in range(count))
