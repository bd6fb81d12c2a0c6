"""The repositories of an environment, from all that they are made of."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

import pytest

from lago.errors import CommandError, ConfigError, HostError, LagoError
from ovirtlago import repoverify
from ovirtlago.packages import builds
from ovirtlago.packages.setup import Wanted, prepare
from ovirtlago.paths import OvirtPaths
from ovirtlago.repository.rpms import RepoError

from ..unit.web import serving
from .packages import Maker

DISTS = {"engine": ["el8"], "host": ["el9"]}

_SCRIPT = """\
#!/bin/sh
# By one write: scripts of other projects run beside it.
printf '%s\\n' "$(printf '%s\\t' "$0" "$@" "$BUILD_GWT")" >>{log}
result=$2; shift 2
for dist; do mkdir -p "$result/$dist"; cp {package} "$result/$dist/"; done
"""


class Environment:
    """A prefix with the directories around it."""

    def __init__(self, make: Maker, place: Path) -> None:
        self.make = make
        self.paths = OvirtPaths(str(place / "prefix"))
        self.place = place
        self.source = place / "source"
        for directory in (Path(self.paths.logs()), self.source, place / "bin"):
            directory.mkdir(parents=True)

    def prepare(self, **wanted: object) -> None:
        prepare(self.paths, DISTS, Wanted(rpm_repo=str(self.place / "copies"), **wanted))  # type: ignore[arg-type]

    def found(self) -> dict[str, list[str]]:
        """Packages by repository, as their metadata has them."""
        root = Path(self.paths.internal_repo())
        return {
            name: sorted(f"{p['name']} {p['version']['ver']}" for p in repoverify.get_packages(str(root / name)))
            for name in os.listdir(root)
        }

    def script(self, name: str, text: str) -> None:
        path = self.place / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def build_script(self, name: str, package: Path) -> None:
        """A script that packs a package made before, and writes down how it was called."""
        self.script(name, _SCRIPT.format(log=quote(str(self.place / "calls")), package=quote(str(package))))

    def calls(self) -> list[str]:
        """How scripts were called, without the places of results."""
        lines = (self.place / "calls").read_text().splitlines()
        return sorted(
            " ".join(os.path.basename(word) for word in line.split("\t") if word and "/." not in word) for line in lines
        )


@pytest.fixture
def environment(make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    return Environment(make, tmp_path)


def test_sources_suffice_without_a_configuration_to_sync_368(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    make = environment.make
    custom = make.into(environment.place / "custom", make.rpm("a", "1.9"), make.rpm("a", "1.10"))
    environment.prepare(custom=[str(custom)], config="/nowhere/dnf.conf")
    assert "there is no /nowhere/dnf.conf" in caplog.text
    assert environment.found() == {"el8": ["a 1.10"], "el9": ["a 1.10"]}
    with pytest.raises(ConfigError, match="nothing to make a repository of"):
        environment.prepare()
    with pytest.raises(ConfigError, match=r"/nowhere/dnf\.conf: No such file"):
        environment.prepare(config="/nowhere/dnf.conf")
    assert environment.found() == {"el8": ["a 1.10"], "el9": ["a 1.10"]}


def test_builds_win_over_sources_and_these_over_synced_repositories(environment: Environment) -> None:
    make = environment.make
    synced = make.repository(
        environment.place / "server", make.rpm("a", "1.10"), make.rpm("b", "2"), make.rpm("c", arch="noarch")
    )
    config = environment.place / "dnf.conf"
    config.write_text(f"[x-el8]\nname=x\nbaseurl={synced.as_uri()}\n[y-el7]\nname=y\nbaseurl=file:///nowhere\n")
    custom = make.into(environment.place / "custom", make.rpm("a", "1.9"), make.rpm("b", "1", epoch="1"))
    environment.build_script("build_engine_rpms.sh", make.rpm("a", "1.0"))
    environment.prepare(config=str(config), custom=[str(custom)], projects={"ovirt-engine": str(environment.source)})
    assert environment.found() == {"el8": ["a 1.0", "b 1", "c 1.0"], "el9": ["a 1.9", "b 1"]}


def test_sources_are_directories_packages_and_addresses(environment: Environment) -> None:
    make, place = environment.make, environment.place
    server = make.repository(place / "www" / "repo", make.rpm("a", "1.9"))
    make.into(server.parent, make.rpm("b", "2"))
    dists = place / "dists"
    make.into(dists / "el8", make.rpm("c", arch="noarch"))
    make.into(dists / "el9", make.rpm("c", "2", arch="noarch"))
    with serving(server.parent) as web:
        sources = [f"{web.url}/repo/", f"{web.url}/{make.rpm('b', '2').name}", str(make.rpm("d")), str(dists)]
        environment.prepare(custom=sources)
    assert environment.found()["el8"] == ["a 1.9", "b 2", "c 1.0", "d 1.0"]
    assert environment.found()["el9"] == ["a 1.9", "b 2", "c 2", "d 1.0"]


def test_one_repository_may_be_made_for_all(environment: Environment) -> None:
    environment.prepare(custom=[str(environment.make.rpm("d"))], name="default")
    assert environment.found() == {"default": ["d 1.0"]}
    with pytest.raises(ConfigError, match="can't be the name"):
        environment.prepare(custom=[str(environment.make.rpm("d"))], name="../el8")


def test_each_project_is_built_by_its_script_for_its_machines_d19(environment: Environment) -> None:
    for number, project in enumerate(builds.PROJECTS.values()):
        environment.build_script(project.script, environment.make.rpm(f"p{number}"))
    environment.prepare(projects=dict.fromkeys(builds.PROJECTS, str(environment.source)), with_gwt=True)
    assert environment.calls() == [
        "build_engine_rpms.sh source el8 1",
        "build_ioprocess_rpms.sh source el9",
        "build_vdsm-jsonrpc-java_rpms.sh source el8",
        "build_vdsm_rpms.sh source el9",
    ]
    assert environment.found() == {"el8": ["p1 1.0", "p2 1.0"], "el9": ["p0 1.0", "p3 1.0"]}


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo out; echo broken code >&2; exit 3", CommandError, "broken code"),
        ("exit 0", RepoError, "build_vdsm_rpms.sh made no packages for el9"),
        ("", HostError, "the program build_vdsm_rpms.sh is not there"),
    ],
)
def test_a_build_that_fails_changes_nothing(
    environment: Environment, script: str, error: type[LagoError], says: str
) -> None:
    environment.build_script("build_vdsm_rpms.sh", environment.make.rpm("d"))
    wanted = {"vdsm": str(environment.source)}
    environment.prepare(projects=wanted)
    before = environment.found()
    environment.script("build_vdsm_rpms.sh", f"#!/bin/sh\n{script}\n")
    if not script:
        (environment.place / "bin" / "build_vdsm_rpms.sh").unlink()
    with pytest.raises(error) as caught:
        environment.prepare(projects=wanted)
    assert says in caught.value.render()
    assert caught.value.hint
    if error is CommandError:
        assert Path(environment.paths.logs("build-vdsm.log")).read_text() == "out\nbroken code\n"
    assert environment.found() == before
    assert os.listdir(environment.paths.build_dir()) == ["vdsm"]
    assert os.listdir(environment.paths.build_dir("vdsm", "el9")) == [environment.make.rpm("d").name]


def test_what_can_not_be_had_is_named(environment: Environment) -> None:
    with serving(environment.place) as web:
        for source, says in (
            ("/nowhere", "there is no file or directory /nowhere"),
            ("http://a b/c.rpm", "is no address"),
            (f"{web.url}/nothing.rpm", "the server says 404"),
        ):
            with pytest.raises(LagoError, match=says):
                environment.prepare(custom=[source])
    with pytest.raises(LagoError, match="vdsm: there is no directory /nowhere"):
        environment.prepare(projects={"vdsm": "/nowhere"})
    with pytest.raises(LagoError, match="vdsm: there is no distribution to build for"):
        prepare(environment.paths, {}, Wanted(projects={"vdsm": str(environment.source)}))
    config = environment.place / "dnf.conf"
    config.write_text("[x-el8]\nname=x\nbaseurl=file:///nowhere\n")
    with pytest.raises(RepoError, match=r"there is no copy of a repository in .*/copies/x-el8"):
        environment.prepare(config=str(config), skip_sync=True)
    config.write_text("[x-el7]\nname=x\nbaseurl=file:///nowhere\n")
    with pytest.raises(ConfigError, match="no repository for el8, el9"):
        environment.prepare(config=str(config))
    assert not os.path.exists(environment.paths.internal_repo())
    assert not [name for name in os.listdir(environment.paths.build_dir("sources")) if name.startswith(".")]
