"""The mail that tells of a release."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

from . import changelog
from .version import git, of_commit

_BODY = """\
Hi everyone! There's a new lago release with version {version} ready for you to
upgrade!

Here are the changes:

{changes}
Packages and sources: {place}/
Changelog: {place}/ChangeLog_{series}.txt
Checksums: {place}/SHA256SUMS

Enjoy!
"""


def mail(repo: Path, ref: str, *, url: str, to: str, sender: str | None = None, now: datetime | None = None) -> str:
    """The mail, ready for `sendmail -t`.

    Args:
        url: where the repository is to be found.
        sender: without it, who git says you are.
        now: the date in it, today if not given.
    """
    version, date = of_commit(repo, ref), now or datetime.now(UTC)
    message = EmailMessage(policy=SMTP.clone(linesep="\n"))
    message["From"] = sender or f"{git(repo, 'config', 'user.name')} <{git(repo, 'config', 'user.email')}>"
    message["To"] = to
    message["Date"] = format_datetime(date)
    message["Subject"] = f"[{date:%d-%m-%Y}] New lago release - {version}"
    changes = changelog.text(changelog.entries(repo, ref, changelog.start(repo, ref)))
    place = f"{url.rstrip('/')}/stable/{version.series}"
    message.set_content(_BODY.format(version=version, changes=changes, place=place, series=version.series), cte="8bit")
    return message.as_string()
