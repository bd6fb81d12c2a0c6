"""Settings: who wins, and what a bad value says."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lago import config
from lago.constants import HOST_LOOPBACK
from lago.errors import ConfigError
from lago.hypervisor import egress

from .conftest import Lago


@pytest.fixture(autouse=True)
def no_options() -> Iterator[None]:
    config.set_command_line({})
    yield
    config.set_command_line({})


@pytest.fixture
def user_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's configuration file, which does not exist yet; the system has one too."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    for name in ("system", "user"):
        (tmp_path / name / "lago").mkdir(parents=True)
    (tmp_path / "system" / "lago" / "lago.conf").write_text("[lago]\nssh_user = system\nlease_dir = /system\n")
    return tmp_path / "user" / "lago" / "lago.conf"


def test_without_any_setting_the_default_holds() -> None:
    assert config.get("libvirt_url") == "private"


def test_the_users_file_wins_over_the_systems(user_file: Path) -> None:
    user_file.write_text("[lago]\nssh_user = mine\n")
    assert config.get("ssh_user") == "mine"
    assert config.get("lease_dir") == "/system"


def test_the_environment_wins_over_files(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file.write_text("[lago]\nssh_user = mine\n")
    monkeypatch.setenv("LAGO_SSH_USER", "environment")
    assert config.get("ssh_user") == "environment"


def test_the_command_line_wins_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO_SSH_USER", "environment")
    config.set_command_line({"ssh_user": "option", "accel": None})
    assert config.get("ssh_user") == "option"
    assert config.get("accel") == "auto"


def test_an_option_that_was_given_counts_even_if_it_is_false_or_empty() -> None:
    config.set_command_line({"egress_host_loopback": False, "template_store": ""})
    assert config.get("egress_host_loopback") is False
    assert config.get("template_store") == ""


def test_another_section_has_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO__CHECKS__DEPTH", "3")
    assert config.get("depth", section="checks") == "3"


def test_dashes_and_underscores_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO_BOOT_TIMEOUT", "7")
    assert config.get("boot-timeout") == 7


@pytest.mark.parametrize("text", ["yes", "TRUE", "on", "1"])
def test_booleans_have_their_usual_words(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LAGO_EGRESS_HOST_LOOPBACK", text)
    assert config.get("egress_host_loopback") is True


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ACCEL", "fast", "expected one of auto, kvm, tcg"),
        ("BOOT_TIMEOUT", "soon", "expected a whole number above 0"),
        ("BOOT_TIMEOUT", "0", "expected a whole number above 0"),
        ("EGRESS_HOST_LOOPBACK", "maybe", "expected true or false"),
    ],
)
def test_a_bad_value_names_its_source_and_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"LAGO_{name}", value)
    with pytest.raises(ConfigError) as raised:
        config.get(name.lower())
    assert f"environment variable LAGO_{name}" in raised.value.what
    assert says in raised.value.what


def test_a_bad_value_in_a_file_names_the_file(user_file: Path) -> None:
    user_file.write_text("[lago]\naccel = fast\n")
    with pytest.raises(ConfigError, match=r"lago\.conf: accel = fast"):
        config.get("accel")


def test_a_file_that_is_no_configuration_is_named(user_file: Path) -> None:
    user_file.write_text("accel = kvm\n")
    with pytest.raises(ConfigError, match=r"user/lago/lago\.conf"):
        config.get("accel")


def test_a_percent_sign_is_an_ordinary_character(user_file: Path) -> None:
    user_file.write_text("[lago]\ndefault_root_password = 50%(x)s%\n")
    assert config.get("default_root_password") == "50%(x)s%"


def test_an_unknown_setting_is_an_error_unless_there_is_a_default() -> None:
    with pytest.raises(KeyError):
        config.get("colour")
    assert config.get("colour", "blue") == "blue"


def test_every_option_has_a_readable_default_and_help() -> None:
    for name, option in config.OPTIONS.items():
        assert option.help, name
        if option.default is None:
            continue
        text = str(option.default).lower() if isinstance(option.default, bool) else str(option.default)
        assert option.read(text) == option.default, name


def test_an_earlier_name_of_a_setting_is_read_after_its_own(monkeypatch: pytest.MonkeyPatch, user_file: Path) -> None:
    user_file.write_text("[lago]\nlog_level = error\n")
    assert config.get("loglevel") == "error"
    monkeypatch.setenv("LAGO_LOGLEVEL", "debug")
    assert config.get("loglevel") == "debug"


def test_names_that_nothing_here_knows_are_kept(user_file: Path) -> None:
    user_file.write_text("[lago]\nreposync_dir = /repos\n\n[ovirt]\nengine-dir = /engine\n")
    assert config.get("reposync_dir") == "/repos"
    assert config.get("engine_dir", section="ovirt") == "/engine"


def test_a_file_that_changes_is_read_again(user_file: Path) -> None:
    user_file.write_text("[lago]\nssh_user = one\n")
    assert config.get("ssh_user") == "one"
    user_file.write_text("[lago]\nssh_user = another\n")
    assert config.get("ssh_user") == "another"


def test_a_section_named_default_is_one_like_any_other(user_file: Path) -> None:
    user_file.write_text("[DEFAULT]\nssh_user = everywhere\n[lago]\nlease_dir = /here\n")
    assert config.get("ssh_user") == "system"


def test_variables_that_say_nothing_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LAGO_SSH_USER": "", "LAGO_": "x", "LAGO__INIT__": "x", "LAGO_ACCEL": "kvm"}.items():
        monkeypatch.setenv(name, value)
    assert config.empty_variables() == ["LAGO_", "LAGO_SSH_USER", "LAGO__INIT__"]
    assert config.get("ssh_user") == ""


def test_d42_words_for_no_are_no(user_file: Path) -> None:
    user_file.write_text("[lago]\negress_host_loopback = False\n")
    assert config.get("egress_host_loopback") is False


def test_a_bad_value_of_a_password_is_not_shown() -> None:
    value = config.Value("secret", "file")
    with pytest.raises(ConfigError) as raised:
        config.read(value, "libvirt_password", int)
    assert "secret" not in raised.value.render().partition("(hidden)")[0]


def test_the_address_of_the_hosts_loopback_is_the_one_that_guests_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "which", lambda _program: "/usr/bin/true")
    [told] = re.findall(r"\d+\.\d+\.\d+\.\d+", config.OPTIONS["egress_host_loopback"].help)
    config.set_command_line({"egress": "pasta", "egress_host_loopback": True})
    assert f"--gateway={told}" in (egress.argv() or [])
    config.set_command_line({"egress": "slirp4netns", "egress_host_loopback": True})
    # slirp4netns(1): the gateway is the second address of the network.
    [network] = [word.removeprefix("--cidr=") for word in egress.argv() or [] if word.startswith("--cidr=")]
    assert told == str(ipaddress.ip_network(network)[2])


def test_the_file_with_all_defaults_names_it_too(lago: Lago) -> None:
    text = lago("generate-config", "--verbose")
    assert f"the host's loopback at {HOST_LOOPBACK}\n" in text.replace("\n# ", " ")
