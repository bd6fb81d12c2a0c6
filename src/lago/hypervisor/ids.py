"""Ids of this host for what runs under a private hypervisor of root's: a block that nobody else has.

Files keep their owners, since mounts show them as the ids of the block (see `confine`). So a block is chosen anew at
each start, and nothing of it is written down.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..errors import HostError

COUNT: Final = 65536
"""Ids of a block: root, nobody, and whom files of guests' shares may belong to."""

_FIRST: Final = 0x77390000
_LAST: Final = 0x7FFDFFFF
"""Between these nobody gives ids to users, containers or services: above those of directory services (sssd: up to
2000200000) and systemd-nspawn, below those of systemd's foreign images. Source: systemd.io/UIDS-GIDS, sssd-ad(5)."""

_TABLES: Final = (("/etc/passwd", 2), ("/etc/group", 2))
_RANGES: Final = ("/etc/subuid", "/etc/subgid")
_MAPS: Final = ("/proc/self/uid_map", "/proc/self/gid_map")


class Extent(NamedTuple):
    """Ids from `first` to before `end`."""

    first: int
    end: int

    def meets(self, first: int, end: int) -> bool:
        """Whether it has one of these ids."""
        return self.first < end and first < self.end


def block(name: str) -> int:
    """The first id of a block that no user, group or range of subordinate ids has.

    Args:
        name: for whom, so that two have rarely the same one.

    Raises:
        HostError: there is none, as in a container with few ids.
    """
    taken = _taken()
    candidates = _candidates(zlib.crc32(name.encode()))
    maps = [_mapped(path) for path in _MAPS]
    for first in candidates:
        end = first + COUNT
        known = all(any(one.first <= first and end <= one.end for one in extents) for extents in maps)
        if known and not any(one.meets(first, end) for one in taken) and not _has_user(first):
            return first
    most = min(sum(one.end - one.first for one in extents) for extents in maps)
    raise HostError(
        f"no {COUNT} ids are free for guests, of {most} that there are here",
        hint="this is a user namespace or a container: give it more ids, or run Lago as an ordinary user",
    )


def _candidates(seed: int) -> Iterable[int]:
    """Blocks, one of ours first; then, where ids are few, those at the end of what there is."""
    many = (_LAST + 1 - _FIRST) // COUNT
    yield from (_FIRST + (seed + number) % many * COUNT for number in range(many))
    for extent in _mapped(_MAPS[0]):
        # Not the first ones: they are those of users.
        if extent.end - COUNT >= max(extent.first, 2 * COUNT):
            yield extent.end - COUNT


def _mapped(path: str) -> Sequence[Extent]:
    """The ids that there are in this user namespace. Source: user_namespaces(7)."""
    with open(path, encoding="ascii") as file:
        rows = [[int(word) for word in line.split()] for line in file]
    return [Extent(first, first + count) for first, _, count in rows]


def _taken() -> list[Extent]:
    found = []
    for path, column in _TABLES:
        for row in _rows(path):
            if len(row) > column and row[column].isdigit():
                found.append(Extent(int(row[column]), int(row[column]) + 1))
    for path in _RANGES:
        for row in _rows(path):
            if len(row) == 3 and row[1].isdigit() and row[2].isdigit():
                found.append(Extent(int(row[1]), int(row[1]) + int(row[2])))
    return found


def _rows(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.strip().split(":") for line in file]
    except FileNotFoundError:
        return []


def _has_user(uid: int) -> bool:
    """Whether a directory service knows somebody of this id."""
    import pwd

    try:
        pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return False
    return True
