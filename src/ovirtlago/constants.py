"""Names and numbers that several modules share."""

from __future__ import annotations

from typing import Final

LIBEXEC_DIR: Final = "/usr/libexec/ovirtlago/"
"""Scripts that build packages, where earlier releases installed them."""

DATA_DIR: Final = "/usr/share/ovirtlago/"
ANSWER_FILES_DIR: Final = f"{DATA_DIR}config/answer-files"

REPO_SERVER_PORT: Final = 8585
"""TCP port of the server of packages."""

ENGINE_USER: Final = "admin@internal"
ENGINE_PASSWORD: Final = "123"  # noqa: S105 - what `engine-setup` is told by the answer files of throw-away engines
"""How to log in to an engine whose metadata does not say otherwise."""

SHORT_TIMEOUT: Final = 3 * 60
LONG_TIMEOUT: Final = 10 * 60
"""Seconds that quick and slow steps of an engine may take; settings of the section `ovirt`, see `waiting`."""


PREFIX_VARIABLE: Final = "LAGO_PREFIX"
"""The environment variable with the path of the prefix that is tested."""


ENGINE_SERVICE: Final = "ovirt-engine"


HOST_SERVICES: Final = ("vdsmd", "supervdsmd")
"""In the order in which they stop."""
