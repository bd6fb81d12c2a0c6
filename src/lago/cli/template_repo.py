"""`lago template-repo`: repositories of templates that git brings."""

from __future__ import annotations

import argparse

from .parser import Commands


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `template-repo` with its commands."""
    repo = commands.add_parser("template-repo")
    do = repo.add_subparsers(metavar="COMMAND", required=True)
    add = do.add_parser("add", help="clone a repository into template_repos")
    add.add_argument("url", metavar="URL", help="anything that git can clone")
    add.set_defaults(run=_add)
    update = do.add_parser("update", help="bring every repository in template_repos up to date")
    update.set_defaults(run=_update)


def _add(args: argparse.Namespace) -> dict[str, list[str]]:
    from ..templates import git

    return {"added": [git.add(args.url)]}


def _update(_args: argparse.Namespace) -> dict[str, list[str]]:
    from ..templates import git

    return {"updated": git.update()}
