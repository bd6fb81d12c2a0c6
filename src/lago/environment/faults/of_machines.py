"""The kinds of faults of machines: what they are called, and what people say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .amounts import (
    bytes_a_second,
    difference,
    drift,
    error,
    iops,
    megabytes,
    spell_bytes,
    spell_difference,
    spell_drift,
    spell_megabytes,
)
from .model import Kind, Option
from .plain import CLOCK, CPU, DISK, FREEZE, MEMORY, PANIC, POWER, RESET
from .values import flag, share, spell_share

if TYPE_CHECKING:
    from .machines import Machines


def _machines() -> Machines:
    # Imported by who breaks something, as it takes libvirt.
    from .machines import MACHINES

    return MACHINES


KINDS: Final = (
    Kind(
        name=POWER,
        help="cut the power of a machine off",
        description="The machine is down at once, and what its guest had not written yet is lost. lago heal, and lago "
        "start, give it power again: it boots.",
        by=_machines,
        ends=True,
        once=True,
        saved=True,
    ),
    Kind(
        name=FREEZE,
        help="let a machine stand still",
        description="Its processors stand still, with all that is in its memory. lago heal lets it go on, with its "
        "clock put right.",
        by=_machines,
        saved=True,
        ends=True,
    ),
    Kind(
        name=PANIC,
        help="let the kernel of a machine panic",
        description="By an NMI, for which its guest is told to panic (kernel.unknown_nmi_panic), if it can be reached. "
        "lago heal resets it, so that it boots again, if it has not done so by itself.",
        by=_machines,
        ends=True,
        once=True,
        saved=True,
    ),
    Kind(
        name=RESET,
        help="press the reset button of a machine",
        description="It boots again, whatever it was doing; there is nothing to heal.",
        by=_machines,
        ends=True,
        lasting=False,
        once=True,
        saved=True,
    ),
    Kind(
        name=DISK,
        help="make a disk slow, failing, read-only, gone or full",
        description="Of a machine's disk by its name in the init file (db:root) or its device (db:vda), or of all that "
        "it has. What fails is failed below the guest, which finds I/O errors; what it has in memory of the disk it "
        "still reads.",
        target="VM:DISK|VM",
        options=(
            Option(name="iops", metavar="NUMBER", help="do so many reads and writes in a second at most", read=iops),
            Option(
                name="rate",
                metavar="SIZE",
                help="read and write so much in a second at most, such as 1M",
                read=bytes_a_second,
                spell=spell_bytes,
            ),
            Option(name="error", metavar="read|write|both", help="answer these with I/O errors", read=error),
            Option(name="read_only", help="answer with errors what would change it", read=flag),
            Option(name="detach", help="be gone: answer everything with errors, at once", read=flag),
            Option(
                name="full",
                help="as if this host's disk were full: QEMU pauses the machine when it writes next, and it goes on, "
                "and loses nothing, when that is healed",
                read=flag,
            ),
        ),
        by=_machines,
        ends=True,
    ),
    Kind(
        name=CLOCK,
        help="let the clock of a machine be wrong",
        most=1,
        positional=(
            Option(
                name="by",
                metavar="+TIME|-TIME",
                help="ahead or behind by so much, such as +1h or -90s",
                read=difference,
                spell=spell_difference,
                optional=True,
            ),
        ),
        options=(
            Option(
                name="drift",
                metavar="RATE",
                help="gain, or with - lose, so much: 100ppm, -1%%; 10%% at most",
                read=drift,
                spell=spell_drift,
            ),
        ),
        by=_machines,
        ends=True,
        inside=True,
        saved=True,
    ),
    Kind(
        name=CPU,
        help="leave a machine little processor time",
        most=1,
        positional=(
            Option(
                name="share",
                metavar="SHARE",
                help="the part of the time for which its processors run, such as 10%%",
                read=share,
                spell=spell_share,
            ),
        ),
        by=_machines,
        ends=True,
    ),
    Kind(
        name=MEMORY,
        help="leave a machine little memory",
        description="As if it had no more memory than so much. A file inside of its guest holds the rest, as a balloon "
        "would damage the memory that snapshots and forks share.",
        most=1,
        positional=(
            Option(
                name="size",
                metavar="SIZE",
                help="what is left to it, such as 128M",
                read=megabytes,
                spell=spell_megabytes,
            ),
        ),
        by=_machines,
        ends=True,
        inside=True,
        saved=True,
    ),
)
