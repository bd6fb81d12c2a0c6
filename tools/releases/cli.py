"""The command line of `tools/release`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lago import log
from lago.cli import output
from lago.errors import LagoError

from . import announcement, build, changelog, notes, repository, version


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    args = build_parser().parse_args(argv)
    log.setup_console("info")
    try:
        data = args.run(args)
        print(output.formatter(args.out_format).format(data))
    except LagoError as error:
        print(f"release: {error.render()}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"release: {error}", file=sys.stderr)
        return LagoError.exit_code
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="tools/release", description="Versions, packages and releases of Lago.")
    parser.add_argument("-f", "--out-format", choices=list(output.FORMATS), default="default")
    parser.add_argument("--repo", type=Path, default=Path(__file__).resolve().parents[2], help="the clone of Lago")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], Any], text: str, *, ref: bool = True) -> Any:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if ref:
            command.add_argument("--ref", default="HEAD", help="the commit meant (default: HEAD)")
        return command.add_argument

    option = add("version", _version, "Print the version of a commit.")
    option("--next", action="store_true", help="print the tag that sem-ver lines since the last one ask for")
    add("rpm-version", _rpm_version, "Print version and release of the RPM of a commit.")
    option = add("changelog", _changelog, "Print what changed since the last tag, or since the last x.0 for a major.")
    option("--format", choices=("text", "rpm", "markdown"), default="text")
    option("--from", dest="since", metavar="COMMIT", help="begin after this one")
    option("--major", action="store_true", help="begin after the last x.0")
    add("notes", _notes, "Print what CHANGELOG.md says of the release that a commit belongs to.")
    option = add("build", _build, "Build packages of a commit.")
    option("--output", type=Path, default=Path("dist"), help="where they go (default: dist)")
    option("--dist", help="name of the distribution they are for (default: this one)")
    option("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(build.KINDS)} (default: all)")
    option = add("publish", _publish, "Make a snapshot of built packages.", ref=False)
    option("built", type=Path, help="where build put them")
    option("repository", type=Path)
    option("--pipeline", type=int, metavar="N", help="its number (default: the next)")
    option("--keep", type=int, metavar="N", help="remove all but the newest N snapshots")
    option = add("promote", _promote, "Make a snapshot a release.", ref=False)
    option("repository", type=Path)
    option("snapshot", help="its name, or X.0/latest")
    option("--check", required=True, metavar="COMMAND", help="what must succeed before, with LAGO_SNAPSHOT set")
    option("--key", help="sign with this key of gpg")
    option("--dry-run", action="store_true", help="only print the files")
    option = add("announce", _announce, "Print the mail that tells of a release.")
    option("--url", required=True, help="where the repository is found")
    option("--to", required=True, metavar="ADDRESS")
    option("--from", dest="sender", metavar="ADDRESS", help="(default: who git says you are)")
    return parser


def _version(args: argparse.Namespace) -> Any:
    if not args.next:
        return str(version.of_commit(args.repo, args.ref))
    return changelog.next_tag(args.repo, args.ref) or "no new tag is due"


def _rpm_version(args: argparse.Namespace) -> Any:
    return f"{version.of_commit(args.repo, args.ref)}-{version.package_release(args.repo, args.ref)}"


def _changelog(args: argparse.Namespace) -> Any:
    since = args.since or changelog.start(args.repo, args.ref, major=args.major)
    render = {"text": changelog.text, "rpm": changelog.rpm, "markdown": changelog.markdown}[args.format]
    return render(changelog.entries(args.repo, args.ref, since)).rstrip("\n")


def _notes(args: argparse.Namespace) -> Any:
    return notes.notes(args.repo, args.ref)


def _build(args: argparse.Namespace) -> Any:
    kinds = args.kinds or build.KINDS
    if unknown := set(kinds) - set(build.KINDS):
        raise LagoError(f"can't build {', '.join(sorted(unknown))}", hint=f"there are: {', '.join(build.KINDS)}")
    return [str(path) for path in build.build(args.repo, args.ref, args.output, kinds, args.dist)]


def _publish(args: argparse.Namespace) -> Any:
    return str(repository.publish(args.built, args.repository, args.pipeline, args.keep))


def _promote(args: argparse.Namespace) -> Any:
    snapshot = repository.find(args.repository, args.snapshot)
    plan = repository.promote(args.repository, snapshot, args.check, args.key, dry_run=args.dry_run)
    return [f"{source} -> {target}" for source, target in plan.items()]


def _announce(args: argparse.Namespace) -> Any:
    return announcement.mail(args.repo, args.ref, url=args.url, to=args.to, sender=args.sender).rstrip("\n")
