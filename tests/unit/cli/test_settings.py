"""The command line: where its defaults come from, and what it says when it is used wrongly."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from lago import config
from lago.cli import settings
from lago.cli.main import build_parser

from ..conftest import Lago, make_prefix


@pytest.fixture
def user_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's configuration file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    (tmp_path / "user" / "lago").mkdir(parents=True)
    return tmp_path / "user" / "lago" / "lago.conf"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path) -> Path:
    """An environment in the working directory."""
    prefix = make_prefix(tmp_path / ".lago" / "default")
    tmp_path.joinpath(".lago", "current").symlink_to("default")
    return prefix


def parsed(*words: str) -> Any:
    return build_parser()[0].parse_args(words)


class TestDefaults:
    def test_a_section_named_after_a_command_has_defaults_of_its_options(
        self, user_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user_file.write_text("[init]\ntemplate-store = /store\nset_current = yes\n")
        assert (parsed("init").template_store, parsed("init").set_current) == ("/store", True)
        assert parsed("init", "--template-store", "/other").template_store == "/other"
        monkeypatch.setenv("LAGO__INIT__TEMPLATE_STORE", "/environment")
        assert parsed("init").template_store == "/environment"

    def test_d42_no_does_not_switch_a_flag_on(self, user_file: Path) -> None:
        user_file.write_text("[destroy]\nyes = False\n")
        assert parsed("destroy").yes is False

    def test_d42_a_list_is_read_as_a_list(self, user_file: Path) -> None:
        import argparse

        user_file.write_text("[inventory]\nkeys = vm-type groups, vm-provider\nnumbers = 1 2\n")
        parser = argparse.ArgumentParser()
        parser.add_argument("--keys", nargs="+", default=["a"])
        parser.add_argument("--numbers", nargs=2, type=int)
        settings.apply(parser, "inventory")
        assert vars(parser.parse_args([])) == {"keys": ["vm-type", "groups", "vm-provider"], "numbers": [1, 2]}

    def test_d42_options_without_a_default_reach_the_configuration(
        self, lago: Lago, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LAGO_LIBVIRT_PASSWORD", "from the environment")
        lago("--libvirt-user", "bob", "--libvirt-password", "50%", "list")
        assert (config.get("libvirt_user"), config.get("libvirt_password")) == ("bob", "50%")

    def test_d41_the_default_root_password_reaches_the_configuration(self, lago: Lago) -> None:
        lago("--default_root_password", "secret", "--lease_dir", "/leases", "list")
        assert (config.get("default_root_password"), config.get("lease_dir")) == ("secret", "/leases")

    @pytest.mark.parametrize(
        ("section", "words", "says"),
        [
            ("[graph]\nformat = jpg", ["graph"], "format = jpg: expected one of mermaid, dot, svg, png"),
            ("[destroy]\nyes = perhaps", ["destroy"], "yes = perhaps: expected true or false"),
            ("[lago]\nlogdepth = deep", ["list"], "logdepth = deep: expected a whole number"),
            ("[lago]\nout_format = jason", ["list"], "there is no output format jason"),
        ],
    )
    def test_a_wrong_value_names_its_source(
        self, lago: Lago, user_file: Path, section: str, words: list[str], says: str
    ) -> None:
        user_file.write_text(section)
        _, err = lago.both(*words, code=2)
        assert says in err
        assert "Traceback" not in err
        assert says.startswith("there") or str(user_file) in err

    def test_a_wrong_value_of_another_command_is_no_obstacle(self, lago: Lago, user_file: Path) -> None:
        user_file.write_text("[graph]\nformat = jpg")
        assert lago("list") == "default\n"

    def test_global_options_have_defaults_in_the_configuration(
        self, lago: Lago, user_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user_file.write_text("[lago]\nout_format = json\n")
        assert lago("list") == '[\n    "default"\n]\n'
        monkeypatch.setenv("LAGO_OUT_FORMAT", "yaml")
        assert lago("list") == "- default\n"
        assert lago("-f", "flat", "list") == "0: default\n"

    def test_variables_that_say_nothing_are_told(self, lago: Lago, monkeypatch: pytest.MonkeyPatch) -> None:
        assert lago.both("list")[1] == ""
        monkeypatch.setenv("LAGO_SSH_USER", "")
        assert lago.both("list")[1] == "WARNING: environment variable LAGO_SSH_USER is ignored: it is empty\n"

    def test_warnings_can_be_hidden(self, lago: Lago, monkeypatch: pytest.MonkeyPatch) -> None:
        from lago.cli import environment as commands

        def warn(_args: object) -> None:
            warnings.warn("old", DeprecationWarning, stacklevel=2)

        monkeypatch.setattr(commands, "_list", warn)
        lago("--ignore-warnings", "list")
        with pytest.warns(DeprecationWarning, match="old"):
            lago("list")


class TestGenerateConfig:
    def test_the_form_is_that_of_earlier_releases(self, lago: Lago) -> None:
        lines = lago("generate-config").splitlines()
        assert lines[0].startswith("# ")
        assert lines[1:3] == ["", "[lago]"]
        assert all(len(line) <= 70 for line in lines if line.startswith("# "))
        assert "libvirt_url = private" in lines
        assert "[graph]" in lines
        assert "[stop]" not in lines
        assert not [line for line in lines if line.startswith("#libvirt_user")]

    def test_verbose_has_options_without_a_default_too(self, lago: Lago) -> None:
        lines = lago("generate-config", "--verbose").splitlines()
        for line in ("#libvirt_user = None", "[init]", "#template_store = None", "#set_current = False"):
            assert line in lines

    @pytest.mark.parametrize("words", [[], ["--verbose"]])
    def test_what_is_printed_read_back_changes_nothing(self, lago: Lago, user_file: Path, words: list[str]) -> None:
        before = {name: config.get(name) for name in config.OPTIONS if name != "template_store"}
        commands = {name: vars(parsed(name)) for name in ("init", "graph", "destroy")}
        text = lago("generate-config", *words)
        configparser.ConfigParser(interpolation=None).read_string(text)
        user_file.write_text(text)
        config.set_command_line({})
        assert {name: config.get(name) for name in before} == before
        assert {name: vars(parsed(name)) for name in commands} == commands
        assert lago("generate-config", *words) == text


class TestWrongUse:
    def test_every_command_but_shell_has_help(self, lago: Lago) -> None:
        for command in build_parser()[1].choices:
            if command != "shell":
                assert "usage:" in lago(command, "-h")


@pytest.mark.programs
def test_a_command_imports_nothing_it_does_not_need(tmp_path: Path) -> None:
    code = "import sys; from lago.cli import main; main(['list']); print(*sys.modules)"
    run = [sys.executable, "-c", code]
    # The second time, as what plugins there are is known then.
    for _ in range(2):
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True, env=dict(os.environ))
    loaded = done.stdout.split()
    assert loaded[0] == "default"
    heavy = {"paramiko", "rich", "libvirt", "yaml", "importlib.metadata", "argcomplete", "graphviz", "lago.virt"}
    # What the interpreter itself has loaded before is not ours.
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    assert not heavy & (set(loaded) - set(bare.stdout.split()))


@pytest.mark.programs
@pytest.mark.parametrize(
    ("words", "said", "needless"),
    [
        (
            ["--help"],
            "usage: lago",
            "dataclasses socket subprocess lago.initfile.parse lago.guest.forward "
            "copy locale shutil lago.cli.snapshots lago.cli.shell lago.cli.template lago.cli.refused",
        ),
        (
            ["status"],
            "vm0",
            "subprocess urllib.request lago.templates lago.guest.ssh lago.environment.create "
            "locale shutil socket lago.topology.spec lago.cli.shell lago.cli.refused",
        ),
        # It fails where it would ask the machine, with everything imported by which it does.
        (
            ["shell", "vm0", "true"],
            "",
            "lago.topology.spec lago.cli.status lago.cli.refused lago.environment.create urllib.request",
        ),
    ],
)
def test_what_is_asked_for_most_imports_nothing_it_does_not_need(
    tmp_path: Path, words: list[str], said: str, needless: str
) -> None:
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from lago.cli import main; main()"
    run = [sys.executable, "-c", code, *words]
    for _ in range(2):
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True, env=dict(os.environ))
    *shown, loaded = done.stdout.splitlines()
    assert said in "\n".join(shown)
    assert "lago.cli.main" in loaded.split()
    assert not set(needless.split()) & set(loaded.split())


@pytest.mark.programs
def test_the_configuration_files_are_looked_for_once_for_all_options(tmp_path: Path) -> None:
    code = (
        "import sys; looks = []; "
        "sys.addaudithook(lambda event, args: event == 'os.listdir' and args[0] == '/etc/lago.d' and looks.append(1)); "
        "from lago.cli import main; main(['list']); print(len(looks))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    name, looks = done.stdout.split()
    assert name == "default"
    assert 1 <= int(looks) <= 2
