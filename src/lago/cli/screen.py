"""The commands for screens of machines: vnc, screenshot, film."""

from __future__ import annotations

import argparse
import functools
import sys

from ..errors import LagoError
from . import output
from .forward import serve
from .machine import add_host, the_machine
from .parser import Commands


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    vnc = commands.add_parser(
        "vnc",
        description="Tell where a VNC client finds the screen of a machine. Where its hypervisor has a network of its "
        "own, listen on the loopback address of this host until Ctrl-C.",
    )
    add_host(vnc)
    vnc.add_argument("--port", type=int, default=0, metavar="HOSTPORT", help="where to listen (a free one)")
    vnc.set_defaults(run=_vnc)
    screenshot = commands.add_parser("screenshot")
    add_host(screenshot)
    screenshot.add_argument("file", metavar="FILE", help="the PNG file")
    screenshot.set_defaults(run=_screenshot)
    film = commands.add_parser(
        "film",
        description="The ending of FILE says what is recorded: .webm and .gif the screen, by ffmpeg, .cast the serial "
        "console, for asciinema. The film ends with --duration, with the machine, or by Ctrl-C; there is a file then.",
    )
    add_host(film)
    film.add_argument("file", metavar="FILE", help="the film: NAME.webm, NAME.gif or NAME.cast")
    film.add_argument("--duration", type=float, metavar="SECONDS", help="how long it lasts (until Ctrl-C)")
    film.add_argument("--rate", type=float, default=5.0, metavar="N", help="frames of the screen a second (5)")
    film.set_defaults(run=_film)


def _vnc(args: argparse.Namespace) -> object:
    from ..guest.forward import LOOPBACK, Forward, Local

    with the_machine(args) as vm:
        hypervisor = vm.env.hypervisor
        port = int(vm.vnc_port())
    if not hypervisor.local:
        raise LagoError(
            f"{args.host} shows its screen on another host only, at {LOOPBACK} port {port} there",
            hint=f"ssh -L 5900:{LOOPBACK}:{port} THAT_HOST, and connect to {LOOPBACK} port 5900",
        )
    data = {"vm": args.host, "host": LOOPBACK, "port": port}
    if hypervisor.shared:
        return data
    connect = functools.partial(hypervisor.connect, LOOPBACK, port, 5)
    with Forward(connect, Local(args.port), f"{args.host}'s screen") as forward:
        data["port"] = forward.address[1]
        serve(data, [f"vnc://{LOOPBACK}:{data['port']}"], args.out_format)
    return None


def _screenshot(args: argparse.Namespace) -> None:
    with the_machine(args) as vm:
        vm.screenshot(args.file)


def _film(args: argparse.Namespace) -> None:
    with the_machine(args) as vm:
        end = "Ctrl-C ends it" if args.duration is None else f"for {args.duration:g} s"
        begun = functools.partial(output.write, f"recording {args.host}, {end}", sys.stderr)
        vm.film(args.file, args.duration, args.rate, begun)
