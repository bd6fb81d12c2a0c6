"""Hashes of passwords: as other programs make them, for any password, by any number of threads."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lago.bootstrap import passwords
from lago.errors import HostError, LagoError

ODD = ("x", "p\u00e4ss w\u00f6rd", "$6$:\n\\", "'\"", "\u65e5\u672c", "y" * 200)


@pytest.fixture
def fresh() -> Iterator[None]:
    """The library is looked for again, and after the test once more."""
    passwords._libcrypt.cache_clear()
    yield
    passwords._libcrypt.cache_clear()


@pytest.mark.programs
@pytest.mark.parametrize("password", [one for one in ODD if "\n" not in one])
def test_openssl_makes_the_same_hash(password: str) -> None:
    argv = ["openssl", "passwd", "-6", "-salt", "saltstring", "-stdin"]
    done = subprocess.run(argv, input=f"{password}\n", capture_output=True, text=True, check=True)
    assert passwords.hash_of(password, "saltstring") == done.stdout.strip()


def test_threads_do_not_mix_their_hashes_up() -> None:
    todo = [(one, f"salt{number}") for number in range(20) for one in ODD]
    alone = [passwords.hash_of(*one) for one in todo]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: passwords.hash_of(*one), todo)) == alone


def test_each_hash_has_a_salt_of_its_own() -> None:
    salts = {passwords.hash_of("x").split("$")[2] for _ in range(20)}
    assert len(salts) == 20
    assert {len(salt) for salt in salts} == {16}


@pytest.mark.parametrize("password", ["y" * 512, "a\0b"])
def test_a_password_that_the_library_can_not_take_is_an_error_and_not_another_password(password: str) -> None:
    with pytest.raises(LagoError, match="a password") as raised:
        passwords.hash_of(password)
    assert password not in raised.value.render()
    assert "choose another" in raised.value.hint


@pytest.mark.usefixtures("fresh")
def test_either_name_of_the_library_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_LIBRARIES", ("libnone.so.1", *passwords._LIBRARIES))
    assert passwords.hash_of("x").startswith("$6$")


@pytest.mark.usefixtures("fresh")
def test_a_host_without_the_library_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_LIBRARIES", ("libnone.so.1", "libnone.so.2"))
    with pytest.raises(HostError, match="the library libcrypt is not installed") as raised:
        passwords.hash_of("x")
    assert raised.value.hint == "apt-get install libcrypt1"
