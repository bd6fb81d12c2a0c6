"""A NoCloud seed: a small read-only disk labelled `cidata` that cloud-init, or something like it, reads."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from typing import Any
from unittest import mock

from ..paths import Paths
from ..topology import Domain
from ..utils import write_atomically
from . import Additions, SeedDisk
