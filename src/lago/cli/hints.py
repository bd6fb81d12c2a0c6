"""Commands that hints name, as they have to be given for the environment that is meant."""

from __future__ import annotations

import re
import shlex

from .. import config

_OPTIONS = {"-p": "prefix_path", "-w": "workdir_path", "-P": "prefix_name"}
_ON_ONE = re.compile(r"\blago (?=(?:destroy|fault|heal|logs|nsexec|shell|snapshot|start|status|stop)\b)")
"""A command that is about one environment."""


def for_this_environment(hint: str) -> str:
    """Put the options with which the command line names an environment into the commands of a hint.

    Args:
        hint: of an error; what it names is meant for the environment that the error is about.
    """
    words = [f"{option} {shlex.quote(value)} " for option, key in _OPTIONS.items() if (value := config.given(key))]
    given = "".join(words)
    return _ON_ONE.sub(lambda found: found[0] + given, hint) if given else hint
