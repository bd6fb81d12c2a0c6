"""Plugins: found, loaded, exercised; those that are broken are named and left out."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lago import config, plugins
from lago.environment.prefix import Prefix
from lago.errors import LagoError
from lago.plugins.cli import CLIPlugin, CLIPluginFuncWrapper, cli_plugin, cli_plugin_add_argument, cli_plugin_add_help
from lago.topology.model import Topology
from lago.virt import VM

from ..conftest import Lago, make_prefix
from .conftest import package

REPOSITORY = Path(__file__).resolve().parents[3]


COMMAND = "class Command:\n init_args = {'help': 'do it'}\n def populate_parser(self, parser): pass\n"


class TestLoading:
    @pytest.mark.usefixtures("site")
    def test_there_are_none_without_packages(self) -> None:
        assert plugins.load("cli") == {}

    def test_all_groups_are_found_by_their_name_long_or_short(self, site: Path) -> None:
        text = "".join(
            f"[lago.plugins.{group}]\n{group}_one = kinds:{kind}\n"
            for group, kind in (("vm", "Vm"), ("vm_service", "Service"), ("ovirt.cli", "Vm"))
        )
        code = "class Vm: pass\nclass Service:\n BIN_PATH = '/bin/x'\n state = is_supported = lambda self: None\n"
        package(site, "kinds", text, code)
        assert list(plugins.load("vm")) == ["vm_one"]
        assert isinstance(plugins.load("lago.plugins.vm_service")["vm_service_one"], type)
        assert list(plugins.load("ovirt.cli")) == ["ovirt.cli_one"]

    @pytest.mark.parametrize(
        ("code", "why"),
        [
            ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
            ("import sys; sys.exit(3)", "SystemExit: 3"),
            ("", "AttributeError: module 'broken' has no attribute 'Command'"),
            ("class Command:\n init_args = {}", "TypeError: it has no populate_parser, do_run"),
            ("class Command:\n def __init__(self, more): pass", "TypeError"),
            ("import no_such_module", "ModuleNotFoundError"),
        ],
    )
    def test_a_broken_plugin_is_named_and_left_out(
        self, site: Path, lago: Lago, caplog: pytest.LogCaptureFixture, code: str, why: str
    ) -> None:
        package(site, "broken", "[lago.plugins.cli]\nbad = broken:Command\n", code)
        package(
            site, "fine", "[lago.plugins.cli]\ngood = fine:Command\n", f"{COMMAND} def do_run(self, args): return 7"
        )
        assert list(plugins.load("cli")) == ["good"]
        assert f"plugin bad of package broken is left out: {why}" in caplog.text
        out, err = lago.both("--help")
        assert "good                do it" in out
        assert "WARNING: plugin bad of package broken is left out" in err
        lago("good", code=7)
        assert "lago has no command bad\n" in lago.both("bad", code=2)[1]
        assert lago.both("goud", code=2)[1].endswith("hint: did you mean good?\n")

    def test_a_command_that_is_not_called_is_not_loaded(self, site: Path, lago: Lago) -> None:
        package(site, "slow", "[lago.plugins.cli]\nslow = slow:Command\n", "raise AssertionError")
        make_prefix(Path(".lago/default"))
        Path(".lago/current").symlink_to("default")
        assert lago.both("list") == ("default\n", "")

    def test_a_command_that_fails_at_its_arguments_is_left_out(self, site: Path, lago: Lago) -> None:
        code = COMMAND.replace("pass", "1 / 0") + " def do_run(self, args): pass"
        package(site, "broken", "[lago.plugins.cli]\nbad = broken:Command\n", code)
        out, err = lago.both("--help")
        assert "plugin bad of package broken is left out: division by zero" in err
        assert "do it" not in out

    def test_a_command_of_ours_is_not_replaced(self, site: Path, lago: Lago) -> None:
        package(
            site, "thief", "[lago.plugins.cli]\nlist = thief:Command\n", f"{COMMAND} def do_run(self, args): return 7"
        )
        out, err = lago.both("--help")
        assert "plugin list of package thief is left out: there is a command of that name" in err
        assert "do it" not in out
        _, err = lago.both("list", code=2)
        assert "plugin list of package thief is left out: there is a command of that name" in err

    def test_a_broken_output_format_is_told(self, site: Path, lago: Lago) -> None:
        package(site, "broken", "[lago.plugins.output]\nodd = broken:Odd\n", "class Odd: pass")
        _, err = lago.both("-f", "odd", "list", code=2)
        assert "plugin odd of package broken is left out: TypeError: it has no format" in err
        assert "there is no output format odd" in err


KINDS = """
import lago.virt


class Web(lago.virt.VM):
    def ip(self):
        return f"{super().ip()} of a web server"


class Cloud:
    def __init__(self, vm):
        self.vm, self.said = vm, "down"

    def start(self):
        self.said = "running"

    def stop(self):
        self.said = "down"

    def state(self):
        return self.said

    def running(self):
        return self.said == "running"

    shutdown = reboot = bootstrap = create_snapshot = revert_snapshot = stop
"""


class TestMachines:
    @pytest.fixture
    def prefix(self, site: Path, tmp_path: Path) -> Prefix:
        package(
            site,
            "kinds",
            "[lago.plugins.vm]\nweb = kinds:Web\n[lago.plugins.vm_provider]\ncloud = kinds:Cloud\n",
            KINDS,
        )
        return Prefix(str(make_prefix(tmp_path / "prefix")))

    def of(self, prefix: Prefix, **more: str) -> VM:
        """The machine vm0, with some attributes."""
        domain = dataclasses.replace(prefix.topology.domains["vm0"], **more)  # type: ignore[arg-type]
        return prefix.virt_env_of(Topology(domains={"vm0": domain}, nets=prefix.topology.nets)).get_vm("vm0")

    def test_a_type_is_a_class_of_a_plugin(self, prefix: Prefix) -> None:
        assert self.of(prefix, vm_type="web").ip().endswith(" of a web server")
        assert type(self.of(prefix, vm_type="default", vm_provider="local-libvirt")) is VM

    def test_a_provider_runs_the_machine(self, prefix: Prefix) -> None:
        vm = self.of(prefix, vm_type="web", vm_provider="cloud")
        assert (vm.state(), vm.alive(), vm.env.states()) == ("down", False, {"vm0": "down"})
        vm.start()
        assert (vm.state(), vm.alive(), vm.env.states()) == ("running", True, {"vm0": "running"})
        vm.stop()
        assert vm.state() == "down"
        assert vm.ip().endswith(" of a web server")

    def test_a_type_or_provider_that_is_not_there_is_told_with_those_that_are(self, prefix: Prefix) -> None:
        for more, what, hint in (
            ({"vm_type": "wob"}, "vm0: the vm-type wob is not installed", "did you mean web?"),
            ({"vm_provider": "x"}, "vm0: the vm-provider x is not installed", "there are: local-libvirt, cloud"),
        ):
            with pytest.raises(LagoError) as raised:
                self.of(prefix, **more)
            assert (raised.value.what, raised.value.hint) == (what, hint)

    @pytest.mark.programs
    @pytest.mark.usefixtures("site")
    def test_init_refuses_a_type_that_is_not_there(self, lago: Lago, tmp_path: Path) -> None:
        (tmp_path / "LagoInitFile").write_text("domains: {vm0: {nics: [{net: lan}], disks: []}}\nnets: {lan: {}}\n")
        _, err = lago.both("--default_vm_type", "wob", "init", code=2)
        told = "LagoInitFile:1:16: domains.vm0.vm-type: the vm-type wob is not installed, there are: default\n"
        assert err.endswith(f"lago: {told}")
        assert not (tmp_path / ".lago").exists()


class TestCache:
    def test_what_was_found_is_kept_until_a_package_comes_or_goes(
        self, site: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = []
        look = plugins._look

        def counted() -> list[plugins.Entry]:
            looks.append(1)
            return look()

        monkeypatch.setattr(plugins, "_look", counted)
        assert plugins.entries("cli") == []
        assert plugins.entries("output") == []
        assert len(looks) == 1
        package(site, "one", "[lago.plugins.cli]\none = one:Command\n", "")
        assert [entry.name for entry in plugins.entries("cli")] == ["one"]
        shutil.rmtree(site / "one-1.dist-info")
        assert plugins.entries("cli") == []
        assert len(looks) == 3

    @pytest.mark.parametrize("text", ["", "[]", '{"stamp": 1}'])
    def test_a_damaged_cache_is_made_again(self, site: Path, text: str) -> None:
        package(site, "one", "[lago.plugins.cli]\none = one:Command\n", "")
        plugins.entries("cli")
        [kept] = Path(config.cache_home()).glob("plugins-*.json")
        kept.write_text(text)
        assert [entry.name for entry in plugins.entries("cli")] == ["one"]
        assert json.loads(kept.read_text())["entries"]


class TestDecorators:
    def test_arguments_nearest_the_function_come_first_and_all_are_keywords(self) -> None:
        import argparse

        @cli_plugin_add_help("helps")
        @cli_plugin
        @cli_plugin_add_argument("first")
        @cli_plugin_add_argument("second", type=int)
        def command(first: str, second: int, **kwargs: object) -> tuple[object, ...]:
            return first, second, kwargs

        assert isinstance(command, CLIPluginFuncWrapper)
        assert isinstance(command, CLIPlugin)
        assert command.init_args["help"] == "helps"
        parser = argparse.ArgumentParser()
        command.populate_parser(parser)
        args = parser.parse_args(["2", "a"])
        args.more = True
        assert command.do_run(args) == ("a", 2, {"more": True})
        assert command("x", 1) == ("x", 1, {})

    def test_the_help_may_be_the_docstring(self) -> None:
        @cli_plugin
        def command(**_: object) -> None:
            """Do it.

            Really.
            """

        assert command.init_args == {"help": "Do it."}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed into a directory."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(REPOSITORY / "examples" / "plugin", source)
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    argv = [*pip, "--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.programs
class TestExample:
    def run(self, example: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(example)}
        argv = [sys.executable, "-m", "lago", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, cwd=cwd)

    def test_its_commands_are_in_the_help(self, example: Path) -> None:
        said = self.run(example, "--help").stdout
        assert "hello               greet somebody" in said
        assert "addresses           list the addresses of machines" in said

    def test_its_function_is_a_command(self, example: Path) -> None:
        done = self.run(example, "hello", "lago", "--loud")
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello lago!\n", "")

    def test_its_class_returns_data_which_its_format_prints(self, example: Path, tmp_path: Path) -> None:
        make_prefix(tmp_path / ".lago" / "default")
        tmp_path.joinpath(".lago", "current").symlink_to("default")
        done = self.run(example, "-f", "lines", "addresses", cwd=tmp_path)
        assert (done.stdout, done.stderr) == ("vm0\t['192.168.200.2']\n", "")
        assert json.loads(self.run(example, "-f", "json", "addresses", "--net", "wan", cwd=tmp_path).stdout) == {
            "vm0": []
        }

    def test_its_format_is_listed_when_another_is_asked_for(self, example: Path) -> None:
        # Quoted or not, as this Python's argparse has it.
        assert re.search(r"'?yaml'?, '?lines'?\)", self.run(example, "-f", "nothing", "list").stderr)
