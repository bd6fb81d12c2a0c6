"""Settings: defaults, `/etc/lago/lago.conf`, XDG `lago/lago.conf`, environment, command line; the last one wins.

The environment is `LAGO_<NAME>` for the section `[lago]` and `LAGO__<SECTION>__<NAME>` for any other. Values are typed
by `OPTIONS`; a value of the wrong type is a `ConfigError` that names where it stands.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .errors import ConfigError


class Option(NamedTuple):
    """One setting: how to read it from text, its default, and a sentence for people."""

    read: Callable[[str], Any]
    default: Any
    help: str


def _choice(*values: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in values:
            raise ValueError(f"expected one of {', '.join(values)}")
        return text

    return read


def _boolean(text: str) -> bool:
    value = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}
    if text.lower() not in value:
        raise ValueError("expected true or false")
    return value[text.lower()]


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError("expected a whole number above 0")
    return int(text)


def data_home() -> str:
    """Where this user's images live, the XDG data directory."""
    return os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "lago")


def cache_home() -> str:
    """Where things live that can be made again, the XDG cache directory."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lago")


def template_store() -> str:
    """The directory of template images."""
    return os.path.abspath(os.path.expanduser(get("template_store") or os.path.join(data_home(), "store")))


OPTIONS: Final[dict[str, Option]] = {
    "libvirt_url": Option(str, "private", "libvirt to use: 'private' gives every prefix its own"),
    "accel": Option(_choice("auto", "kvm", "tcg"), "auto", "acceleration of guests; auto probes whether KVM works"),
    "egress": Option(
        _choice("auto", "slirp4netns", "pasta", "none"),
        "auto",
        "how guests on nat networks of a private hypervisor reach the outside",
    ),
    "egress_host_loopback": Option(_boolean, False, "let guests reach the host's loopback at 10.0.2.2"),
    "ssh_user": Option(str, "root", "user to log in as on guests"),
    "boot_timeout": Option(_positive, 120, "seconds a guest may take to answer ssh (times 5 when emulated)"),
    "lock_timeout": Option(_positive, 600, "seconds to wait for another Lago that uses the same prefix"),
    "default_root_password": Option(str, "123456", "root password of guests whose template allows one"),
    "template_store": Option(str, "", "directory of template images (default: in the XDG data directory)"),
    "debian_mirror": Option(str, "", "mirror to build templates from (default: those of the host's apt)"),
    "template_repo_path": Option(str, "", "template repository (default: the one that comes with Lago)"),
    "subnet_range": Option(str, "200-209", "third octets of the first and last 192.168.N.0/24 to lease"),
    "lease_dir": Option(str, "/var/lib/lago/subnets", "directory of subnet leases on shared host networks"),
}

_command_line: dict[str, Any] = {}


def set_command_line(values: dict[str, Any]) -> None:
    """Options given on the command line, which win over everything else."""
    _command_line.clear()
    add_command_line(values)


def add_command_line(values: dict[str, Any]) -> None:
    """Options that only one verb has."""
    _command_line.update({k: v for k, v in values.items() if v is not None})


_NOTHING: Final = object()


def get(key: str, default: Any = _NOTHING, section: str = "lago") -> Any:
    """The value of a setting.

    Args:
        key: its name; `-` and `_` are the same.
        default: what to return when it is set nowhere; without it the built-in default.

    Raises:
        KeyError: there is no such setting and no default.
        ConfigError: its value has the wrong type.
    """
    key = key.replace("-", "_").lower()
    if section == "lago" and key in _command_line:
        return _command_line[key]
    option = OPTIONS.get(key) if section == "lago" else None
    found = _from_environment(section, key) or _from_files(section, key)
    if found is None:
        if default is not _NOTHING:
            return default
        if option is None:
            raise KeyError(key)
        return option.default
    text, source = found
    if option is None:
        return text
    try:
        return option.read(text)
    except ValueError as error:
        raise ConfigError(f"{source}: {key} = {text}: {error}", hint=option.help) from None


def _from_environment(section: str, key: str) -> tuple[str, str] | None:
    name = f"LAGO_{key}" if section == "lago" else f"LAGO__{section}__{key}"
    value = os.environ.get(name.upper())
    return (value, f"environment variable {name.upper()}") if value else None


def files() -> list[str]:
    """The configuration files in the order in which they are read, whether they exist or not."""
    system = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    user = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return ["/etc/lago/lago.conf"] + [os.path.join(d, "lago", "lago.conf") for d in [*reversed(system), user]]


def _from_files(section: str, key: str) -> tuple[str, str] | None:
    found = None
    for path in files():
        if not os.path.exists(path):
            continue
        import configparser

        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except configparser.Error as error:
            raise ConfigError(f"{path}: {error.message}") from None
        if parser.has_option(section, key):
            found = (parser.get(section, key), path)
    return found
