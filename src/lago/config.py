"""Settings: defaults, `/etc/lago/lago.conf`, XDG `lago/lago.conf`, environment, command line; the last one wins.

Files of the earliest releases, `/etc/lago.d/*.conf` and `~/.lago`, are read first, and so count least.

The section `[lago]` has the global options, any other the options of the command it is named after. The environment is
`LAGO_<NAME>` for the section `[lago]` and `LAGO__<SECTION>__<NAME>` for any other. Values are typed by `OPTIONS`; a
value of the wrong type is a `ConfigError` that names where it stands. Names that nothing here knows are kept, as text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from .constants import HOST_LOOPBACK
from .errors import ConfigError


class Option(NamedTuple):
    """One setting.

    Attributes:
        read: makes its value of a text.
        default: its value when it is set nowhere.
        help: a sentence for people.
        choices: the values that there are, where they are few; the command line takes them from here.
    """

    read: Callable[[str], Any]
    default: Any
    help: str
    choices: tuple[str, ...] = ()


def _one_of(choices: tuple[str, ...], default: str, help_: str, read: Callable[[str], str] = str) -> Option:
    """A setting whose values are few words; `read` is done to a text before it is looked for among them."""

    def chosen(text: str) -> str:
        if (word := read(text)) not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return word

    return Option(chosen, default, help_, choices)


def boolean(text: str) -> bool:
    """Read a truth value. Raises ValueError."""
    value = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}
    if text.lower() not in value:
        raise ValueError("expected true or false")
    return value[text.lower()]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("expected a whole number") from None


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError("expected a whole number above 0")
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("expected a whole number, or 0")
    return int(text)


def _expressions(text: str) -> str:
    import re

    for one in text.split():
        try:
            re.compile(one)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{one} is no regular expression: {error}") from None
    return text


def _capturing(text: str) -> str:
    if text not in ("", "tcpdump", "dumpcap"):
        raise ValueError("expected tcpdump or dumpcap")
    return text


def data_home() -> str:
    """Where this user's images live, the XDG data directory."""
    return os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "lago")


def cache_home() -> str:
    """Where things live that can be made again, the XDG cache directory."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lago")


def state_home() -> str:
    """Where what this user did on this host is remembered, the XDG state directory."""
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "lago")


def template_store() -> str:
    """The directory of template images."""
    return os.path.abspath(os.path.expanduser(get("template_store") or os.path.join(data_home(), "store")))


def template_repos() -> str:
    """The directory of template repositories."""
    return os.path.abspath(os.path.expanduser(get("template_repos") or os.path.join(data_home(), "repos")))


OPTIONS: Final[dict[str, Option]] = {
    "loglevel": _one_of(
        ("info", "debug", "error", "warning"),
        "info",
        "what is shown of the log; the prefix's own has everything",
        str.lower,
    ),
    "logdepth": Option(_whole, 3, "how deep steps are shown, -1 for all"),
    "out_format": Option(str, "default", "how data is printed: default, flat, json, yaml, or what a plugin offers"),
    "prefix_path": Option(str, None, "the prefix, by path"),
    "workdir_path": Option(str, None, "the workdir, by path"),
    "prefix_name": Option(str, "current", "the prefix, by its name in the workdir"),
    "ignore_warnings": Option(boolean, False, "hide warnings of Python and of its libraries"),
    "ssh_user": Option(str, "", "user to log in as on guests (default: what the template says, or root)"),
    "ssh_password": Option(str, "123456", "password to log in with on guests that don't know our key"),
    "ssh_tries": Option(_positive, None, "logins to try before a guest is given up (default: all in its time)"),
    "ssh_timeout": Option(_positive, None, "seconds that one login may take (default: all the time that there is)"),
    "default_vm_type": Option(str, "default", "vm-type of machines that have none"),
    "default_vm_provider": Option(str, "local-libvirt", "vm-provider of machines that have none"),
    "libvirt_url": Option(str, "private", "libvirt to use: 'private' gives every prefix its own"),
    "libvirt_user": Option(str, None, "user name, for a libvirt that asks for one"),
    "libvirt_password": Option(str, None, "password, for a libvirt that asks for one"),
    "confine": _one_of(
        ("auto", "yes", "no"),
        "auto",
        "for root: run what runs guests under ids of their own, with no files of this host in view but those of the "
        "environment; auto warns where that can't be, yes refuses, no leaves it with all rights of root",
        str.lower,
    ),
    "accel": _one_of(("auto", "kvm", "tcg"), "auto", "acceleration of guests; auto probes whether KVM works"),
    "egress": _one_of(
        ("auto", "slirp4netns", "pasta", "none"),
        "auto",
        "how guests on nat networks of a private hypervisor reach the outside",
    ),
    "egress_host_loopback": Option(boolean, False, f"let guests reach the host's loopback at {HOST_LOOPBACK}"),
    "egress_host": Option(
        boolean,
        False,
        "let guests on nat networks reach the host's own addresses, and link-local ones such as a cloud's metadata "
        "service at 169.254.169.254",
    ),
    "boot_timeout": Option(_positive, 120, "seconds a guest may take to answer ssh (times 5 when emulated)"),
    "lock_timeout": Option(_positive, 600, "seconds to wait for another Lago that uses the same prefix"),
    "interrupt_timeout": Option(
        _positive, 4, "seconds that a command may take to tidy up after Ctrl-C or SIGTERM before it ends as by SIGKILL"
    ),
    "default_root_password": Option(str, "123456", "root password that guests get whose init file has none"),
    "strict": Option(boolean, False, "refuse init files of which there are warnings"),
    "restrict": Option(
        boolean,
        False,
        "refuse init files that want more of this host than guests on networks of their own: files outside of the init "
        "file's directory, shares, build, deploy scripts, bridges, plugins that run machines; and repository documents "
        "that name files",
    ),
    "template_store": Option(str, "", "directory of template images (default: in the XDG data directory)"),
    "debian_mirror": Option(
        str, "", "mirror of Debian to build templates from, but for security updates (default: those of the host's apt)"
    ),
    "template_repo_path": Option(str, "", "template repository, a file or an address (default: those of Lago)"),
    "template_repo_name": Option(str, "", "template repository by its name, below template_repos"),
    "template_repos": Option(str, "", "directory of template repositories (default: in the XDG data directory)"),
    "log_limit": Option(_positive, 64, "MiB that are kept, the last ones, of each console log and each log of QEMU"),
    "capture_program": Option(
        _capturing, "", "what captures packets, tcpdump or dumpcap (default: the first of these that is installed)"
    ),
    "capture_size": Option(_positive, 64, "MiB that a file of captured packets may have"),
    "capture_files": Option(_positive, 4, "files of captured packets that are kept of a capture, the last ones"),
    "journal_limit": Option(
        _not_negative, 64, "MiB that the journal of an environment may take, of which the oldest goes; 0: none is kept"
    ),
    "journal_mask": Option(
        _expressions,
        "",
        "what the journal is not to have besides passwords: names, of variables and options whose values are left out, "
        "and regular expressions, with blanks between",
    ),
    "warm_limit": Option(_positive, 10240, "MiB on disk for environments that lago up --warm keeps"),
    "capsule_limit": Option(_positive, 10240, "MiB on disk for capsules, of which the longest unused go first"),
    "capsule_dir": Option(str, "", "directory of capsules (default: in the XDG data directory)"),
    "subnet_range": Option(str, "200-209", "third octets of the first and last 192.168.N.0/24 to lease"),
    "trusted_users": Option(
        str,
        "",
        "users whose environments are obeyed besides yours and root's, by name or number; * is everybody; what an "
        "environment says is done with your rights",
    ),
    "lease_dir": Option(str, "/var/lib/lago/subnets", "directory of subnet leases on shared host networks"),
    "reposync_dir": Option(str, None, "directory of copies of package repositories, of the oVirt plugin"),
}

_EARLIEST: Final = "/etc/lago.d"
_EARLIER: Final = {
    "loglevel": "log_level",
    "default_root_password": "root_password",
    "template_repo_name": "template_default_repo",
    "libvirt_user": "libvirt_username",
}
"""Names that earlier releases read for the same setting."""


class Value(NamedTuple):
    """A setting as it was found, and where."""

    text: str
    source: str


Written = Mapping[tuple[str, str], Value]
"""What the configuration files say, by section and name."""

_command_line: dict[str, Any] = {}
_read_files: dict[str, tuple[tuple[int, int], dict[tuple[str, str], Value]]] = {}


def set_command_line(values: dict[str, Any]) -> None:
    """Set the options given on the command line, which win over everything else."""
    _command_line.clear()
    add_command_line(values)


def add_command_line(values: dict[str, Any]) -> None:
    """Add options that only one command has."""
    _command_line.update({k: v for k, v in values.items() if v is not None})


def given(key: str) -> str:
    """Value of an option of the command line; empty if it was not given there."""
    return str(_command_line.get(key, ""))


_NOTHING: Final = object()


def get(key: str, default: Any = _NOTHING, section: str = "lago", *, files_say: Written | None = None) -> Any:
    """Value of a setting.

    Args:
        key: its name; `-` and `_` are the same.
        default: what to return when it is set nowhere; without it the built-in default.
        files_say: what `written` found, for who asks for many settings at once; without it the files are looked at.

    Raises:
        KeyError: there is no such setting and no default.
        ConfigError: its value has the wrong type.
    """
    key = _same(key)
    if section == "lago" and key in _command_line:
        return _command_line[key]
    option = OPTIONS.get(key) if section == "lago" else None
    found = find(key, section, files_say)
    if found is None:
        if default is not _NOTHING:
            return default
        if option is None:
            raise KeyError(key)
        return option.default
    return found.text if option is None else read(found, key, option.read, option.help)


def read(found: Value, key: str, reader: Callable[[str], Any], hint: str = "") -> Any:
    """Read a value that was found, by its type. Raises ConfigError, which says where it stands."""
    try:
        return reader(found.text)
    except ValueError as error:
        shown = "(hidden)" if "password" in key else found.text
        raise ConfigError(f"{found.source}: {key} = {shown}: {error}", hint=hint) from None


def find(key: str, section: str = "lago", files_say: Written | None = None) -> Value | None:
    """Find a setting in the environment or else in the files; `files_say` as for `get`."""
    section = _same(section)
    names = [_same(key), *([_EARLIER[key]] if section == "lago" and key in _EARLIER else [])]
    for name in names:
        if (found := _from_environment(section, name)) is not None:
            return found
    if files_say is None:
        files_say = written()
    return next((files_say[section, name] for name in names if (section, name) in files_say), None)


def _same(name: str) -> str:
    return name.replace("-", "_").lower()


def _from_environment(section: str, key: str) -> Value | None:
    name = f"LAGO_{key}" if section == "lago" else f"LAGO__{section}__{key}"
    value = os.environ.get(name.upper())
    return Value(value, f"environment variable {name.upper()}") if value else None


def empty_variables() -> list[str]:
    """Variables that say nothing: they have no value, or name no setting."""
    ours = [name for name in os.environ if name.startswith("LAGO_")]
    return sorted(name for name in ours if not os.environ[name] or not _setting(name))


def _setting(variable: str) -> str:
    name = variable.removeprefix("LAGO_")
    return name.removeprefix("_").partition("__")[2] if name.startswith("_") else name


def files() -> list[str]:
    """The configuration files in the order in which they are read, whether they exist or not."""
    system = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    user = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    here = ["/etc/lago/lago.conf"] + [os.path.join(d, "lago", "lago.conf") for d in [*reversed(system), user]]
    return [*_files_of_earliest_releases(), *here]


def _files_of_earliest_releases() -> list[str]:
    """`*.conf` in `/etc/lago.d`, and `.lago` of the home directory, where that is no workdir."""
    try:
        names = sorted(name for name in os.listdir(_EARLIEST) if name.endswith(".conf"))
    except OSError:
        names = []
    own = os.path.expanduser("~/.lago")
    return [os.path.join(_EARLIEST, name) for name in names] + ([own] if os.path.isfile(own) else [])


def written() -> Written:
    """What the configuration files say now; where several name a setting, the last one. Raises ConfigError."""
    return {key: value for path in files() for key, value in _values(path).items()}


def _values(path: str) -> dict[tuple[str, str], Value]:
    """Values of a file, by section and name; it is read again when it has changed."""
    try:
        state = os.stat(path)
    except OSError:
        return {}
    stamp = (state.st_mtime_ns, state.st_size)
    if path not in _read_files or _read_files[path][0] != stamp:
        _read_files[path] = (stamp, _parse(path))
    return _read_files[path][1]


def _parse(path: str) -> dict[tuple[str, str], Value]:
    import configparser

    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except configparser.Error as error:
        raise ConfigError(f"{path}: {error.message}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text: {error.reason}") from None
    return {
        (_same(section), _same(key)): Value(text, path)
        for section in parser.sections()
        for key, text in parser.items(section)
    }


def ini(sections: Iterable[tuple[str, Iterable[tuple[str, Any, str]]]], *, verbose: bool, date: str) -> str:
    """A configuration file with the defaults of options.

    Args:
        sections: name of each, with name, default and help of each option.
        verbose: options without a default are there too, as comments.
        date: when this was made, for the first line.
    """
    import textwrap

    lines = [f"# Lago configuration, made {date}"]
    for name, options in sections:
        body: list[str] = []
        for key, value, help_ in options:
            if not value and not verbose:
                continue
            body += textwrap.wrap(help_, 70, initial_indent="# ", subsequent_indent="# ")
            body.append(f"{key} = {_text(value)}" if value else f"#{key} = {value if value is False else None}")
        if body:
            lines += ["", f"[{name}]", *body]
    return "\n".join(lines)


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
