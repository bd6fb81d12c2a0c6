"""What changed between two commits, for people and for RPM."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lago.errors import LagoError

from .version import Version, commit, git, of_commit, tags

_SEM_VER = re.compile(r"^sem-ver:(.*)$", re.IGNORECASE | re.MULTILINE)
_BUG_URL = re.compile(r"^bug-url:\s*(\S+)\s*$", re.IGNORECASE | re.MULTILINE)
_BUGZILLA = re.compile(r"https?://bugzilla\.[^/]+/(?:show_bug\.cgi\?id=)?(\d+)$")
_ISSUE = re.compile(r"https?://.+/(?:issues|pull)/(\d+)$")
_FIELDS = ("%H", "%P", "%aN", "%aE", "%ct", "%B")


@dataclass(frozen=True)
class Commit:
    """A commit; `date` is the committer's, in UTC."""

    hash: str
    parents: tuple[str, ...]
    author: str
    email: str
    date: datetime
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.lstrip("\n").partition("\n")[0].strip() or "(no message)"

    @property
    def change(self) -> str:
        """`break`, `feature` or nothing, as lines `sem-ver:` say."""
        said = " ".join(_SEM_VER.findall(self.message)).lower()
        return "break" if "break" in said else "feature" if "feature" in said else ""

    @property
    def bugs(self) -> tuple[str, ...]:
        """What lines `Bug-Url:` name: `BZ#n` of a bugzilla, `#n` of issues, any other address as it is."""
        return tuple(dict.fromkeys(_bug(url) for url in _BUG_URL.findall(self.message)))


def _bug(url: str) -> str:
    if bugzilla := _BUGZILLA.match(url):
        return f"BZ#{bugzilla[1]}"
    return f"#{issue[1]}" if (issue := _ISSUE.match(url)) else url


@dataclass(frozen=True)
class Entry:
    """A commit of the branch with its version, and the commits that it merged, newest first."""

    commit: Commit
    version: Version
    merged: tuple[Commit, ...]

    @property
    def commits(self) -> tuple[Commit, ...]:
        """All commits of the entry."""
        return (self.commit, *self.merged)


def start(repo: Path, ref: str = "HEAD", *, major: bool = False) -> str | None:
    """The tag that the changelog of a commit begins after; None for the whole history.

    That is the last tag, or the last one x.0 if `major` or if the commit is itself tagged x.0. The commit's own tag is
    not the one meant.
    """
    version = of_commit(repo, ref)
    earlier = [tag for tag in tags(repo, ref) if tag < version]
    if major or (version.minor == 0 and version.patch == 0):
        earlier = [tag for tag in earlier if tag.minor == 0]
    return earlier[-1].tag if earlier else None


def entries(repo: Path, ref: str = "HEAD", since: str | None = None) -> list[Entry]:
    """Entries for all commits after `since`, newest first.

    Raises:
        LagoError: `since` is no ancestor of `ref`.
    """
    last, count, base = commit(repo, ref), 0, Version(0, 0)
    if since is not None:
        first = commit(repo, since)
        if git(repo, "merge-base", first, last) != first:
            raise LagoError(f"{since} is not in the history of {ref}", hint="give an earlier commit of the same branch")
        base = of_commit(repo, first)
        count = base.patch
    known = {log.hash: log for log in _log(repo, last, *([f"^{first}"] if since is not None else []))}
    tagged = {commit(repo, f"refs/tags/{tag.tag}"): tag for tag in tags(repo, last)}
    found: list[Entry] = []
    for head, brought in _first_parents(known, last):
        newer = max((tagged[c.hash] for c in (head, *brought) if c.hash in tagged), default=base)
        if (newer.major, newer.minor) > (base.major, base.minor):
            base = newer
            count = int(git(repo, "rev-list", "--count", head.hash, f"^refs/tags/{base.tag}", "--"))
        else:
            count += 1 + len(brought)
        found.append(Entry(head, Version(base.major, base.minor, count), brought))
    return found[::-1]


def _log(repo: Path, *revisions: str) -> list[Commit]:
    out = git(repo, "log", "--topo-order", "-z", f"--format={'%x00'.join(_FIELDS)}", *revisions, "--")
    parts = out.split("\0")
    records = [parts[at : at + len(_FIELDS)] for at in range(0, len(parts) - len(_FIELDS) + 1, len(_FIELDS))]
    return [
        Commit(hash_, tuple(parents.split()), author, email, datetime.fromtimestamp(int(seconds), UTC), message)
        for hash_, parents, author, email, seconds, message in records
    ]


def _first_parents(known: dict[str, Commit], last: str) -> list[tuple[Commit, tuple[Commit, ...]]]:
    """The commits of the branch, oldest first, each with those that came with it, newest first."""
    chain = []
    at: str | None = last
    while at in known:
        chain.append(known[at])
        at = next(iter(known[at].parents), None)
    seen = {head.hash for head in chain}
    found = []
    for head in reversed(chain):
        todo, brought = list(head.parents[1:]), set()
        while todo:
            name = todo.pop()
            if name in known and name not in seen:
                seen.add(name)
                brought.add(name)
                todo += known[name].parents
        found.append((head, tuple(c for c in known.values() if c.hash in brought)))
    return found


def text(found: Iterable[Entry]) -> str:
    """Plain text, as earlier releases had it."""
    return "\n".join(_text_entry(entry) for entry in found)


def _text_entry(entry: Entry) -> str:
    lines = [f"* {entry.commit.date:%a %b %d %Y} {entry.commit.author} - {entry.version}"]
    for c in entry.commits:
        lines.append(_folded(f"{c.hash[:8]}: {c.subject}", "    ", "        "))
        if c.change:
            lines.append(f"    SEM-VER: {c.change}")
        if c.bugs:
            lines.append(_folded(f"FIXED BUGS: {' '.join(c.bugs)}", "    ", "        "))
    return "\n".join(lines) + "\n"


def _folded(line: str, first: str, further: str) -> str:
    return textwrap.fill(
        line, 79, initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )


def rpm(found: Sequence[Entry]) -> str:
    """The section `%changelog` of a spec file, without its head line.

    rpm wants descending dates; where a branch does not have them, an entry has the date of the one after it.
    """
    blocks = []
    date = found[0].commit.date if found else datetime.now(UTC)
    for entry in found:
        date = min(date, entry.commit.date)
        who = f"{entry.commit.author} <{entry.commit.email}>"
        lines = [f"* {date:%a %b %d %Y} {who} - {entry.version}-1"]
        lines += [_folded(f"- {c.hash[:8]}: {' '.join([c.subject, *c.bugs])}", "", "  ") for c in entry.commits]
        # rpm would expand macros, and what one writes in a subject is not one.
        blocks.append("\n".join(lines).replace("%", "%%") + "\n")
    return "\n".join(blocks)


def markdown(found: Sequence[Entry]) -> str:
    """Markdown: what matters first, then all, merges with what they merged."""
    commits = [c for entry in found for c in entry.commits]
    parts = [f"## {found[0].version} ({found[0].commit.date:%Y-%m-%d})\n"] if found else []
    for title, chosen in (
        ("Incompatible changes", [c for c in commits if c.change == "break"]),
        ("New features", [c for c in commits if c.change == "feature"]),
        ("Fixed bugs", [c for c in commits if c.bugs]),
    ):
        if chosen:
            parts.append(f"### {title}\n\n" + "".join(_item(c) for c in chosen))
    if found:
        everything = (_item(e.commit) + "".join("  " + _item(c) for c in e.merged) for e in found)
        parts.append("### All changes\n\n" + "".join(everything))
    return "\n".join(parts)


def _item(c: Commit) -> str:
    subject = re.sub(r"([\\`*_<>\[\]#])", r"\\\1", c.subject)
    bugs = f" ({', '.join(c.bugs)})" if c.bugs else ""
    return f"- {subject}{bugs} `{c.hash[:8]}`\n"


def next_tag(repo: Path, ref: str = "HEAD") -> str | None:
    """The tag that lines `sem-ver:` since the last one ask for, if any."""
    version = of_commit(repo, ref)
    since = version.tag if tags(repo, ref) else None
    changes = {c.change for entry in entries(repo, ref, since) for c in entry.commits}
    if "break" in changes:
        return f"{version.major + 1}.0"
    return f"{version.major}.{version.minor + 1}" if "feature" in changes else None
