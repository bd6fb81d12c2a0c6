"""The command `web`."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Final

from ..errors import HostError, LagoError
from . import output
from .environment import the_prefix
from .parser import Commands

_NEEDED: Final = ("starlette", "uvicorn", "websockets")
_LOOPBACK: Final = "127.0.0.1"


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    web = commands.add_parser(
        "web",
        description="Serve a page to this user's browser until Ctrl-C: what happens in all machines, terminals and "
        "screens, snapshots and faults. Machines go on as they are when it ends.",
    )
    where = web.add_mutually_exclusive_group()
    where.add_argument("--port", type=_port, default=0, help="of the loopback address (a free one)")
    where.add_argument("--socket", metavar="PATH", help="a unix socket in place of it, which nobody else can use")
    web.add_argument("--read-only", action="store_true", help="only show: no terminals, and nothing that changes")
    web.add_argument("--all", action="store_true", help="all environments that lago list --all has")
    web.set_defaults(run=_web)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, a number from 0 to 65535")
    return int(text)


def _web(args: argparse.Namespace) -> None:
    if lacking := [name for name in _NEEDED if find_spec(name) is None]:
        raise HostError(
            f"lago web needs Python packages that are not installed: {', '.join(lacking)}",
            hint="pip install '.[web]' in the directory of Lago's sources, or starlette, uvicorn and websockets",
        )
    if args.all:
        places = _everywhere
    else:
        prefix = the_prefix(args)
        here = {prefix.uuid: prefix.paths.prefix()}

        def places() -> Mapping[str, str]:
            return here

    from ..web.server import Page, run

    page = Page(places, read_only=args.read_only)
    with _listener(args) as listener, contextlib.suppress(KeyboardInterrupt):

        def announce(token: str) -> None:
            at = args.socket or f"http://{_LOOPBACK}:{listener.getsockname()[1]}"
            address = f"/?token={token}" if args.socket else f"{at}/?token={token}"
            data = {"at": at, "address": address, "token": token}
            lines = [f"{at} {address}" if args.socket else address]
            output.announce(data, lines, args.out_format)

        run(page, listener, announce)


def _everywhere() -> Mapping[str, str]:
    from ..environment.everywhere import DOWN, UP, environments

    return {one.uuid: one.path for one in environments() if one.state in (UP, DOWN)}


@contextlib.contextmanager
def _listener(args: argparse.Namespace) -> Iterator[socket.socket]:
    """Context manager: a socket that listens; that in a directory goes with it."""
    if not args.socket:
        with socket.socket() as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind((_LOOPBACK, args.port))
            except OSError as error:
                raise LagoError(
                    f"port {args.port}: {error.strerror}", hint="leave --port out, or name another"
                ) from None
            made.listen()
            yield made
        return
    with socket.socket(socket.AF_UNIX) as made:
        before = os.umask(0o177)
        try:
            made.bind(args.socket)
        except OSError as error:
            raise LagoError(f"{args.socket}: {error.strerror}", hint="choose a path that is free and short") from None
        finally:
            os.umask(before)
        try:
            made.listen()
            yield made
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(args.socket)
