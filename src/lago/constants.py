"""Names and numbers that several modules share."""

from __future__ import annotations

from typing import Final

DEFAULT_INIT_FILE: Final = "LagoInitFile"
DEFAULT_WORKDIR: Final = ".lago"
DEFAULT_PREFIX: Final = "default"

MIN_SUBNET: Final = 200
MAX_SUBNET: Final = 209

DEFAULT_MEMORY_MIB: Final = 1024
DEFAULT_VCPU: Final = 2

PREFIX_PATH_VARIABLE: Final = "LAGO_PREFIX_PATH"
WORKDIR_PATH_VARIABLE: Final = "LAGO_WORKDIR_PATH"
INITFILE_PATH_VARIABLE: Final = "LAGO_INITFILE_PATH"
"""Variables in paths of init files: the prefix, its workdir, the directory of the init file.

With a dollar sign, the first one stands for the prefix in its own files too, so that a prefix can be moved.
"""

DEPLOY_SCRIPTS: Final = "deploy-scripts"
OVIRT_SCRIPTS: Final = "ovirt-scripts"
"""Keys of a machine's metadata that list scripts: for `lago deploy`, and those for `lago ovirt deploy` alone."""

COLLECTED_LOGS: Final = ("console.log", "console.log.old", "qemu.log")
"""Names of the logs that `lago collect` has of each machine."""

SNAPSHOT_COMMANDS: Final = ("list", "tree", "delete")
"""What `lago snapshot` does with the snapshots that there are; none can be called so."""

PRIVATE: Final = "private"
"""The `libvirt_url` of a libvirt that is a prefix's own, in namespaces of its own."""

TCG_TIME_FACTOR: Final = 5
"""Time-outs are multiplied by this when guests are emulated rather than virtualised."""

HOST_LOOPBACK: Final = "100.64.77.2"
"""Where guests reach the host's loopback, if `egress_host_loopback` allows it."""

URL_SCHEMES: Final = ("http", "https", "file")
"""What an address may begin with."""

PROGRAMS_OF_ROOT: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Directories that the search path of an ordinary user often lacks."""
