"""What `lago status` prints, byte for byte, compared with golden files: scripts read it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lago.environment.prefix import Prefix
from lago.environment.snapshots.index import Index, Saved, Snapshot

from ..conftest import Lago, make_prefix

GOLDEN = Path(__file__).parents[2] / "golden" / "status"

INIT_FILE = """
domains:
  web:
    distro: debian12
    root-password: s3cret
    metadata: {role: [front, 2], nothing: null}
    nics: [{net: lan}, {net: outside}]
    disks: [{type: empty, size: 1G, format: qcow2}]
  db:
    nics: [{net: lan, ip: 192.168.210.7}, {net: back}]
    disks: [{type: empty, size: 1G, format: qcow2}]
nets:
  lan: {gw: 192.168.210.1, management: true}
  back: {gw: 192.168.211.1}
  outside: {type: bridge}
"""


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with two snapshots, of which one is of one machine only; its path is short enough for a line of YAML."""
    path = make_prefix(tmp_path_factory.mktemp("s") / "default", INIT_FILE)
    paths, index = Prefix(str(path)).paths, Index()
    path.joinpath("snapshots").mkdir()
    path.joinpath("snapshots", "1.web.mem").write_bytes(b"m" * 8192)
    saved = {name: Saved(disks={"disk0": f"images/{name}_disk0.qcow2"}) for name in ("web", "db")}
    with_memory = {"web": saved["web"]._replace(memory="snapshots/1.web.mem")}
    index.snapshots = {
        "clean": Snapshot(name="clean", created=1.5, vms=saved),
        "later": Snapshot(name="later", created=2.5, vms=with_memory, parent="clean"),
    }
    index.save(paths)
    return path


def compare(name: str, text: str, environment: Path) -> None:
    """Compare a text with a golden file, in which the path of the prefix is the word PREFIX."""
    text = text.replace(str(environment), "PREFIX").replace(json.dumps(str(environment))[1:-1], "PREFIX")
    golden = GOLDEN / name
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
        pytest.fail(f"{golden} was missing and is written; look at it")
    assert text == golden.read_text()


@pytest.mark.parametrize("format_", ["default", "flat", "json", "yaml"])
def test_status_is_printed_as_in_the_golden_file(lago: Lago, environment: Path, format_: str) -> None:
    compare(f"{format_}.txt", lago("-p", str(environment), "-f", format_, "status"), environment)


def test_the_host_name_of_a_guest_stands_beside_the_name_of_its_machine(lago: Lago, tmp_path: Path) -> None:
    path = make_prefix(tmp_path / "p", "domains: {Web_1.lab: {nics: [{net: lan}]}}\nnets: {lan: {}}\n")
    found = json.loads(lago("-p", str(path), "-f", "json", "status"))
    assert {name: vm["host name"] for name, vm in found["Prefix"]["VMs"].items()} == {"Web_1.lab": "Web-1.lab"}


def test_a_person_gets_tables(lago: Lago, environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    compare("terminal.txt", lago("-p", str(environment), "status"), environment)
