"""Runs the command line; as a directory, `python tools/releases`, so that nothing needs to be installed."""

import sys
from pathlib import Path

_TOOLS = Path(__file__).resolve().parents[1]
# Not by PYTHONPATH: what is started from here, as the check of a release, must not see this copy.
sys.path[:1] = [str(_TOOLS), str(_TOOLS.parent / "src")]

from releases.cli import main  # noqa: E402

sys.exit(main())
