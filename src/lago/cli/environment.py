"""The commands for an environment's life: init, start, deploy, status, list, set-current, stop, cleanup, destroy."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, cast

from .. import log
from ..constants import DEFAULT_INIT_FILE, DEFAULT_PREFIX, DEFAULT_WORKDIR
from ..errors import PrefixError
from ..host import waiting
from . import output
from .initfile import add_repository_options, add_strict, use_repository
from .parser import Commands, Parser
from .result import Outcome

if TYPE_CHECKING:
    from ..environment.everywhere import Environment
    from ..environment.prefix import Prefix
    from ..environment.workdir import Workdir


_LISTED = ("envs", "prefixes")
"""What release 0.12 wanted to be told to list."""

_YES = ("y", "yes")
_PIPED_WITHIN = 2.0
"""Seconds in which an answer comes from a pipe, if one does."""


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    init = commands.add_parser("init")
    add_init_options(init)
    init.add_argument("--skip-bootstrap", action="store_true", help="don't tell machines their names and keys")
    init.add_argument("--skip-build", action="store_true", help="don't do what `build` of disks says")
    init.set_defaults(run=_init)
    start = commands.add_parser("start")
    start.add_argument("vm_names", nargs="*", metavar="VM_NAME", help="machines (all)")
    start.set_defaults(run=_start)
    commands.add_parser("deploy").set_defaults(run=_deploy)
    stop = commands.add_parser("stop")
    stop.add_argument("vm_names", nargs="*", metavar="VM_NAME", help="machines (all)")
    stop.set_defaults(run=_stop)
    shutdown = commands.add_parser(
        "shutdown",
        description="Ask machines by ACPI, then by their guest agent; those that do not heed it are stopped or reset.",
    )
    shutdown.add_argument("vm_names", nargs="*", metavar="VM_NAME", help="machines (all that run)")
    shutdown.add_argument("-r", "--reboot", action="store_true", help="boot them again, and wait until they answer")
    shutdown.set_defaults(run=_shutdown)
    commands.add_parser("status").set_defaults(run=_status)
    list_ = commands.add_parser("list", usage="lago list [envs | prefixes] [WORKDIR_PATH]\n       lago list --all")
    list_.add_argument("list_path", nargs="*", metavar="WORKDIR_PATH", help="the workdir; the word before is left out")
    list_.add_argument(
        "-a", "--all", action="store_true", help="all environments of yours on this host, whatever their workdir"
    )
    list_.set_defaults(run=_list)
    current = commands.add_parser("set-current")
    current.add_argument("current_name", metavar="PREFIX_NAME", help="the prefix, by its name in the workdir")
    current.set_defaults(run=_set_current)
    cleanup = commands.add_parser(
        "cleanup",
        description="Stop everything and let the environment be none any more. Its files stay, for a look at them, "
        "until `lago destroy` removes them.",
    )
    cleanup.set_defaults(run=_cleanup)
    destroy = cast(Parser, commands.add_parser("destroy"))
    destroy.add_argument("--all-prefixes", action="store_true", help="all prefixes of the workdir")
    destroy.add_argument("-y", "--yes", action="store_true", help="don't ask")
    destroy.instead = {
        "": "an environment is named before the command: lago -P {} destroy; lago list has the names",
        **dict.fromkeys(("-f", "--force"), "lago destroy --yes"),
    }
    destroy.set_defaults(run=_destroy)


def add_init_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `wanted_prefix` reads."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="[WORKDIR] [VIRT_CONFIG]",
        help=f"where to make it ({DEFAULT_WORKDIR}), and the init file ({DEFAULT_INIT_FILE})",
    )
    add_repository_options(parser)
    add_strict(parser)
    parser.add_argument("--frozen", action="store_true", help="use the images of the lock file and no others")
    parser.add_argument(
        "--set-current", action="store_true", help="make it the workdir's current prefix, as new ones are"
    )
    parser.add_argument("--keep-current", action="store_true", help="leave the workdir's current prefix as it is")


def the_prefix(args: argparse.Namespace) -> Prefix:
    """The prefix that the command line means. Raises PrefixError."""
    from ..environment.workdir import find_prefix

    return find_prefix(args.prefix_path, args.workdir_path, args.prefix_name)


def _init(args: argparse.Namespace) -> None:
    wanted_prefix(args).make(bootstrap=not args.skip_bootstrap, build=not args.skip_build)


class Wanted(NamedTuple):
    """A prefix that is to be made."""

    workdir: Workdir
    name: str
    init_file: str
    frozen: bool
    keep_current: bool

    def make(self, *, bootstrap: bool = True, build: bool = True) -> Prefix:
        """Make it, and make it the current one unless that is not wanted; see `Prefix.create`."""
        made = self.workdir.add_prefix(self.name, self.init_file, frozen=self.frozen, bootstrap=bootstrap, build=build)
        if not self.keep_current:
            self.choose()
        return made

    def choose(self) -> None:
        """Make it the current prefix, and say so where there are others."""
        self.workdir.set_current(self.name)
        if others := [name for name in self.workdir.prefixes() if name != self.name]:
            log.say(f"{self.name} is the current environment now, and not {' or '.join(others)}")


def wanted_prefix(args: argparse.Namespace) -> Wanted:
    """What the arguments of `add_init_options` mean. Raises PrefixError."""
    from ..environment.workdir import Workdir

    if len(args.paths) > 2:
        raise PrefixError(f"init takes a workdir and an init file, not {len(args.paths)} paths", hint="lago init -h")
    workdir_path = args.paths[0] if len(args.paths) == 2 else args.workdir_path or DEFAULT_WORKDIR
    init_file = args.paths[-1] if args.paths else DEFAULT_INIT_FILE
    use_repository(args)
    name = DEFAULT_PREFIX if args.prefix_name == "current" else args.prefix_name
    return Wanted(Workdir(workdir_path), name, init_file, args.frozen, args.keep_current and not args.set_current)


def _start(args: argparse.Namespace) -> None:
    from .progress import shown

    prefix = the_prefix(args)
    with shown(args.vm_names or list(prefix.topology.domains), sys.stderr) as on_phase:
        prefix.start(args.vm_names, on_phase)


def _deploy(args: argparse.Namespace) -> None:
    deploy(the_prefix(args))


def deploy(prefix: Prefix) -> None:
    """Run the deploy scripts of all machines, and show how far each is."""
    from ..environment.deploy import scripts
    from .progress import shown

    domains = prefix.topology.domains.items()
    with shown([name for name, vm in domains if scripts(vm, prefix.paths, prefix.SCRIPTS)], sys.stderr) as on_phase:
        prefix.deploy(on_phase)


def _stop(args: argparse.Namespace) -> None:
    the_prefix(args).stop(args.vm_names)


def _shutdown(args: argparse.Namespace) -> dict[str, str]:
    from .progress import shown

    prefix = the_prefix(args)
    with shown(args.vm_names or list(prefix.topology.domains), sys.stderr) as on_phase:
        return prefix.shutdown(args.vm_names, args.reboot, on_phase)


def _status(args: argparse.Namespace) -> Outcome:
    from . import status

    found = the_prefix(args).status()
    data = status.label(found, for_people=args.out_format.for_people)
    return Outcome(data, show=lambda stream: status.show(found, stream))


def _list(args: argparse.Namespace) -> Any:
    if args.all:
        return _list_all(args)
    from ..environment.workdir import find_workdir

    paths = args.list_path
    if paths and paths[0] in _LISTED and not os.path.isdir(paths[0]):
        paths = paths[1:]
    if len(paths) > 1:
        raise PrefixError(f"list takes one workdir, not {len(paths)}", hint="lago list --help")
    return find_workdir(*paths or (args.workdir_path or os.getcwd(),)).prefixes()


def _list_all(args: argparse.Namespace) -> Outcome:
    if args.list_path:
        raise PrefixError(
            "list --all takes no workdir", hint=f"lago list {shlex.join(args.list_path)}; or leave it out"
        )
    from ..environment.everywhere import environments

    found = environments()
    if args.out_format.for_people:
        return Outcome([one.path for one in found], show=lambda stream: _table(found, stream))
    return Outcome(
        [
            {
                **one._asdict(),
                "made": None if one.made is None else output.when(one.made),
                "since": None if one.since is None else output.when(one.since),
            }
            for one in found
        ]
    )


def _table(found: Sequence[Environment], stream: TextIO) -> None:
    rows = []
    for one in found:
        state = output.cell(one.state, {"up": "green", "down": "yellow"}.get(one.state, "red"))
        number = "" if one.machines is None else str(one.machines)
        since = next((output.when(t, " ") for t in (one.since, one.made) if t is not None), "")
        rows.append((one.name, state, number, since, one.path, one.why))
    from rich.table import Column

    headers = ("environment", "state", "machines", "since", Column("path", overflow="fold"), "")
    output.print_table(stream, headers, rows)


def _set_current(args: argparse.Namespace) -> None:
    from ..environment.workdir import find_workdir

    find_workdir(args.workdir_path or os.getcwd()).set_current(args.current_name)


def _cleanup(args: argparse.Namespace) -> None:
    the_prefix(args).cleanup()


def _destroy(args: argparse.Namespace) -> Outcome:
    from ..environment.workdir import CURRENT, find_workdir, is_prefix

    if args.prefix_path or (not args.workdir_path and is_prefix(os.getcwd())):
        prefix = the_prefix(args)
        path = prefix.paths.prefix()
        if not _confirm(path, args):
            return _nothing_destroyed()
        if not _was_link(path):
            prefix.destroy()
        return Outcome(None)
    workdir = find_workdir(args.workdir_path or os.getcwd())
    if args.all_prefixes:
        names = workdir.prefixes() + workdir.remains()
    else:
        names = workdir.doomed() if args.prefix_name == CURRENT else [_known(workdir, args.prefix_name)]
    if not _confirm(", ".join(names) or workdir.path, args):
        return _nothing_destroyed()
    if not (args.all_prefixes and _was_link(workdir.path)):
        workdir.destroy(name for name in names if not _was_link(workdir.join(name)))
    if (left := workdir.prefixes()) and workdir.chosen() not in left:
        log.say(f"no environment is the current one now; there are: {', '.join(left)}")
    return Outcome(None)


def _known(workdir: Workdir, name: str) -> str:
    if name not in workdir.remains() and not os.path.islink(workdir.join(name)):
        workdir.get_prefix(name)
    return name


def _nothing_destroyed() -> Outcome:
    output.write("lago: nothing was destroyed", sys.stderr)
    return Outcome(None, 1)


def _was_link(path: str) -> bool:
    """Remove a link, and return whether there was one; what it leads to is somebody else's."""
    if not os.path.islink(path):
        return False
    os.unlink(path)
    return True


def _piped() -> str:
    """Words that a script answers before it is asked, as in `yes | lago destroy`; empty if nothing comes."""
    with contextlib.suppress(OSError, ValueError):
        if waiting.readable([sys.stdin.fileno()], _PIPED_WITHIN):
            return sys.stdin.readline()
    return ""


def _confirm(what: str, args: argparse.Namespace) -> bool:
    if args.yes:
        return True
    if not sys.stdin.isatty():
        if _piped().strip().lower() in _YES:
            return True
        # The same again and not another one: what is not said here would be the current environment.
        given = (("-p", args.prefix_path), ("-w", args.workdir_path), ("-P", args.prefix_name))
        words = [word for option, value in given if value and value != "current" for word in (option, value)]
        ends = ["destroy", *(["--all-prefixes"] if args.all_prefixes else []), "--yes"]
        raise PrefixError(
            "destroy asks before it removes anything, and there is no terminal",
            hint=shlex.join(["lago", *words, *ends]),
        )
    output.write(f"Destroy {what}? [y/N] ", sys.stderr, end="")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        # The end of input leaves the cursor behind the question.
        output.write("", sys.stderr)
    return answer.strip().lower() in _YES
