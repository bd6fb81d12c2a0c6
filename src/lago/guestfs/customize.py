"""Builders: programs that change the image of a disk when the environment is made (`build` in the init file)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ..paths import Paths
from ..topology.model import Disk
from . import programs


def build(disk: Disk, paths: Paths, directory: str) -> None:
    """Run the builders of a disk, one after another.

    Args:
        directory: where relative paths in their options begin.

    Raises:
        HostError: libguestfs is missing.
        DiskError: a builder failed; details are its own error output.
    """
    image = os.path.join(paths.prefix(), disk.path)
    for step in disk.build:
        for builder, options in step.items():
            words = arguments(options, paths.ssh_id_rsa_pub())
            argv = [builder, "--quiet", "--format", disk.image_format, "-a", image, *words]
            programs.run_program(argv, failure=f"cannot build the disk {disk.name}: {builder} failed", cwd=directory)


def arguments(options: Mapping[str, Sequence[str]], public_key: str) -> list[str]:
    """Options as words of a command line; one without values stands alone, one with several is repeated.

    Args:
        public_key: path of the key that `ssh-inject` without a value gives to root.
    """
    words = []
    for key, values in options.items():
        if key == "ssh-inject" and not values:
            values = [f"root:{programs.key_selector(public_key)}"]
        option = f"-{key}" if len(key) == 1 else f"--{key}"
        words += [word for value in values for word in (option, value)] if values else [option]
    return words
