"""What somebody may have meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def near(
    name: str,
    known: Iterable[str],
    *,
    otherwise: str = "there are: ",
    most: int | None = None,
    rest: str = "others",
    spell: Callable[[str], str] = str,
) -> str:
    """Return a hint for an unknown name: the nearest one, in small letters or capitals, or all there are.

    Args:
        otherwise: how the hint begins that has all of them.
        most: as many of them as are told, and `rest` for the rest.
        spell: how a name is written.
    """
    # Imported here: it is slow, and hardly ever needed.
    import difflib

    names = list(known)
    folded = {one.lower(): one for one in reversed(names)}
    if close := difflib.get_close_matches(name.lower(), folded, 1):
        return f"did you mean {spell(folded[close[0]])}?"
    told = [spell(one) for one in names[:most]] + ([rest] if len(names) > len(names[:most]) else [])
    return f"{otherwise}{', '.join(told) or 'none'}"
