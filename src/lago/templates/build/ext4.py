"""Pack a tree into an ext4 image, without mounting, privileges or chance: same tree, same bytes."""

from __future__ import annotations

import os
import stat
from signal import SIGKILL

from ...errors import DiskError, TemplateError
from ...host.programs import run, tail
from .tree import Entry, Tree

EPOCH = 1_700_000_000
"""The time of everything in an image: 14 November 2023. Nothing depends on it, but it must always be the same."""

_NAMESPACE = "4b7c4f0e-3c8e-5a39-9d4e-0d8f0f5b8d11"
_JOURNAL = 32
"""MiB. A guest that makes its file system grow needs a quarter of it, more than 4 MiB, for one transaction."""

_LABEL = 16
"""Bytes that a label may have."""

_DIRECTORY = stat.S_IFDIR | 0o755


def pack(tree: Tree, image: str, *, size: int, label: str, work: str) -> None:
    """Write `tree` as an ext4 file system of `size` bytes to the new sparse file `image`.

    Args:
        label: volume label, cut to 16 bytes; the file system's UUID is derived from the whole.
        work: directory for temporary files.
    """
    import uuid

    config = os.path.join(os.path.dirname(__file__), "..", "data", "mke2fs.conf")
    identity = str(uuid.uuid5(uuid.UUID(_NAMESPACE), label))
    options = f"hash_seed={identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    # The second name is understood by e2fsprogs from 1.47.1 on.
    clock = {"E2FSPROGS_FAKE_TIME": str(EPOCH), "SOURCE_DATE_EPOCH": str(EPOCH)}
    argv = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-m",
        "0",
        "-J",
        f"size={_JOURNAL}",
        "-L",
        label[:_LABEL],
        "-U",
        identity,
        "-E",
        options,
    ]
    run(
        [*argv, image, f"{size // 1024}k"],
        env={**clock, "MKE2FS_CONFIG": os.path.abspath(config)},
        dies_with_us=SIGKILL,
    )
    script = os.path.join(work, "debugfs.script")
    with open(script, "w", encoding="utf-8") as file:
        file.write("\n".join(_commands(tree)) + "\n")
    status = run(["debugfs", "-w", "-f", script, image], env=clock, dies_with_us=SIGKILL)
    complaints = [line for line in status.error_text.splitlines() if not line.startswith("debugfs 1")]
    if complaints:
        full = any("ould not allocate" in line or "o free space" in line for line in complaints)
        raise TemplateError(
            f"cannot pack the image of {label}",
            details=tail("\n".join(complaints)),
            hint=f"its contents need more than {size >> 20} MiB" if full else "",
        )
    check = run(["e2fsck", "-fn", image], env=clock, check=False, dies_with_us=SIGKILL)
    if check:
        raise DiskError(f"the packed image of {label} is damaged", details=check.text)


def _commands(tree: Tree) -> list[str]:
    commands: list[str] = []
    directory = "/"
    for path, entry in tree:
        parent, name = os.path.split(path)
        if f"/{parent}" != directory:
            directory = f"/{parent}"
            commands.append(f"cd {_quote(directory)}")
        commands.extend(_make(name, entry))
    return commands


def _make(name: str, entry: Entry) -> list[str]:
    quoted = _quote(name)
    if stat.S_ISDIR(entry.mode):
        commands = [f"mkdir {quoted}"]
        usual = _DIRECTORY
    elif stat.S_ISLNK(entry.mode):
        commands = [f"symlink {quoted} {_quote(entry.target)}"]
        usual = entry.mode
    else:
        commands = [f"write {_quote(entry.content)} {quoted}"]
        usual = stat.S_IFREG | stat.S_IMODE(os.stat(entry.content).st_mode)
    if entry.mode != usual:
        commands.append(f"sif {quoted} mode 0{entry.mode:o}")
    if entry.uid:
        commands.append(f"sif {quoted} uid {entry.uid}")
    if entry.gid:
        commands.append(f"sif {quoted} gid {entry.gid}")
    return commands


def _quote(text: str) -> str:
    if "\n" in text:
        raise TemplateError(f"cannot pack a file with the name {text!r}")
    # So that debugfs takes a quote for itself, and not for the end.
    return '"{}"'.format(text.replace('"', '""'))
