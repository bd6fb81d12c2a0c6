"""What runs machines on this host, as far as saved memory needs the same."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping

from ... import config
from ...errors import CommandError, LagoError
from ...host.programs import run
from ...hypervisor import accel
from ..fingerprint import processor

_PROGRAMS = {"QEMU": accel.QEMU, "libvirt": "libvirtd"}


@functools.cache
def _version(program: str) -> str:
    """Major and minor number of a program: what comes behind mends errors, and leaves saved memory as it is."""
    try:
        said = run([program, "--version"]).text
    except CommandError:
        return "none"
    found = re.search(r"\b(\d+\.\d+)", said)
    return found[1] if found else said.strip()[:60]


def here(kind: str | None = None) -> dict[str, str]:
    """Return what there is on this host: `QEMU` and `libvirt` by version, `acceleration`, and under KVM `processor`.

    Args:
        kind: the acceleration, if it is known.

    Raises:
        HostError: the acceleration that is wanted does not work.
    """
    found = {name: _version(program) for name, program in _PROGRAMS.items()}
    found["acceleration"] = kind or accel.choose(config.get("accel")).kind
    if found["acceleration"] == "kvm":
        # What is emulated is the same wherever it is.
        found["processor"] = hashlib.sha256(processor().encode()).hexdigest()[:16]
    return found


def check(name: str, then: Mapping[str, str], hint: str) -> None:
    """Raise LagoError if memory that was saved elsewhere can't be expected to go on here.

    Args:
        name: of the capsule.
        then: what there was, as of `here`.
        hint: the remedy.
    """
    now = here()
    other = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    if other:
        raise LagoError(
            f"the memory in the capsule {name} can't go on here, as it was saved by another {' and '.join(other)}",
            details="\n".join(f"{key}: {then.get(key, 'none')} then, {now.get(key, 'none')} here" for key in other),
            hint=hint,
        )
