"""The commands for init files: validate, schema, new, convert."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .. import config, log
from ..constants import DEFAULT_INIT_FILE, DEFAULT_PREFIX, DEFAULT_WORKDIR
from ..errors import Finding, InitFileError, LagoError, printable
from . import output
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
    from ..initfile.convert import Change
    from ..topology.spec import EnvSpec

_SKELETON: Final = """\
# What `lago init` makes an environment of. Every key is in docs/init-file.md, and `lago schema` has them for editors.

# Machines may be based on these; keys of a machine win.
prototypes:
  small:
    memory: 256M
    vcpu: 1
    disks:
      - template_name: mini    # or debian12; `lago template list` has them all
#     - size: 1G               # an empty disk

domains:
  vm0:
    based-on: small
    nics:
      - net: lab
#       ip: 192.168.200.10     # without it a free address is chosen
  vm1:
    based-on: small
    nics:
      - net: lab
#   groups: [web]              # for `lago ansible_hosts`
#   metadata: {}               # whatever you like

nets:
  lab:
    management: true           # machines are reached over it
#   type: nat                  # or isolated, or bridge
#   dns_records: {www: vm0}
"""


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    validate = commands.add_parser("validate")
    validate.add_argument("file", nargs="?", default=DEFAULT_INIT_FILE, help=f"the init file ({DEFAULT_INIT_FILE})")
    add_strict(validate)
    add_repository_options(validate)
    validate.set_defaults(run=_validate)
    commands.add_parser("schema").set_defaults(run=_schema)
    new = commands.add_parser("new")
    new.add_argument("file", nargs="?", default=DEFAULT_INIT_FILE, help=f"the file to write ({DEFAULT_INIT_FILE})")
    new.set_defaults(run=_new)
    convert = commands.add_parser(
        "convert",
        description="Write today's form of an older init file to standard output, and what was changed to standard "
        "error. All that need not change stays as it is written, comments and placeholders too.",
    )
    convert.add_argument("file", nargs="?", default=DEFAULT_INIT_FILE, help=f"the init file ({DEFAULT_INIT_FILE})")
    where = convert.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="FILE", help="write to this file")
    where.add_argument("-i", "--in-place", action="store_true", help="change the file, and keep it as FILE.orig")
    where.add_argument("--check", action="store_true", help="write nothing; exit status 1 if it would change")
    convert.add_argument("--no-backup", action="store_true", help="with --in-place: keep no FILE.orig")
    convert.set_defaults(run=_convert)


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add the options by which init files are refused; without them the settings of their names decide."""
    for name in ("strict", "restrict"):
        parser.add_argument(f"--{name}", action="store_const", const=True, help=config.OPTIONS[name].help)


def add_repository_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `use_repository` reads."""
    parser.add_argument("--template-store", metavar="PATH", help="directory of template images")
    parser.add_argument("--template-repo-path", metavar="PATH", help="repository of templates, a file or an address")
    parser.add_argument(
        "--template-repo-name",
        metavar="NAME",
        help="repository of templates, by its name; with a path, that of the one there",
    )
    parser.add_argument("--template-repos", metavar="PATH", help="directory in which repositories are found by name")


def use_repository(args: argparse.Namespace) -> None:
    """Let the arguments of `add_repository_options` count for more than the configuration."""
    names = ("template_store", "template_repo_path", "template_repo_name", "template_repos")
    config.add_command_line({name: getattr(args, name) for name in names})
    repository = ("template_repo_path", "template_repo_name")
    if any(getattr(args, name) for name in repository):
        # What is asked for here is not to be mixed with what the configuration says.
        config.add_command_line({name: getattr(args, name) or "" for name in repository})


def _validate(args: argparse.Namespace) -> dict[str, Any]:
    use_repository(args)
    try:
        wanted, findings = _examined(args.file)
    except LagoError as error:
        if not args.out_format.for_people:
            told = [one._asdict() for one in _findings(args.file, error)]
            output.show(Outcome({"file": args.file, "mistakes": told}), args.out_format, sys.stdout)
        raise
    data: dict[str, Any] = {"file": args.file, "domains": len(wanted.domains), "nets": len(wanted.nets)}
    return data if args.out_format.for_people else {**data, "mistakes": [one._asdict() for one in findings]}


def _examined(file: str) -> tuple[EnvSpec, Sequence[Finding]]:
    """What an init file wants, and what is odd about it or was not checked. Raises LagoError for mistakes."""
    from ..environment.create import examine
    from ..templates.lockfile import LockFile
    from ..topology import resolve

    found, needs = examine(file, os.path.abspath(os.path.join(DEFAULT_WORKDIR, DEFAULT_PREFIX)), lock=LockFile(file))
    for finding in found.findings:
        if finding.kind == "note":
            log.say(str(finding))
    wanted = found.sound()
    resolve.check(wanted, needs.variables)
    return wanted, found.findings


def _findings(file: str, error: LagoError) -> Sequence[Finding]:
    if isinstance(error, InitFileError):
        return error.findings
    return [Finding(file, None, None, "", f"{error.what}, {error.hint}" if error.hint else error.what)]


def _schema(_args: argparse.Namespace) -> None:
    import json

    from ..initfile.schema import schema

    # JSON in every output format: it is a document, not data about an environment.
    output.write(json.dumps(schema(), indent=2))


def _new(args: argparse.Namespace) -> None:
    try:
        with open(args.file, "x", encoding="utf-8") as file:
            file.write(_SKELETON)
    except FileExistsError:
        raise LagoError(f"{args.file} exists already", hint="name another file, or remove it first") from None


def _convert(args: argparse.Namespace) -> Outcome:
    from ..initfile.convert import convert
    from ..initfile.document import read_text

    if args.no_backup and not args.in_place:
        raise LagoError("--no-backup is for --in-place, nothing else keeps a copy", hint="leave it out")
    text = read_text(args.file)
    if args.output and os.path.exists(args.output) and os.path.samefile(args.file, args.output):
        raise LagoError(f"{args.output} is the file that is read", hint="write --in-place")
    new, changes = convert(text, args.file)
    data = [dict(zip(("line", "column", "from", "to", "why"), change, strict=True)) for change in changes]
    if args.in_place:
        if changes:
            _replace(args.file, text, new, backup=not args.no_backup)
    elif args.output:
        _write(args.output, new, like=args.file)
    elif not args.check and args.out_format.for_people:
        sys.stdout.buffer.write(new.encode())
        sys.stdout.buffer.flush()
    for change in changes:
        output.write(printable(f"{args.file}:{_told(change)}"), sys.stderr)
    return Outcome(None if args.out_format.for_people else data, int(args.check and bool(changes)))


def _told(change: Change) -> str:
    now = "removed" if change.new is None else f"now {change.new}"
    return f"{change.line}:{change.column}: {change.old}: {now}, {change.why}"


def _write(path: str, text: str, *, like: str) -> None:
    """Write a file; a new one has the mode of the file `like`, as passwords may be in it."""
    from ..host.files import write_atomically, write_out

    there = os.path.exists(path)
    if there and not os.path.isfile(path):
        write_out(path, text)
    else:
        write_atomically(os.path.realpath(path), text, stat.S_IMODE(os.stat(path if there else like).st_mode))


def _replace(file: str, old: str, new: str, *, backup: bool) -> None:
    """Put a new text in the place of a file's, with its mode and owner; the old file is kept beside it.

    A link stays one, as with editors: what it leads to is replaced.
    """
    from ..host.files import write_atomically

    found, path = os.stat(file), os.path.realpath(file)
    if not stat.S_ISREG(found.st_mode):
        raise LagoError(f"{file} is no file that could be changed in place", hint="write --output FILE")
    mode, kept = stat.S_IMODE(found.st_mode), f"{path}.orig"
    if backup:
        try:
            with open(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as copy:
                copy.write(old.encode())
                os.fchmod(copy.fileno(), mode)
                copy.flush()
                os.fsync(copy.fileno())
        except FileExistsError:
            hint = "move it away, or write --no-backup"
            raise LagoError(f"{kept} exists already; nothing was written", hint=hint) from None
    try:
        write_atomically(path, new, mode)
    except BaseException:
        if backup:
            os.unlink(kept)
        raise
    # Only root can give it back to its owner.
    for one in (path, kept) if backup else (path,):
        with contextlib.suppress(PermissionError):
            os.chown(one, found.st_uid, found.st_gid)
