"""The JSON Schema (2020-12) of init files, which editors check and complete files by."""

from __future__ import annotations

from .keys import ENVIRONMENT
from .sections import Schema

_VERSION = "https://json-schema.org/draft/2020-12/schema"


def schema() -> Schema:
    """The schema of a whole init file."""
    return {"$schema": _VERSION, "title": "Lago init file", **ENVIRONMENT.schema()}
