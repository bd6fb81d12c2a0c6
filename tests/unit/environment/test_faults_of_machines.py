"""Faults of machines as they are written, and what they mean together."""

from __future__ import annotations

import errno

import pytest

from lago.environment.faults import machines, purpose, words
from lago.environment.faults.model import Fault
from lago.errors import LagoError
from lago.virt import disk_fault
from lago.virt.on_purpose import Clock

SPELLED = [
    "power-cut db",
    "freeze db",
    "panic db web",
    "reset db",
    "disk db:root --iops 20",
    "disk db --rate 3M --error write",
    "disk db:data web:data --read-only",
    "disk db:vdb --detach",
    "disk db:vdb --full",
    "clock db +1h",
    "clock db -90s --drift 100ppm",
    "clock db --drift -1%",
    "cpu db 10%",
    "memory db 128M",
    "memory db 1G",
]


@pytest.mark.parametrize("text", SPELLED)
def test_what_is_written_is_spelled_as_it_was_written(text: str) -> None:
    fault = words.parse(text)
    assert words.spell(fault) == text
    assert Fault.of_plain(fault.plain()) == fault


WRONG = {
    "disk db --iops 0": "disk: iops: '0' is no number of operations in a second: it must be a whole one, "
    "more than zero",
    "disk db --iops 1.5": "disk: iops: '1.5' is no number of operations in a second: it must be a whole one, "
    "more than zero",
    "disk db --rate 0": "disk: rate: '0' is no rate that can be kept: it must be 512 bytes or more",
    "disk db --rate fast": "disk: rate: 'fast' is no size: write it as 128M or 1G",
    "disk db --error sometimes": "disk: error: 'sometimes' can't fail: write read, write or both",
    "disk": "disk needs at least 1 of VM:DISK|VM, not 0",
    "clock db 0s": "clock: by: '0s' is no time: it must be more than zero",
    "clock db soon": "clock: by: 'soon' is no time: write a number with one of ms, s, m, min, h, d",
    "clock db +51m +1h": "clock needs 1 of VM, not 2",
    "clock db --drift 0ppm": "clock: drift: '0ppm' is no drift that a clock can have: it must not be zero, "
    "and 10% at most",
    "clock db --drift 11%": "clock: drift: '11%' is no drift that a clock can have: it must not be zero, "
    "and 10% at most",
    "clock db --drift 1": "clock: drift: '1' is no drift: write it as 100ppm, or -1%",
    "cpu db": "cpu needs SHARE: the part of the time for which its processors run, such as 10%",
    "cpu db 0%": "cpu: share: '0%' is no share: it must be more than zero, and 100% at most",
    "cpu db lots": "cpu: share: 'lots' is no share: write it as 10%",
    "memory db 0M": "memory: size: '0M' is no size of memory: it must be 1M or more; write it as 128M or 1G",
    "memory db much": "memory: size: 'much' is no size: write it as 128M or 1G",
    "freeze": "freeze needs at least 1 of VM, not 0",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told(text: str) -> None:
    with pytest.raises(LagoError) as caught:
        words.parse(text)
    assert caught.value.what == WRONG[text]


def test_numbers_of_programs_have_units_of_their_own() -> None:
    assert words.make("clock", ["db"], {"by": 3600, "drift": 100e-6}).settings == {"by": 3600.0, "drift": 100e-6}
    assert words.make("memory", ["db"], {"size": 128}).settings == {"size": 128}
    assert words.make("cpu", ["db"], {"share": 0.1}).settings == {"share": 0.1}


def fault(text: str, number: int, since: float = 0.0) -> Fault:
    plain = words.parse(text).plain()
    return Fault.of_plain({**plain, "id": f"f{number}", "since": since})


def test_clocks_add_up() -> None:
    found = purpose.judge([fault("clock db +1h", 1, 1000), fault("clock db -60s --drift 1%", 2, 1000)]).clock
    assert found.at(1000) == pytest.approx(1000 + 3600 - 60)
    assert found.at(1100) == pytest.approx(1100 + 3600 - 60 + 1)
    assert Clock().at(5.0) == 5.0


@pytest.mark.parametrize(
    ("text", "stands", "silent"),
    [
        ("freeze db", "f1", "f1"),
        ("panic db", "", "f1"),
        ("power-cut db", "", "f1"),
        ("disk db --error read", "", "f1"),
        ("disk db --detach", "", "f1"),
        ("disk db --full", "", "f1"),
        ("disk db --error write", "", ""),
        ("disk db --iops 1", "", ""),
        ("memory db 1M", "", ""),
    ],
)
def test_what_need_not_answer_is_known(text: str, stands: str, silent: str) -> None:
    found = purpose.judge([fault(text, 1)])
    assert (found.stands, found.silent) == (stands, silent)


def test_faults_of_a_disk_compose() -> None:
    def add(*texts: str) -> disk_fault.Condition:
        found = disk_fault.SOUND
        for number, text in enumerate(texts):
            found = machines._add(found, fault(text, number))
        return found

    writes = dict.fromkeys(("write", "write-zeroes", "discard"), errno.EIO)
    assert add("disk db --iops 20", "disk db --iops 10 --rate 1M") == (10, 1 << 20, {})
    assert add("disk db --error write", "disk db --error read") == (0, 0, {**writes, "read": errno.EIO})
    assert add("disk db --full", "disk db --error both").fails == {
        **dict.fromkeys(writes, errno.ENOSPC),
        "read": errno.EIO,
    }
