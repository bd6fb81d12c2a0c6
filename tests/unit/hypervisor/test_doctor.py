"""The doctor: each thing a host may lack is told with its remedy."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lago.cli import doctor as cli_doctor
from lago.errors import CommandError, HostError
from lago.host import trust
from lago.host.programs import CommandStatus
from lago.hypervisor import accel, checks, doctor
from lago.hypervisor.checks import Check
from lago.hypervisor.private import Private
from lago.paths import Paths


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an ordinary user asked."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which nothing explains a refusal."""
    good = Check("x", "ok", "good")
    monkeypatch.setattr(checks, "NAMESPACE_CHECKS", (lambda: good,))
    monkeypatch.setattr(checks, "_status", lambda: {"Seccomp": "0"})


def _sysctls(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    known = {"max_user_namespaces": "15000", **values}
    monkeypatch.setattr(checks, "_sysctl", lambda name: known.get(name.rpartition("/")[2]))


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
        ("unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ],
)
def test_a_setting_that_forbids_user_namespaces_is_named_with_its_remedy(
    user: None, monkeypatch: pytest.MonkeyPatch, name: str, value: str, remedy: str
) -> None:
    _sysctls(monkeypatch, **{name: value})
    found = checks.user_namespaces()
    assert (found.status, found.remedy) == ("fail", remedy)
    error = checks.explain_namespaces("unshare failed")
    assert isinstance(error, HostError)
    assert name in error.what
    assert error.hint == remedy
    assert error.details == "unshare failed"


def test_user_namespaces_that_are_allowed_are_well(user: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _sysctls(monkeypatch, unprivileged_userns_clone="1", apparmor_restrict_unprivileged_userns="0")
    assert checks.user_namespaces().status == "ok"


def test_root_in_a_locked_down_container_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(checks, "_status", lambda: {"CapEff": "00000000a80425fb", "Seccomp": "2"})
    found = checks.capabilities()
    assert found.status == "fail"
    assert "CAP_NET_ADMIN and CAP_SYS_ADMIN" in found.found
    assert "--privileged" in found.remedy
    assert "CAP_SYS_ADMIN" in checks.explain_namespaces().what


def test_a_seccomp_filter_is_blamed_when_nothing_else_explains_a_refusal(
    healthy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_status", lambda: {"Seccomp": "2"})
    error = checks.explain_namespaces("unshare failed: Operation not permitted")
    assert "seccomp" in error.what
    assert "seccomp=unconfined" in error.hint


def test_a_covered_proc_is_recognised(healthy: None) -> None:
    error = checks.explain_namespaces("unshare: mount /proc failed: Operation not permitted")
    assert "systempaths=unconfined" in error.hint


def test_a_refusal_that_nothing_explains_quotes_the_last_line_and_says_what_to_try(healthy: None) -> None:
    error = checks.explain_namespaces("one\nunshare failed: No space left on device\n")
    assert error.what.endswith("unshare failed: No space left on device")
    assert " ".join(checks.namespace_argv()) in error.hint


def test_namespaces_that_cannot_be_made_fail_the_check(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> CommandStatus:
        raise CommandError(["unshare"], 1, details="unshare failed: Operation not permitted")

    monkeypatch.setattr(checks, "run", refuse)
    found = checks.namespaces()
    assert found.status == "fail"
    assert "Operation not permitted" in found.found
    with pytest.raises(HostError, match="Operation not permitted"):
        checks.require()


def test_a_refusal_is_found_before_ids_are_mapped_because_unshare_would_leave_a_child(
    user: None, healthy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def refuse(argv: list[str], **_options: object) -> CommandStatus:
        asked.append(argv)
        raise CommandError(argv, 1)

    monkeypatch.setattr(checks, "run", refuse)
    checks.namespaces()
    assert [[word for word in argv if "map" in word] for argv in asked] == [[]]


def test_a_closed_tun_device_stops_a_command_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "run", lambda *_args, **_options: CommandStatus(0, b"", b""))
    monkeypatch.setattr(checks, "tun", lambda: Check("/dev/net/tun", "fail", "it is not there", "modprobe tun"))
    with pytest.raises(HostError, match="/dev/net/tun: it is not there") as raised:
        checks.require()
    assert raised.value.hint == "modprobe tun"


@pytest.mark.parametrize(
    ("rows", "status"),
    [("54321:100000:65536\n", "ok"), ("54321:100000:1000\n", "fail"), ("other:100000:65536\n", "fail"), ("", "fail")],
)
def test_subordinate_ids_are_needed_in_full(
    user: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: str, status: str
) -> None:
    tmp_path.joinpath("ids").write_text(rows)
    real: Callable[[str, set[str]], int] = checks._range
    monkeypatch.setattr(checks, "_range", lambda _path, names: real(str(tmp_path / "ids"), names))
    found = checks.subids()
    assert found.status == status
    assert ("usermod --add-subuids" in found.remedy) is (status == "fail")


@pytest.mark.parametrize(
    ("rows", "free"),
    [
        ("", "100000-165535"),
        ("first:100000:65536\n", "165536-231071"),
        ("second:165536:65536\nfirst:100000:65536\nodd:x:y\n", "231072-296607"),
        ("far:600100000:65536\n", "100000-165535"),
        ("near:120000:1000\n", "121000-186535"),
    ],
)
def test_the_ids_that_are_proposed_are_nobodys(
    user: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: str, free: str
) -> None:
    tmp_path.joinpath("ids").write_text(rows)
    real = checks._rows
    monkeypatch.setattr(checks, "_rows", lambda _path: real(str(tmp_path / "ids")))
    assert (
        checks.subids().remedy
        == f"usermod --add-subuids {free} --add-subgids {free} {trust.user_name(os.geteuid())} (as root)"
    )


def test_id_mappers_that_a_container_keeps_from_their_rights_are_told(
    user: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "newuidmap"
    program.touch()
    program.chmod(0o4755)
    monkeypatch.setattr(checks, "which", lambda _name: str(program))
    # Docker's, see capabilities(7) for the numbers.
    monkeypatch.setattr(checks, "_status", lambda: {"NoNewPrivs": "0", "CapBnd": "00000000a80425fb"})
    found = checks.id_mappers()
    assert (found.status, found.found) == ("fail", "they can't get CAP_SYS_ADMIN, as in a locked-down container")
    assert "--cap-add CAP_SYS_ADMIN" in found.remedy


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "it ended at once"}, "newuidmap: write to uid_map failed: Operation not permitted"),
        ({"error": "open_tree /run: Operation not permitted", "refused": True}, "Traceback ..."),
    ],
)
def test_a_start_that_is_refused_is_explained_as_the_doctor_does(
    user: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: dict[str, object], said: str
) -> None:
    cause = Check("newuidmap, newgidmap", "fail", "no_new_privs is set", "start Lago without it")
    monkeypatch.setattr(checks, "NAMESPACE_CHECKS", (lambda: cause,))
    monkeypatch.setattr(checks, "which", lambda name: f"/bin/{name}")
    log = tmp_path / "log"
    log.write_text(f"of before\n{said}")
    error = Private("0" * 32, Paths(str(tmp_path)))._explain(answer, str(log), len("of before\n"))
    assert isinstance(error, HostError)
    assert (error.what, error.hint) == ("namespaces can't be made: no_new_privs is set", "start Lago without it")


def test_an_id_mapper_without_rights_is_a_fault(user: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "newuidmap"
    program.touch(mode=0o755)
    monkeypatch.setattr(checks, "which", lambda _name: str(program))
    assert checks.id_mappers().remedy == f"chmod u+s {program} (as root)"
    program.chmod(0o4755)
    monkeypatch.setattr(checks, "_status", lambda: {"NoNewPrivs": "0"})
    assert checks.id_mappers().status == "ok"


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "which", lambda name: None if name in ("qemu-img", "mmdebstrap") else f"/bin/{name}")
    found = {check.name: check for check in doctor.programs()}
    assert found["qemu-img"].status == "fail"
    assert found["qemu-img"].remedy == "apt-get install qemu-utils"
    assert found["mmdebstrap"].status == "warn"


def _libvirt(tmp_path: Path, *drivers: str, lib: str = "lib/x86_64-linux-gnu") -> str:
    """A libvirtd that is installed with these drivers."""
    program = tmp_path / "sbin" / "libvirtd"
    program.parent.mkdir()
    program.touch(mode=0o755)
    place = tmp_path / lib / "libvirt" / "connection-driver"
    place.mkdir(parents=True)
    for driver in drivers:
        (place / f"libvirt_driver_{driver}.so").touch()
    return str(program)


@pytest.mark.parametrize("lib", ["lib/x86_64-linux-gnu", "lib64"])
@pytest.mark.parametrize(
    ("drivers", "missing", "remedy"),
    [
        (("qemu", "network", "storage"), "", ""),
        (("qemu",), "networks", "apt-get install libvirt-daemon-driver-network"),
        ((), "machines and networks", "apt-get install libvirt-daemon-driver-qemu libvirt-daemon-driver-network"),
    ],
    ids=["all", "no network driver", "none"],
)
def test_a_missing_driver_of_libvirt_is_told_by_doctor_and_start_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drivers: tuple[str, ...], missing: str, remedy: str, lib: str
) -> None:
    libvirtd = _libvirt(tmp_path, *drivers, lib=lib)
    monkeypatch.setattr(checks, "which", lambda _name: libvirtd)
    monkeypatch.setattr(doctor, "run", lambda *_args, **_options: CommandStatus(0, b"libvirtd 11.3.0", b""))
    found = {check.name: check for check in doctor.libvirtd()}["libvirt drivers"]
    assert (found.status, found.remedy) == ("fail" if missing else "ok", remedy)
    if not missing:
        checks.require_libvirt()
        return
    with pytest.raises(HostError) as raised:
        checks.require_libvirt()
    assert (raised.value.what, raised.value.hint) == (found.found, remedy)
    assert found.found == f"libvirt's driver for {missing} is not installed"


def test_drivers_that_are_kept_elsewhere_stop_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirtd = _libvirt(tmp_path, lib="opt/strange")
    monkeypatch.setattr(checks, "which", lambda _name: libvirtd)
    assert checks.libvirt_drivers().status == "warn"
    checks.require_libvirt()


def test_programs_outside_an_ordinary_path_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("shutil.which", lambda _program, path: path)
    assert "/usr/sbin" in (checks.which("libvirtd") or "")


@pytest.mark.parametrize(
    ("text", "status"),
    [(b"QEMU emulator version 7.2.22 (Debian)", "ok"), (b"QEMU emulator version 6.2.0", "fail"), (b"?", "warn")],
)
def test_versions_are_compared(monkeypatch: pytest.MonkeyPatch, text: bytes, status: str) -> None:
    monkeypatch.setattr(checks, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(doctor, "run", lambda *_args, **_options: CommandStatus(0, text, b""))
    assert doctor.qemu().status == status


@pytest.mark.parametrize(("free", "status"), [(20, "ok"), (5, "warn"), (0, "fail")])
def test_little_room_is_a_warning_and_none_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, status: str
) -> None:
    monkeypatch.setenv("LAGO_TEMPLATE_STORE", str(tmp_path / "not" / "yet"))
    usage = argparse.Namespace(total=0, used=0, free=free * 1024**3)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    assert doctor.disk_space().status == status


def test_emulation_is_a_warning_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "probe", lambda: accel.Accel("tcg", "no KVM", "get it"))
    assert doctor.acceleration() == Check("KVM", "warn", "no KVM", "get it")


def test_no_egress_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "which", lambda _name: None)
    assert doctor.egress().status == "warn"


def test_a_check_that_fails_in_itself_is_a_row_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def tun() -> Check:
        raise HostError("broken", hint="mend")

    monkeypatch.setattr(doctor, "_CHECKS", (tun,))
    assert doctor.checks() == [Check("tun", "fail", "broken", "mend")]


@pytest.mark.programs
def test_this_host_is_looked_at_as_a_whole() -> None:
    found = doctor.checks()
    names = {check.name for check in found}
    assert {"Python", "QEMU", "libvirtd", "namespaces", "KVM", "disk space"} <= names
    assert all(check.remedy for check in found if check.status == "fail")


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 2)])
def test_the_command_prints_all_and_ends_with_2_when_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, status: checks.Status, code: int
) -> None:
    monkeypatch.setattr(doctor, "_CHECKS", (lambda: Check("thing", status, "[found]", "[bold]remedy"),))
    parser = argparse.ArgumentParser()
    cli_doctor.add_parsers(parser.add_subparsers())
    args = parser.parse_args(["doctor"])
    outcome = args.run(args)
    assert outcome.exit_code == code
    assert outcome.data == [{"name": "thing", "status": status, "found": "[found]", "remedy": "[bold]remedy"}]
    stream = io.StringIO()
    outcome.show(stream)
    assert all(text in stream.getvalue() for text in (status, "thing", "[found]", "[bold]remedy"))
