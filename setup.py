"""The version comes from git, see tools/releases/version.py; all else is in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "src")]

from releases.version import of_source  # noqa: E402

from lago.log import setup_console  # noqa: E402

setup_console("warning")
# What is built has the scripts of others for lago web, where they can be had.
subprocess.run([sys.executable, ROOT / "tools" / "page-parts", "--if-possible"], check=False)
setup(version=of_source(ROOT))
