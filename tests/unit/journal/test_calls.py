"""Who is told to have done something."""

from __future__ import annotations

from pathlib import Path

from lago.journal import calls
from lago.journal.reading import entries
from lago.journal.writing import Journal


def test_what_a_program_does_after_a_command_that_it_called_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "uuid").write_text("0" * 32)
    journal = Journal(str(tmp_path))
    command = calls.run_command_line("stop", ["stop"])
    with calls.doing(journal, "stop"):
        pass
    command.end(0)
    with calls.doing(journal, "kill"):
        pass
    assert [(one["name"], one["by"]) for one in entries(str(tmp_path)) if one["kind"] == "verb"] == [
        ("stop", "cli"),
        ("kill", "sdk"),
    ]
