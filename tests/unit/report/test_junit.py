"""Properties of tests, by the names that pytest's JUnit file has for them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from _pytest.junitxml import mangle_test_address

from lago.journal.reading import entries
from lago.report.junit import document
from tests.browser import journals

from .test_perfetto import SHOP


def properties(element: ElementTree.Element) -> dict[str, str]:
    """Properties of a suite or a case."""
    return {one.attrib["name"]: one.attrib["value"] for one in element.iterfind("properties/property")}


def test_a_test_has_what_was_done_for_it() -> None:
    suite = ElementTree.fromstring(document(entries(str(SHOP)), path="/there"))[0]
    assert properties(suite)["lago.path"] == "/there"
    assert properties(suite)["lago.name"] == "web-and-db"
    case = suite.findall("testcase")[1]
    assert case.attrib == {"classname": "tests.test_shop", "name": "test_order_survives_slow_db", "time": "10.400"}
    assert properties(case) == {
        "lago.nodeid": "tests/test_shop.py::test_order_survives_slow_db",
        "lago.seconds": "9.250",
        "lago.commands": "4",
        "lago.commands.failed": "1",
        "lago.commands.seconds": "9.250",
        "lago.copies.seconds": "0.000",
        "lago.snapshots.seconds": "0.000",
        "lago.faults": "slow db --delay 2s; cut backend",
    }


@pytest.mark.parametrize(
    ("nodeid", "classname", "name"),
    [
        ("test_a.py::test_b", "test_a", "test_b"),
        ("tests/unit/test_a.py::TestC::test_b[x::y/z]", "tests.unit.test_a.TestC", "test_b[x::y/z]"),
    ],
)
def test_names_are_those_of_pytest(nodeid: str, classname: str, name: str) -> None:
    made = [{"t": 1.0, "kind": "test", "id": "a", "nodeid": nodeid}]
    (case,) = ElementTree.fromstring(document(made)).iter("testcase")
    assert (case.attrib["classname"], case.attrib["name"]) == (classname, name)
    *theirs, last = mangle_test_address(nodeid)
    assert (".".join(theirs), last) == (classname, name)


def test_what_strangers_wrote_is_xml_all_the_same(tmp_path: Path) -> None:
    directory = journals.write(tmp_path / "hostile", journals.hostile())
    text = document(entries(str(directory)))
    assert len(ElementTree.fromstring(text.encode())) == 1
    assert not set(text) & set("\x00\x1b\u202e")
