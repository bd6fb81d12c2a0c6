"""How many examples hypothesis tries of a property: few, the same each time, or with `--slow` many."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase

from .users import REPOSITORY

_MANY = 1000
_FEW = 15


def choose(*, slow: bool) -> None:
    """Let all tests of properties have many or few examples; to be called before their modules are read."""
    always = settings(deadline=None, suppress_health_check=list(HealthCheck))
    home = REPOSITORY / ".cache" / "hypothesis"
    set_hypothesis_home_dir(home)
    # Those that failed once are tried again first.
    kept = DirectoryBasedExampleDatabase(home / "examples")
    settings.register_profile("few", always, max_examples=_FEW, derandomize=True, database=None)
    settings.register_profile("many", always, max_examples=_MANY, database=kept)
    settings.load_profile("many" if slow else "few")
