"""The version x.Y.z: the tag x.Y, and z commits since it.

setup.py needs this before anything is installed, so it stands on the standard library and what of Lago does too.
"""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from pathlib import Path

from lago.errors import LagoError
from lago.host.programs import run
from lago.log import LOG

_TAG = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)")
_DESCRIBED = re.compile(rf"describe: {_TAG.pattern}(?:-(\d+)-g[0-9a-f]+)?")


@dataclass(frozen=True, order=True)
class Version:
    """`patch` is the number of commits since the tag `major.minor`."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def tag(self) -> str:
        """The tag it is counted from."""
        return f"{self.major}.{self.minor}"

    @property
    def series(self) -> str:
        """The first tag with the same major number: what directories of the repository are named after."""
        return f"{self.major}.0"


def git(repo: Path, *arguments: str) -> str:
    """Output of a git command. Raises CommandError if it fails."""
    # A checkout that belongs to another user, as in containers of CI, is no danger: its setup.py runs already.
    argv = ["git", "-c", f"safe.directory={repo.resolve()}", "-C", str(repo), *arguments]
    return run(argv).out.decode(errors="replace").rstrip("\n")


def tags(repo: Path, ref: str = "HEAD") -> list[Version]:
    """Versions of all tags x.Y that a commit contains, ascending; other tags don't count."""
    names = git(repo, "tag", "--merged", commit(repo, ref)).splitlines()
    return sorted(Version(int(m[1]), int(m[2])) for name in names if (m := _TAG.fullmatch(name)))


def commit(repo: Path, ref: str = "HEAD") -> str:
    """The hash of a commit. Raises LagoError if there is none of that name."""
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except LagoError as error:
        hint = "give a tag, a branch or a hash; a shallow clone lacks older ones: git fetch --unshallow --tags"
        raise LagoError(f"{repo} has no commit {ref}", details=error.details, hint=hint) from None


def of_commit(repo: Path, ref: str = "HEAD") -> Version:
    """The version of a commit: its highest tag and the number of commits since; 0.0.z if there is no tag."""
    known = tags(repo, ref)
    base = known[-1] if known else Version(0, 0)
    since = [f"^refs/tags/{base.tag}"] if known else []
    return Version(base.major, base.minor, int(git(repo, "rev-list", "--count", commit(repo, ref), *since, "--")))


def is_tagged(repo: Path, ref: str = "HEAD") -> bool:
    """Whether the version of a commit is a tag's own."""
    return bool(tags(repo, ref)) and of_commit(repo, ref).patch == 0


def package_release(repo: Path, ref: str = "HEAD") -> str:
    """The release of RPM and Debian packages: 1 on a tag, 1.<hash> elsewhere."""
    return "1" if is_tagged(repo, ref) else f"1.{commit(repo, ref)[:8]}"


def of_source(root: Path) -> str:
    """The version of a source tree: a clone, an unpacked sdist or an archive of git; 0.0.0 if nothing tells."""
    if (root / ".git").exists():
        try:
            return str(of_commit(root))
        except LagoError as error:
            LOG.warning("git does not tell the version of %s: %s", root, error.render())
    if (info := root / "PKG-INFO").exists():
        return email.message_from_string(info.read_text(encoding="utf-8"))["Version"]
    if (archival := root / ".git_archival.txt").exists() and (m := _DESCRIBED.search(archival.read_text())):
        return str(Version(int(m[1]), int(m[2]), int(m[3] or 0)))
    return "0.0.0"
