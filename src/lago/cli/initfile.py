"""The commands for init files: validate, schema, new."""

from __future__ import annotations

import argparse
from typing import Any, Final

from ..constants import DEFAULT_INIT_FILE
from ..errors import LagoError
from .parser import Commands

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
    validate.set_defaults(run=_validate)
    commands.add_parser("schema", help="the JSON Schema of init files, for editors").set_defaults(run=_schema)
    new = commands.add_parser("new", help="write an init file to start from")
    new.add_argument("file", nargs="?", default=DEFAULT_INIT_FILE, help=f"the file to write ({DEFAULT_INIT_FILE})")
    new.set_defaults(run=_new)


def _validate(args: argparse.Namespace) -> dict[str, Any]:
    from ..environment.create import path_variables
    from ..initfile import document, parse
    from ..topology import resolve

    wanted = parse.parse(document.read(args.file))
    resolve.check(wanted, path_variables("/", args.file))
    return {"file": args.file, "domains": len(wanted.domains), "nets": len(wanted.nets)}


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
