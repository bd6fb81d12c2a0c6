"""A report is written, or it is said why there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lago.cli.main import main
from lago.errors import PrefixError
from lago.report import write_html
from lago.report.page import script, style
from lago.report.pictures import of

from .test_perfetto import SHOP


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that has a journal, beside which reports are written."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(SHOP, tmp_path / "journal"))


@pytest.mark.parametrize(
    ("form", "name", "begin"),
    [
        ("html", "lago-report.html", b"<!doctype html>"),
        ("perfetto", "lago-report.perfetto.json", b'{"traceEvents":['),
        ("junit-properties", "lago-report.junit.xml", b"<?xml "),
    ],
)
def test_each_format_is_written_where_it_is_said(
    there: Path, form: str, name: str, begin: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(there), "--format", form]) == 0
    assert capsys.readouterr().out == f"{name}\n"
    assert Path(name).read_bytes().startswith(begin)
    Path("reports").mkdir()
    assert main(["-f", "json", "report", str(there), "--format", form, "-o", "reports"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    lines = len((there / "journal.jsonl").read_bytes().splitlines())
    size = Path("reports", name).stat().st_size
    assert told == {"file": f"reports/{name}", "format": form, "events": lines, "left_out": 0, "bytes": size}
    assert main(["report", str(there), "--format", form, "-o", "-"]) == 0
    assert capsys.readouterr().out.encode().startswith(begin)


def test_lines_that_are_torn_are_left_out_and_told_of(there: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = there / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    torn = [*lines[:3], b'{"t":17960900\n', *lines[3:], b'{"t":1796090031.5,"kind":"no']
    journal.write_bytes(b"".join(torn))
    assert write_html(str(there), "out.html").left_out == 2
    assert main(["report", str(there)]) == 0
    assert "2 of the journal's lines can't be read" in caplog.text


def test_no_journal_and_a_spoilt_one_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PrefixError, match="has no journal, so there is nothing to report"):
        write_html(str(tmp_path), str(tmp_path / "out.html"))
    (tmp_path / "journal.jsonl").write_bytes(b"\x00\xff nothing\n" * 3)
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"nothing of the journal in {tmp_path} can be read" in said
    assert "rm " in said
    assert main(["report", str(tmp_path / "absent")]) == 2
    assert "is no directory" in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()


def test_no_environment_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 2
    assert "there is no environment in" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(there), "-o", "no/such/place.html"]) == 2
    assert "no/such" in capsys.readouterr().err


def test_the_page_has_no_address_in_it_and_only_one_script_that_runs(there: Path) -> None:
    write_html(str(there), "out.html")
    page = Path("out.html").read_text()
    assert page.count("<script") == page.count("</script>") == 2
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "</" not in script("boot.js")
    assert "</" not in style()
    assert "unsafe" not in page


def test_pictures_come_from_the_environment_only(there: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (there / "link.txt").symlink_to(tmp_path / "secret.txt")
    (there / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(4 << 20))
    (there / "pixels.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8) + (1 << 20).to_bytes(4) * 2)
    names = ["../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "large.png", "pixels.png", "screens", "a\0b"]
    found = of(there, [{"kind": "screen", "file": name, "form": name[-3:]} for name in names])
    assert list(found) == names
    assert all(isinstance(one, dict) and one["missing"] for one in found.values())
