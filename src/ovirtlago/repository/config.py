"""Configuration files that name repositories, those of yum and dnf."""

from __future__ import annotations

import configparser
import platform
from collections.abc import Mapping
from typing import Final, NamedTuple

from lago.errors import ConfigError
from lago.host.fetch import read_text

_MAIN: Final = "main"
_OFF: Final = ("0", "no", "false", "off")


class Repository(NamedTuple):
    """A repository: where it is, and what is wanted of it.

    Attributes:
        urls: mirrors, the first is asked first.
        mirror_list: address of a text with more.
        includes: patterns of packages that are wanted; all, if there is none.
        excludes: patterns of packages that are not.
    """

    name: str
    enabled: bool
    urls: tuple[str, ...]
    mirror_list: str
    includes: tuple[str, ...]
    excludes: tuple[str, ...]

    def url(self) -> str:
        """Its address. Raises ConfigError if it has none, FetchError if the list of mirrors can't be had."""
        lines = [] if self.urls or not self.mirror_list else read_text(self.mirror_list).splitlines()
        urls = [*self.urls, *(line.strip() for line in lines if "://" in line)]
        if not urls:
            raise ConfigError(f"the repository {self.name} has no address", hint=f"give [{self.name}] a baseurl")
        return urls[0]


def read(path: str) -> Mapping[str, Repository]:
    """Read the repositories that a file names, disabled ones too. Raises ConfigError."""
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give a configuration file of dnf") from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no configuration of dnf", details=str(error)) from None
    return {name: _repository(name, parser[name]) for name in parser.sections() if name != _MAIN}


def _repository(name: str, options: Mapping[str, str]) -> Repository:
    def words(key: str) -> tuple[str, ...]:
        return tuple(options.get(key, "").replace(",", " ").replace("$basearch", platform.machine()).split())

    return Repository(
        name=name,
        enabled=options.get("enabled", "1").strip().lower() not in _OFF,
        urls=words("baseurl"),
        mirror_list=" ".join(words("mirrorlist")),
        includes=words("includepkgs"),
        excludes=(*words("exclude"), *words("excludepkgs")),
    )
