"""Checksums as those who publish images write them.

GNU coreutils' lines `<digest>  <name>` (or ` *<name>`), BSD's `SHA256 (<name>) = <digest>`, and files with a digest
alone. A PGP signature around them is passed over.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Final, NamedTuple

from ..errors import TemplateError
from ..host.suggest import near

_GNU: Final = re.compile(r"\\?([0-9a-fA-F]{40,128})(?: [ *](.+))?")
_BSD: Final = re.compile(r"SHA\d+ ?\((.+)\) ?= ?([0-9a-fA-F]{40,128})")
_ALGORITHMS: Final = {40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
"""By the number of hexadecimal digits."""


class Checksum(NamedTuple):
    """A published checksum.

    Attributes:
        digest: hexadecimal.
        source: who says so, for people.
        packed: whether it is that of the file as it is fetched, not of the image in it.
    """

    digest: str
    source: str
    packed: bool = False

    def new(self) -> Any:
        """A hashlib object of its algorithm. Raises TemplateError."""
        import hashlib

        if len(self.digest) not in _ALGORITHMS:
            raise TemplateError(f"{self.source}: {self.digest[:130]!r} is no SHA-1, SHA-256, SHA-384 or SHA-512")
        # SHA-1, of repositories of earlier releases, still tells damage, if not malice.
        return hashlib.new(_ALGORITHMS[len(self.digest)], usedforsecurity=False)

    def check(self, found: str, what: str) -> None:
        """Raise TemplateError unless that is what was found of `what`."""
        if found != self.digest.lower():
            raise TemplateError(
                f"the image of {what} is not what its source published",
                details=f"expected checksum {self.digest}\nfound checksum    {found}\nsource {self.source}",
                hint="fetch it again later, or ask who runs the repository",
            )


def parse(text: str) -> dict[str, str]:
    """Read digests by file name; the name is empty if the text has none. Of several digests the longest counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _BSD.fullmatch(line.strip()):
            name, digest = match.groups()
        elif match := _GNU.fullmatch(line.strip()):
            digest, name = match[1], match[2] or ""
        else:
            continue
        name = name.strip().rpartition("/")[2]
        if len(digest) in _ALGORITHMS and len(digest) > len(found.get(name, "")):
            found[name] = digest.lower()
    return found


def find(text: str, pattern: str, source: str, *, own: bool = False) -> tuple[str, str]:
    """Find the newest file whose name fits `pattern`, as in a shell; its name and digest.

    Args:
        source: where the text is from.
        own: the text is about that file only, though it may call it by another name, for instance with a date.

    Raises:
        TemplateError: there is none.
    """
    found = parse(text)
    if list(found) == [""] or (own and len(found) == 1):
        return pattern, next(iter(found.values()))
    fitting = fnmatch.filter(found, pattern)
    if not fitting:
        raise TemplateError(
            f"{source} has no checksum of {pattern}",
            hint=near(pattern, found) if found else "is that a file with checksums?",
        )
    name = max(fitting, key=_natural)
    return name, found[name]


def _natural(name: str) -> list[tuple[int, str]]:
    """Order in which 9 is before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
