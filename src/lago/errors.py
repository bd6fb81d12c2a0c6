"""Everything Lago raises on purpose.

    LagoError                       base; exit code 2: the user can mend it
    ├── ConfigError                 a configuration value is wrong
    ├── InitFileError               mistakes of an init file, all of them
    ├── PrefixError                 a prefix or workdir is missing, malformed or already there
    │   └── LockTimeout             another process holds the prefix, image or lease
    ├── HostError                   the host lacks something (program, namespace, space)
    ├── HypervisorError             libvirt, or the namespaces it lives in, refuse
    ├── CommandError                an outside program failed
    ├── FetchError                  what is at an address can't be had
    ├── TemplateError               a template, its repository or its store
    ├── DiskError                   qemu-img refuses
    ├── VMError                     about one virtual machine
    │   ├── VMNotFound
    │   ├── VMNotRunning
    │   ├── VMNotReady              it did not come up; says how far it came
    │   └── ExtractPathError        files of it can't be had
    │       └── ExtractPathNoPathError  they are not there
    ├── SSHError                    the transport to a guest, never the guest's own command
    ├── Errors                      several independent operations failed, each for its own reason
    └── InternalError               exit code 1: we must mend it

Every error has three parts: what failed, details, and a hint that says what to do about it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

REMEDIES: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, your quota is used up",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "choose a place that is yours to read and write",
    errno.EPERM: "choose a place that is yours to read and write",
}
"""What the system refuses for reasons that are not ours, and what to do about it."""

# Compiled when they are used: this is read at every start.
_COLOUR: Final = r"\x1b\[[0-9;]*[mK]"
_CONTROL: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""C0 and C1 but for tab and the end of a line, what turns the direction of text, and bytes that are no text."""


def printable(text: str) -> str:
    r"""Return `text` without colours, and with other control characters as one writes them: `\x1b` for ESC.

    What guests, images and servers sent gets to a terminal like this, in errors and elsewhere. A terminal obeys such
    characters: they move its cursor, set its title, or type on its keyboard.
    """
    if text.isprintable():
        return text
    return re.sub(_CONTROL, _written, re.sub(_COLOUR, "", text))


def _written(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


class LagoError(RuntimeError):
    """An error the user can mend.

    Args:
        what: one line, what failed.
        details: supporting output, for example the tail of a log.
        hint: what to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, details: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.details = details
        self.hint = hint

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.what, self.details, self.hint))

    def __str__(self) -> str:
        return self.what

    def render(self) -> str:
        """The error as a person reads it, harmless on a terminal: what, indented details, hint."""
        lines = [self.what]
        lines += [f"    {line}" for line in self.details.rstrip().splitlines()]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return printable("\n".join(lines))


class ConfigError(LagoError):
    """A configuration value is wrong; the message names its source."""


class Finding(NamedTuple):
    """Something that is told of an init file.

    Attributes:
        file: as the user named it.
        line: where it begins, counted from 1; None if it is about the file as a whole.
        column: the same.
        path: the keys that lead there, such as `domains.vm0.nics[1].ip`; empty for the file as a whole.
        kind: a mistake must be corrected. A warning tells of what is odd, a note of what was not checked.
    """

    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    kind: Literal["mistake", "warning", "note"] = "mistake"

    def __str__(self) -> str:
        """Return `file:line:column: path: message`."""
        where = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class InitFileError(LagoError):
    """An init file has mistakes.

    Attributes:
        mistakes: complete lines `file:line:column: message`.
        findings: the same as values, and what else was found.
    """

    def __init__(self, findings: Sequence[Finding], *, hint: str = "") -> None:
        mistakes = tuple(str(finding) for finding in findings if finding.kind == "mistake")
        number = len(mistakes)
        what = mistakes[0] if number == 1 else f"{number} mistakes in the init file"
        super().__init__(what, details="\n".join(mistakes) if number > 1 else "", hint=hint)
        self.mistakes = mistakes
        self.findings = tuple(findings)


class PrefixError(LagoError):
    """A prefix or workdir is missing, malformed or already there."""


class LockTimeout(PrefixError):
    """Another process holds the lock for longer than we wait."""


class HostError(LagoError):
    """The host lacks something; the hint is the remedy."""


class HypervisorError(LagoError):
    """Libvirt, or the namespaces it lives in, refuse."""


class CommandError(LagoError):
    """An outside program failed.

    Attributes:
        argv: the command.
        code: its exit status (negative: ended by that signal).
    """

    def __init__(self, argv: Sequence[str], code: int, *, details: str = "", hint: str = "") -> None:
        end = f"ended by signal {-code}" if code < 0 else f"failed with exit status {code}"
        super().__init__(f"{argv[0]} {end}", details=details, hint=hint)
        self.argv = tuple(argv)
        self.code = code


class FetchError(LagoError):
    """What is at an address can't be had; `code` is the HTTP status, None when no server said so."""

    def __init__(self, what: str, *, code: int | None = None, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.code = code


class TemplateError(LagoError):
    """A template, its repository or its store."""


class DiskError(LagoError):
    """A disk image can't be made or read."""


class VMError(LagoError):
    """About one virtual machine."""


class VMNotFound(VMError):
    """No virtual machine of that name; the hint lists near names."""


class VMNotRunning(VMError):
    """The virtual machine is not running."""


class VMNotReady(VMError):
    """The virtual machine did not come up; the message says how far it came."""


class ExtractPathError(VMError):
    """Files of a virtual machine can't be had, neither over ssh nor out of its disks."""


class ExtractPathNoPathError(ExtractPathError):
    """What was to be copied is not there on the virtual machine."""


class SSHError(LagoError):
    """The transport to a guest failed; a guest's failed command is not an error of this kind."""


class InternalError(LagoError):
    """Our mistake."""

    exit_code = 1


class Errors(LagoError):
    """Several independent operations failed; `errors` are all of them."""

    def __init__(self, what: str, errors: Iterable[BaseException]) -> None:
        self.errors = tuple(errors)
        details = "\n".join(e.render() if isinstance(e, LagoError) else f"{type(e).__name__}: {e}" for e in self.errors)
        super().__init__(what, details=details)
        if not all(isinstance(e, LagoError) or _is_refused(e) for e in self.errors):
            self.exit_code = 1


def _is_refused(error: BaseException) -> bool:
    """Whether it is the system that refuses something for reasons that are not ours, as it does if it is alone."""
    return isinstance(error, OSError) and error.errno in REMEDIES
