"""Waiting until a machine answers, and telling how far it came when it does not."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

import libvirt

from .. import bootstrap, config
from ..bootstrap import logins
from ..errors import SSHError, VMNotReady
from ..guest.ssh import last_words, refuses
from ..host import long_logs
from ..host.programs import repeated, tail
from ..host.waiting import within
from ..log import LOG
from .machine import Machine
from .stuck import Stuck, firmware_gave_up, kernel_spoke, lines, stuck

Phase = Callable[[str, str], None]
"""Called with a machine's name and what it does now."""

_SSH_PORT = 22
_TAIL = 25
HALTED_BY_IO = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)
"""State of a machine that QEMU has halted, as it could not write, and the reason for it."""
_PANIC = "Kernel panic"
_HALTED = "end Kernel panic"
"""What a kernel says after a panic unless it is about to reboot."""
_REFUSED_FOR = 30.0
"""Seconds after which a guest that lets nobody in is believed, times 5 when emulated."""
_BUSY = re.compile("kex_exchange_identification|Connection (closed|reset)")
"""What ssh says where a server has enough of us for a while."""
_SILENT_FOR = 10.0
"""Seconds after which the last words of a guest that is stuck by them are believed, times 5 when emulated."""
_PREPARED = re.compile(r"Cloud-init v\. .* finished at|lago-init: ssh started")
"""What is said on the console when all has been done by which somebody might be let in."""


def wait_for_ssh(
    machine: Machine,
    timeout: float,
    on_phase: Phase,
    command: Callable[[], bool],
    tries: int | None,
    *,
    listens: bool = False,
) -> None:
    """Return when the machine has run a command over ssh.

    Args:
        timeout: seconds.
        command: runs one on it, and says whether it succeeded, as it must.
        tries: how many logins may fail; None: any number.
        listens: it ran before, so ssh is tried without asking first whether anybody is there.

    Raises:
        VMNotReady: it has not within `timeout`, it ended, or it lets nobody in; says how far it came.
    """
    ended = machine.env.lifecycle.ended(machine.libvirt_name())
    last: Exception | None = None
    phase = ""
    cancelled = machine.env.cancelled
    before = machine.console_undone()
    if machine.libvirt_state() == HALTED_BY_IO:
        raise explain(machine, None, None)
    each = (config.get("ssh_timeout") or math.inf) * machine.env.accel.time_factor
    patience = _REFUSED_FOR * machine.env.accel.time_factor
    refused_since: float | None = None
    failed = 0
    last_said = _LastSaid(_SILENT_FOR * machine.env.accel.time_factor)
    for left in within(timeout):
        if not left or ended.is_set() or cancelled.is_set():
            break
        console = machine.console_text()
        if _HALTED in console[before:] or (last_said.stays(console) and _stuck(console[before:], last)):
            break
        answered = listens or isinstance(last, SSHError)
        now = "logging in" if answered else "booting" if kernel_spoke(console) else "starting"
        if now != phase:
            on_phase(machine.name(), now)
            phase = now
        try:
            if not listens and not isinstance(last, SSHError):
                machine.env.hypervisor.connect(machine.ip(), _SSH_PORT, min(1.0, left)).close()
            machine.guest.open(min(left, each), lambda: ended.is_set() or cancelled.is_set())
            if not command():
                raise SSHError("it logs us in, but does not run a command")
            return
        except SSHError as error:
            LOG.debug("%s", error.render())
            machine.guest.close()
            last = error
            failed += 1
            if tries is not None and failed >= tries:
                break
            if refuses(error) and not _prepares_itself(machine, console):
                refused_since = refused_since or time.monotonic()
            elif not _BUSY.search(last_words(error)):
                refused_since = None
            if refused_since is not None and time.monotonic() - refused_since >= patience:
                break
            ended.wait(0.5)
        except OSError as error:
            last = error
            ended.wait(0.02)
    if cancelled.is_set():
        raise VMNotReady(f"{machine.name()}: no longer waited for")
    raise explain(machine, None if left else timeout, last, before)


class _LastSaid:
    """What was said last, and since when.

    Args:
        patience: seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._text: str | None = None
        self._since = 0.0

    def stays(self, text: str) -> bool:
        """Whether it was the same for as long as our patience."""
        if text != self._text:
            self._text, self._since = text, time.monotonic()
        return time.monotonic() - self._since >= self._patience


def _stuck(console: str, last: Exception | None) -> Stuck | None:
    """What keeps a machine from coming up by itself, by its console; None where ssh answered last."""
    return None if isinstance(last, SSHError) else stuck(console)


def _prepares_itself(machine: Machine, console: str) -> bool:
    """Whether it may still be about to let us in: cloud-init, or a first boot, is at work there."""
    if _PREPARED.search(console):
        return False
    seeded = bootstrap.method(machine.spec) == "cloud-init" or "cloud-init[" in console
    return seeded or bootstrap.works_at_first_boot(machine.spec)


def explain(machine: Machine, timeout: float | None, last: Exception | None, before: int = 0) -> VMNotReady:
    """Error for a machine that does not answer: how far it came, with the end of its console log.

    Args:
        timeout: what was waited in vain, if it was not ended early.
        before: how much was on its console before it was brought back.
    """
    console = machine.console_text()
    found = _stuck(console[before:], last) if machine.running() else None
    what, details = (f"{found.what}: {found.words}", "") if found else _how_far(machine, console, last, before)
    console_tail = tail("\n".join(lines(console)), _TAIL)
    waited = f" within {timeout:g} s" if timeout is not None else ""
    hint = f"its whole console log: {machine.console_log()}"
    if found is not None:
        hint = f"{found.remedy}; {hint}"
    elif machine.state() == "paused":
        hint = f"lago start, which lets it go on; {hint}"
    if refuses(last) and details == getattr(last, "details", None):
        what, remedy = f"{what}: {_refusal(machine)}", _WAYS[bootstrap.method(machine.spec)].remedy
        details = repeated(details)
        hint = f"{remedy}, or write ssh-user and ssh-password as they are there into the init file; {hint}"
    return VMNotReady(
        f"{machine.name()} did not answer ssh{waited}: {what}",
        details="\n".join(part for part in (details, console_tail and f"console:\n{console_tail}") if part),
        hint=hint,
    )


class _Way(NamedTuple):
    """How a guest was prepared, and what to do if it lets nobody in."""

    done: str
    remedy: str


_WAYS = {
    "none": _Way("it was not prepared (bootstrap: none)", "let it be prepared, by bootstrap: virt-sysprep"),
    "virt-sysprep": _Way("its disk was prepared by virt-sysprep", "let sshd on its image take such logins"),
    "cloud-init": _Way(
        "it was given a seed disk for cloud-init",
        "if there is no cloud-init on its image, write bootstrap: virt-sysprep",
    ),
    "credentials": _Way(
        "it was given systemd credentials",
        "if there is no systemd 252 or later on its image, write bootstrap: virt-sysprep",
    ),
}


def _refusal(machine: Machine) -> str:
    """What a guest refuses that answers and lets nobody in; never a password itself."""
    *most, last = "the key of this environment", *(one.source for one in logins.passwords(machine.spec))
    tried = f"{', '.join(most)} and {last}" if most else last
    return f"it refuses {tried}; {_WAYS[bootstrap.method(machine.spec)].done}"


def _how_far(machine: Machine, console: str, last: Exception | None, before: int) -> tuple[str, str]:
    state, reason = machine.libvirt_state()
    panic = next((line for line in console[before:].splitlines() if _PANIC in line), None)
    if panic:
        return f"its kernel panicked: {panic.strip()}", ""
    if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, None):
        if state is not None and reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN:
            return "it powered itself off", ""
        return "QEMU ended", _qemu_said(machine)
    if state == libvirt.VIR_DOMAIN_PAUSED:
        on_io = reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR
        return ("it is paused on an I/O error, is the disk full?" if on_io else "it is paused"), _qemu_said(machine)
    if not kernel_spoke(console):
        return "there was no kernel output", _qemu_said(machine)
    if isinstance(last, SSHError):
        return f"ssh: {last.what}", last.details
    if (refused := firmware_gave_up(console)) is not None:
        return refused, ""
    if not machine.has_lease():
        return "its kernel runs, but it got no address (no DHCP lease)", ""
    return f"it has its address {machine.ip()}, but port {_SSH_PORT} is closed: {last}", ""


def _qemu_said(machine: Machine) -> str:
    path = machine.qemu_log()
    if path is None:
        return ""
    text = ""
    with contextlib.suppress(OSError):
        text = long_logs.end_of(path)[1].decode(errors="replace")
    # The log repeats the whole command line, which starts with the environment and ends where stderr begins.
    said = [line for line in text.rpartition("-msg timestamp=on\n")[2].splitlines() if line.strip()]
    return f"{os.path.basename(path)}:\n{tail(chr(10).join(said), 10)}" if said else ""
