"""What a failed test is told of its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from lago.environment import report
from lago.environment.prefix import Prefix
from lago.errors import LagoError

from ..conftest import make_prefix


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, []),
        (ValueError("x"), []),
        (LagoError("what"), []),
        (LagoError("what", hint="do it"), [("lago error", "what\nhint: do it")]),
        (LagoError("what", details="why"), [("lago error", "what\n    why")]),
    ],
)
def test_an_error_of_lago_is_told_as_far_as_pytest_does_not_show_it(
    error: BaseException | None, told: list[report.Section]
) -> None:
    assert list(report.of_error(error)) == told


class TestOfEnvironment:
    @pytest.fixture
    def prefix(self, tmp_path: Path) -> Prefix:
        made = make_prefix(tmp_path / "prefix")
        made.joinpath("logs", "vm0.console.log").write_text("".join(f"line {number}\n" for number in range(100)))
        return Prefix(str(made))

    def told(self, prefix: Prefix, dest: str, error: Exception | None = None) -> dict[str, str]:
        def collect(_dest: str) -> None:
            if error:
                raise error

        return dict(report.of_environment(prefix.paths, prefix.virt_env.get_vms(), dest, collect))

    def test_the_states_and_the_ends_of_consoles_are_told(self, prefix: Prefix) -> None:
        told = self.told(prefix, "")
        assert told["lago environment"] == f"{prefix.paths.prefix()}\nvm0=down"
        assert told["lago console of vm0"].splitlines() == [f"line {number}" for number in range(60, 100)]
        assert "lago collect" not in told

    def test_where_artifacts_are_is_told_or_why_they_are_not(self, prefix: Prefix) -> None:
        assert self.told(prefix, "/dest")["lago collect"] == "/dest"
        failed = self.told(prefix, "/dest", LagoError("no room", hint="free some"))
        assert failed["lago collect"] == "not all is in /dest: no room\nhint: free some"
