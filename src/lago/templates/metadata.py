"""What is known of an image, as servers, documents and files beside images say it: checked by one schema wherever it is
read, since whoever wrote it is not to choose what else of this host a machine or a user's shell gets to see."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import TemplateError
from .providers import EXTRAS

_MOST: Final = 1 << 20
"""Characters of metadata as JSON."""

_LINE: Final = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"
_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9._+~-]*"
_NUMBERS: Final = ("minimum-memory",)
_FLAGS: Final = ("guest-agent",)


@functools.cache
def _texts() -> Mapping[str, str]:
    """The keys that are text, each with the pattern of what it may be."""
    from ..initfile.keys import DOMAIN
    from ..initfile.values import Text

    user = DOMAIN.fields["ssh-user"].reader
    assert isinstance(user, Text)
    return {
        "arch": _LINE,
        "base-sha256": "[0-9a-f]+",
        "bootstrap": _WORD,
        "cmdline": _LINE,
        "default-user": user.pattern,
        "distro": _LINE,
        "format": _WORD,
        "kernel-version": _WORD,
        "root-partition": _LINE,
        "root-password": _LINE,
        "ssh-user": user.pattern,
    }


def check_metadata(raw: Any, name: str, hint: str) -> dict[str, Any]:
    """The metadata of an image, with the types that its keys have; what would name files of this host is left out.

    A number is taken where text is expected, and what is unknown is kept as it is.

    Args:
        name: of the image or file, for messages.
        hint: what to do about it if it can't be used.

    Raises:
        TemplateError: a key has a value of the wrong type or form, or all of it is too much.
    """
    if not isinstance(raw, Mapping):
        raise TemplateError(f"the metadata of {name} is not a JSON object", hint=hint)
    try:
        size = len(json.dumps(dict(raw)))
    except RecursionError:
        size = _MOST + 1
    if size > _MOST:
        raise TemplateError(f"the metadata of {name} is larger than {_MOST >> 20} MiB, or too deep", hint=hint)
    known = {key: value for key, value in raw.items() if key not in EXTRAS}
    return {key: _value(key, value, name, hint) for key, value in known.items() if _there(key, value)}


def _there(key: str, value: Any) -> bool:
    return value is not None or not (key in _texts() or key in _NUMBERS or key in _FLAGS)


def _value(key: str, value: Any, name: str, hint: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not re.fullmatch(_LINE, key):
        expected, good = "a key on one line", False
    elif key in _NUMBERS:
        if isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value):
            value = int(value)
        expected, good = "a whole number", isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif key in _FLAGS:
        expected, good = "true or false", isinstance(value, bool)
    elif (pattern := _texts().get(key)) is not None:
        value = str(value) if number else value
        what = "text on one line" if pattern == _LINE else "a name" if pattern == _WORD else f"text such as {pattern}"
        expected, good = what, isinstance(value, str) and re.fullmatch(pattern, value) is not None
    else:
        return value
    if not good:
        raise TemplateError(
            f"the metadata of {name} can't be used: its {key!r} is {_short(value)}, where {expected} is expected",
            hint=hint,
        )
    return value


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
