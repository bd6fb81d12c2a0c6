"""Older init files in today's form: what is changed, and that nothing else is."""

from __future__ import annotations

import difflib
import json
import re
import time
from pathlib import Path
from random import Random

import pytest

from lago.errors import InitFileError
from lago.initfile import convert as conversion
from lago.initfile.convert import Change, Converted
from lago.initfile.document import loads, tree
from lago.initfile.edits import Source
from lago.initfile.parse import parse
from lago.topology.spec import EnvSpec

from . import older

TESTS = Path(__file__).parents[2]
GOLDEN = TESTS / "golden" / "convert"
EXAMPLES = TESTS.parent / "examples"
OLD = sorted(path for path in GOLDEN.iterdir() if path.stem.endswith(".old"))
GOOD = (path for path in (TESTS / "golden" / "good").glob("*.[yj]*") if ".topology." not in path.name)
TODAY = [*sorted(GOOD), *sorted(EXAMPLES.glob("**/LagoInitFile*"))]
BAD = sorted(path for path in (TESTS / "golden" / "bad").iterdir() if path.suffix in (".yaml", ".json"))


def converted(text: str) -> Converted:
    return conversion.convert(text, "F")


def meaning(text: str) -> EnvSpec | None:
    try:
        return parse(loads(text, "F"))
    except InitFileError:
        return None


def told(changes: tuple[Change, ...]) -> str:
    return "".join(f"{one.line}:{one.column}: {one.old} -> {one.new}: {one.why}\n" for one in changes)


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.name)
def test_an_older_file_becomes_this(path: Path) -> None:
    text = path.read_bytes().decode()
    new, changes = converted(text)
    stem = path.name.replace(".old", "")
    found = {path.with_name(stem): new, path.with_name(stem).with_suffix(".txt"): told(changes)}
    missing = [golden for golden in found if not golden.exists()]
    for golden in missing:
        golden.write_bytes(found[golden].encode())
    assert not missing, "these were missing and are written now: read them"
    assert {golden: golden.read_bytes().decode() for golden in found} == found
    assert converted(new) == (new, ())


@pytest.mark.parametrize(
    "path",
    [path for path in OLD if path.name.split(".")[0] not in ("placeholders", "shared")],
    ids=lambda path: path.name,
)
def test_what_an_older_file_becomes_is_valid(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parse(loads(converted(path.read_bytes().decode()).text, path.name))
    assert not caplog.records


@pytest.mark.parametrize("path", TODAY, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_file_that_is_read_today_means_the_same(path: Path) -> None:
    text = path.read_text()
    new, _ = converted(text)
    assert meaning(new) == meaning(text) is not None
    assert converted(new) == (new, ())


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_a_bad_file_is_refused_or_its_new_form_is_the_last(path: Path) -> None:
    try:
        text = path.read_bytes().decode()
        new, _ = converted(text)
    except (InitFileError, UnicodeDecodeError):
        return
    assert converted(new) == (new, ())


@pytest.mark.parametrize("seed", range(400))
def test_a_file_by_chance_means_what_it_meant(seed: int) -> None:
    random = Random(seed)
    env = older.meaning(random)
    text = older.written(older.aged(env, random), random)
    new, changes = converted(text)
    assert meaning(new) == meaning(json.dumps(env)) is not None
    assert converted(new) == (new, ())
    if (before := meaning(text)) is not None:
        assert before == meaning(new)
    assert_only_told_lines_differ(text, new, changes)


@pytest.mark.parametrize("seed", range(100))
def test_a_file_of_today_by_chance_stays_as_it_is(seed: int) -> None:
    random = Random(seed)
    text = older.written(older.meaning(random), random)
    new, changes = converted(text)
    assert {change.why for change in changes} <= {"only its anchors are used"}
    assert_only_told_lines_differ(text, new, changes)


def assert_only_told_lines_differ(old: str, new: str, changes: tuple[Change, ...]) -> None:
    """Lines that changes are not on stay, but for a comma before what is removed, and what takes its place."""
    lines, others = old.splitlines(keepends=True), new.splitlines(keepends=True)
    told = {line for change in changes for line in (change.line - 1, change.line, change.line + 1)}
    for tag, begin, end, _, _ in difflib.SequenceMatcher(None, lines, others, autojunk=False).get_opcodes():
        changed = {*range(begin + 1, end + 1)} if tag in ("replace", "delete") else set()
        assert changed <= told, [lines[line - 1] for line in changed - told]
    assert bool(changes) == (old != new)


def test_a_key_that_may_be_one_of_ours_misspelt_is_left_for_validate() -> None:
    text = "domains: {a: {memry: 2048}}\ndomians: {}\n"
    assert converted(text) == (text, ())


def test_what_is_passed_over_or_the_users_own_is_not_looked_into() -> None:
    text = (
        "x-old: {domains: {a: {cpu: 2}}}\n"
        "domains: {a: {comment: {cpu: 2}, metadata: {cpu: 2, snapshots: {}}, cloud-init: {name: a, cpu: '2'}}}\n"
        "nets: {comment: main_dns, x-net: {main_dns: 1}}\n"
    )
    assert converted(text) == (text, ())


def test_a_new_name_that_is_taken_is_not_given_twice() -> None:
    assert converted("domains: {a: {quux: 1, x-quux: 2}}").changes == ()
    assert converted("domains: {a: {snapshots: &used {}, x-snapshots: 2}}").changes == ()


def test_a_value_that_is_right_elsewhere_stays() -> None:
    assert converted('domains: {a: {distro: &word "yes"}, b: {tpm: *word}}').changes == ()


def test_what_a_question_mark_begins_is_not_removed() -> None:
    text = "domains: {a: {? snapshots : {}, memory: 512}}"
    assert converted(text).text == text.replace("snapshots", "x-snapshots")


def test_an_item_without_braces_of_its_own_can_not_lose_all_that_it_has() -> None:
    text = "a: [1, b: {c: d}]"
    root = tree(text, "F")
    assert Source(text, root).cuts(root.pairs[0][1].items[1], {0}) == {}


def test_between_alternatives_of_a_template_nothing_is_removed() -> None:
    text = "domains:\n  a:\n{% if old %}\n    cpu: 2\n{% else %}\n    vcpu: 4\n{% endif %}\n"
    assert converted(text) == (text, ())
    assert (
        converted(re.sub("{%.*%}", "# one of", text)).text
        == "domains:\n  a:\n# one of\n# one of\n    vcpu: 4\n# one of\n"
    )


def test_half_of_a_statement_is_not_removed() -> None:
    text = "domains:\n  a:\n    snapshots: {% if a %}x\n    memory: 512{% endif %}\n"
    assert converted(text).text == text.replace("snapshots", "x-snapshots")


@pytest.mark.parametrize(
    "text",
    [
        "domains:\n{{ machines }}\nnets: {}\n",
        "{% extends 'base' %} domains: {}\nnets: [\n",
        "domains: {a: {cpu: @CPUS}}\nnets: {@NET@: {}}\n",
    ],
)
def test_what_is_no_yaml_before_it_is_filled_in_is_refused(text: str) -> None:
    with pytest.raises(InitFileError) as caught:
        converted(text)
    assert re.match(r"F:\d+:\d+: ", caught.value.what)
    assert (
        caught.value.hint == "placeholders are in it: have it filled in first, then convert that; nothing was written"
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_ends_of_lines_stay(ending: str) -> None:
    text = ending.join(["domains:", "  é: {}", "  a:", "    cpu: 2 # ü", "    snapshots: {}", "    memory: 512", ""])
    new, changes = converted(text)
    assert new == ending.join(["domains:", "  é: {}", "  a:", "    vcpu: 2 # ü", "    memory: 512", ""])
    assert [change[:2] for change in changes] == [(4, 5), (5, 5)]


def test_a_byte_order_mark_stays() -> None:
    new, [change] = converted("\ufeffnets: {a: {type: network}}\ndomains: {}\n")
    assert new == "\ufeffnets: {a: {type: nat}}\ndomains: {}\n"
    assert (change.line, change.column) == (1, 18)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "domains: " + "{a: " * 200,
        "a: &a [*a]",
        "domains:\n\ta: {cpu: 2}\n",
        "domains: {a: {cpu: 2}}\0",
        "--- {domains: {}}\n--- {domains: {}}\n",
        "",
        "- a\n",
    ],
)
def test_what_is_no_init_file_is_refused(text: str) -> None:
    with pytest.raises(InitFileError):
        converted(text)


def test_anchors_that_multiply_do_no_harm() -> None:
    lists = [f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    merges = [f"x-m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 40)]
    text = "\n".join(
        ["x-a0: &a0 [1]", *lists, "x-m0: &m0 {cpu: 2}", *merges, "domains:", "  a: {<<: *m39, groups: *a39}"]
    )
    began = time.monotonic()
    new, [change] = converted(text)
    assert (change.old, change.new) == ("cpu", "vcpu")
    assert new == text.replace("{cpu: 2}", "{vcpu: 2}")
    assert time.monotonic() - began < 50


def test_a_long_chain_of_merges_does_no_harm() -> None:
    chain = [f"x-m{n}: &m{n} {{<<: *m{n - 1}}}" for n in range(1, 5_000)]
    text = "\n".join(["x-m0: &m0 {cpu: 2}", *chain, "domains:", "  a: {<<: *m4999}"])
    assert converted(text).text == text.replace("{cpu: 2}", "{vcpu: 2}")


@pytest.mark.parametrize(
    "filling",
    [
        "{%" * 1_000_000,
        "{{" * 1_000_000,
        "{#" * 1_000_000,
        "{% x %} " * 250_000 + "y",
        "@a" * 1_000_000,
        "# " + "x" * 10_000_000,
        "# \n" * 1_000_000,
    ],
    ids=["statements", "expressions", "remarks", "closed", "at-signs", "words", "lines"],
)
def test_a_large_file_takes_no_longer_for_what_is_in_it(filling: str) -> None:
    began = time.monotonic()
    new, changes = converted(f"# {filling}\ndomains:\n  a: {{cpu: 2}}\n")
    assert time.monotonic() - began < 50
    assert (new, len(changes)) == (f"# {filling}\ndomains:\n  a: {{vcpu: 2}}\n", 1)


def test_many_machines_are_no_burden() -> None:
    body = "".join(
        f"  vm{n}: {{snapshots: {{}}, quux{n % 50}: 1, cpu: 2, guest-agent: a}}  # {'x' * 500}\n" for n in range(3_000)
    )
    began = time.monotonic()
    new, changes = converted(f"domains:\n{body}")
    assert time.monotonic() - began < 100
    assert len(changes) == 4 * 3_000
    assert new.count("  # x") == 3_000
