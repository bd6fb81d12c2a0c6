"""The keys of a keyboard by name, as QEMU names them, with Linux's codes (`linux/input-event-codes.h`).

Characters are those of a keyboard with the layout of the United States, the one that guests have unless told otherwise.
"""

from __future__ import annotations

from typing import Final

from ..errors import VMError
from ..host.suggest import near

_ROWS: Final = {2: "1234567890-=", 16: "qwertyuiop[]", 30: "asdfghjkl;'`", 43: "\\zxcvbnm,./"}
_SHIFTED: Final = dict(zip('!@#$%^&*()_+{}:"~|<>?', "1234567890-=[];'`\\,./", strict=True))
_SHIFT: Final = 42
_MODIFIERS: Final = {
    "ctrl": 29,
    "shift": _SHIFT,
    "shift_r": 54,
    "alt": 56,
    "ctrl_r": 97,
    "alt_r": 100,
    "meta_l": 125,
    "meta_r": 126,
}
_NAMED: Final = {
    **_MODIFIERS,
    "esc": 1,
    "backspace": 14,
    "tab": 15,
    "ret": 28,
    "spc": 57,
    "caps_lock": 58,
    **{f"f{number}": 58 + number for number in range(1, 11)},
    "f11": 87,
    "f12": 88,
    "num_lock": 69,
    "scroll_lock": 70,
    "kp_enter": 96,
    "sysrq": 99,
    "home": 102,
    "up": 103,
    "pgup": 104,
    "left": 105,
    "right": 106,
    "end": 107,
    "down": 108,
    "pgdn": 109,
    "insert": 110,
    "delete": 111,
    "menu": 127,
}
_CHARACTERS: Final = {
    **{character: start + place for start, row in _ROWS.items() for place, character in enumerate(row)},
    " ": 57,
    "\n": 28,
    "\t": 15,
}


def strokes(keys: str) -> list[list[int]]:
    """Codes of keys that are pressed together, one such group after another.

    Args:
        keys: the name of a key, such as `ret`; one after modifiers, such as `ctrl-alt-delete`; or else a text.

    Raises:
        VMError: a key or a character is not on the keyboard.
    """
    *modifiers, last = keys.split("-")
    if not all(name in _MODIFIERS for name in modifiers) or not (modifiers or last in _NAMED):
        return [_stroke(character) for character in keys]
    code = _NAMED.get(last) or _CHARACTERS.get(last)
    if code is None:
        raise VMError(f"there is no key {last}", hint=near(last, _NAMED))
    return [[*(_MODIFIERS[name] for name in modifiers), code]]


def _stroke(character: str) -> list[int]:
    if character in _CHARACTERS:
        return [_CHARACTERS[character]]
    plain = _SHIFTED.get(character) or (character.lower() if character.isupper() else "")
    if plain not in _CHARACTERS:
        raise VMError(
            f"there is no key for the character {character!r}", hint="write by ssh what a US keyboard does not have"
        )
    return [_SHIFT, _CHARACTERS[plain]]
