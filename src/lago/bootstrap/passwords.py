"""Password hashes as /etc/shadow has them, made by the system's own library: crypt(3), crypt(5).

Python's module for it is gone since 3.13.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from functools import cache
from typing import Final

from ..errors import HostError, LagoError

_LIBRARIES: Final = ("libcrypt.so.1", "libcrypt.so.2")
"""What Debian, and what Fedora calls it."""

_LETTERS: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BUFFER: Final = 32768
"""The size of `struct crypt_data`, crypt_rn(3)."""


def hash_of(password: str, salt: str = "") -> str:
    """Return `$6$<salt>$<hash>`, the SHA-512 hash of a password; without a salt, with one that nobody else has.

    Raises:
        HostError: libcrypt is not installed.
        LagoError: libcrypt refuses the password.
    """
    setting = f"$6${salt or ''.join(secrets.choice(_LETTERS) for _ in range(16))}"
    # For C, it would end there.
    if "\0" in password:
        raise LagoError("a password has the character 0, which no login can take", hint="choose another password")
    buffer = ctypes.create_string_buffer(_BUFFER)
    found = _libcrypt().crypt_rn(password.encode(), setting.encode(), buffer, _BUFFER)
    if found is None:
        why = os.strerror(ctypes.get_errno())
        raise LagoError(f"libcrypt refuses a password: {why}", hint="choose another one, of at most 511 bytes")
    return bytes(found).decode()


@cache
def _libcrypt() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        library.crypt_rn.restype = ctypes.c_char_p
        library.crypt_rn.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
        return library
    raise HostError(
        f"the library libcrypt is not installed: there is neither {' nor '.join(_LIBRARIES)}",
        hint="apt-get install libcrypt1",
    )
