"""The commands for init files: validate, schema, new."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .. import config, log
from ..constants import DEFAULT_INIT_FILE, DEFAULT_PREFIX, DEFAULT_WORKDIR
from ..errors import Finding, InitFileError, LagoError
from . import output
from .parser import Commands
from .result import Outcome

if TYPE_CHECKING:
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
    validate = commands.add_parser("validate", help="check an init file; nothing is made or changed")
    validate.add_argument("file", nargs="?", default=DEFAULT_INIT_FILE, help=f"the init file ({DEFAULT_INIT_FILE})")
    add_strict(validate)
    add_repository_options(validate)
    validate.set_defaults(run=_validate)
    commands.add_parser("schema", help="the JSON Schema of init files, for editors").set_defaults(run=_schema)
    new = commands.add_parser("new", help="write an init file to start from")
    new.add_argument("file", nargs="?", default=DEFAULT_INIT_FILE, help=f"the file to write ({DEFAULT_INIT_FILE})")
    new.set_defaults(run=_new)


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add the option that makes warnings of the init file mistakes; without it the setting of its name decides."""
    parser.add_argument("--strict", action="store_const", const=True, help=config.OPTIONS["strict"].help)


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

    found, variables = examine(
        file, os.path.abspath(os.path.join(DEFAULT_WORKDIR, DEFAULT_PREFIX)), lock=LockFile(file)
    )
    for finding in found.findings:
        if finding.kind == "note":
            log.say(str(finding))
    wanted = found.sound()
    resolve.check(wanted, variables)
    return wanted, found.findings


def _findings(file: str, error: LagoError) -> Sequence[Finding]:
    if isinstance(error, InitFileError):
        return error.findings
    return [Finding(file, None, None, "", f"{error.what}, {error.hint}" if error.hint else error.what)]


def _schema(_args: argparse.Namespace) -> None:
    import json

    from ..initfile.schema import schema

    # JSON in every output format: it is a document, not data about an environment.
    print(json.dumps(schema(), indent=2))


def _new(args: argparse.Namespace) -> None:
    try:
        with open(args.file, "x", encoding="utf-8") as file:
            file.write(_SKELETON)
    except FileExistsError:
        raise LagoError(f"{args.file} exists already", hint="name another file, or remove it first") from None
