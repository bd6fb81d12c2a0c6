"""The commands of Lago: which module of this package adds each, and what the list of commands says of it.

The list stands here, so that it can be shown without a parser for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

COMMANDS: Final[Mapping[str, Mapping[str, str]]] = {
    "environment": {
        "init": "make an environment from an init file",
        "start": "start machines and wait until they answer",
        "deploy": "run the deploy scripts of all machines",
        "stop": "stop machines as by pulling the plug",
        "shutdown": "power machines off, or boot them again",
        "status": "tell what there is and what runs",
        "list": "list the prefixes of a workdir",
        "set-current": "choose the prefix of a workdir that commands are for",
        "cleanup": "stop everything, keep the files only",
        "destroy": "stop everything and remove the environment",
    },
    "up": {
        "up": "make an environment unless it is there, start it, and deploy",
        "warm": "what up --warm has kept",
    },
    "initfile": {
        "validate": "check an init file; nothing is made or changed",
        "schema": "the JSON Schema of init files, for editors",
        "new": "write an init file to start from",
        "convert": "write today's form of an older init file",
    },
    "shell": {
        "shell": "a shell, a command or a script on a machine",
        "nsexec": "run a program of this host inside the environment's network",
    },
    "console": {
        "console": "a terminal on the serial console of a machine; Ctrl-] leaves it",
        "logs": "what machines said on their consoles since they were started",
    },
    "journal": {
        "journal": "tell what happened in the environment, and when",
        "note": "write a text into the journal of the environment",
    },
    "copying": {
        "copy-to-vm": "copy files and trees to a machine",
        "copy-from-vm": "copy a file or a tree from a machine",
    },
    "artifacts": {
        "collect": "copy artifacts and logs of all machines to a directory",
        "export": "write machines that are down into a directory, to be made again elsewhere",
        "ansible_hosts ansible-hosts": "print an inventory for Ansible",
    },
    "forward": {
        "forward": "make ports of a machine ports of this host, until Ctrl-C",
    },
    "ssh_config": {
        "ssh-config": "an ssh_config by which ssh, rsync, Ansible and editors reach machines",
    },
    "reachability": {
        "reachability": "tell which machines reach each other",
    },
    "screen": {
        "vnc": "tell where a VNC client finds the screen of a machine",
        "screenshot": "write what the screen of a machine shows to a PNG file",
        "film": "record the screen or the console of a machine, until Ctrl-C",
    },
    "capture": {
        "capture": "record the packets of networks, for Wireshark and its like",
    },
    "web": {
        "web": "a page for the browser: what happens, terminals, screens, snapshots, faults",
    },
    "snapshots": {
        "snapshot": "hold the state of all machines at one instant",
        "revert": "go back to a snapshot, with machines running if they did",
        "fork": "a copy of the environment that runs beside it",
    },
    "capsule": {
        "capsule": "list and open what failed tests left, at the instant of the failure",
    },
    "faults": {
        "fault": "break something on purpose: links, names, machines, disks, clocks",
        "heal": "undo what lago fault has done",
    },
    "chaos": {
        "chaos": "break links and machines at random times, and heal them",
    },
    "template": {
        "template": "list, build, fetch and remove templates",
    },
    "template_repo": {
        "template-repo": "add and update template repositories",
    },
    "report": {
        "report": "write what happened, and when, to one page",
    },
    "graph": {
        "graph": "draw machines, networks and addresses",
    },
    "config_commands": {
        "generate-config": "print a configuration file with all defaults",
    },
    "doctor": {
        "doctor": "tell what this host offers and lacks",
    },
}
"""By module; the other names of a command stand behind its first."""

NAMES: Final = {name: module for module, commands in COMMANDS.items() for names in commands for name in names.split()}
"""The module that adds a command, by each of its names."""
