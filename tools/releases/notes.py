"""What CHANGELOG.md says of a release."""

from __future__ import annotations

import re
from pathlib import Path

from lago.errors import LagoError

from .version import git, of_commit


def notes(repo: Path, ref: str = "HEAD") -> str:
    """The section of the tag that a commit's version is counted from, without its headline; Markdown.

    Raises:
        LagoError: there is no such section.
    """
    tag = of_commit(repo, ref).tag
    text = git(repo, "show", f"{ref}:CHANGELOG.md")
    section = re.search(rf"^## \[{re.escape(tag)}\].*\n((?:(?!## \[).*\n?)*)", text, re.MULTILINE)
    if section is None:
        hint = f"make changelog VERSION={tag}, commit, and tag that commit"
        raise LagoError(f"CHANGELOG.md has no section [{tag}]", hint=hint)
    return section[1].strip()
