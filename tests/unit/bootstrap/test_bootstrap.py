"""How machines learn their names and keys."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pycdlib
import pytest
import yaml

from lago import bootstrap
from lago.bootstrap import cloud_init, iso, logins, passwords, sysprep
from lago.bootstrap.additions import Additions
from lago.errors import SSHError, TemplateError, VMError
from lago.guest import ssh
from lago.paths import Paths
from lago.topology.address import Address
from lago.topology.given import GuestFile
from lago.topology.model import Disk, Domain, Nic, TemplateImage
from lago.virt import VM, readiness

KEY = "ssh-ed25519 AAAAC3Nza lago"


def _domain(method: str | bool | None, name: str = "vm0") -> Domain:
    metadata = {} if method is None else {"bootstrap": method}
    image = TemplateImage(id="r:t:1", path="/store/r:t:1", format="raw", metadata=metadata)
    disk = Disk(name="root", type="template", dev="vda", format="qcow2", path="images/x", serial="1", template=image)
    return Domain(name=name, memory=128, vcpu=1, nics=(), disks=(disk,), mgmt_net=None)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "images").mkdir()
    return Paths(str(tmp_path))


def _read(path: str, name: str) -> str:
    image = pycdlib.PyCdlib()
    image.open(path)
    out = io.BytesIO()
    image.get_file_from_iso_fp(out, rr_path=f"/{name}")
    image.close()
    return out.getvalue().decode()


def test_the_seed_tells_the_name_and_the_key(paths: Paths) -> None:
    domain = _domain("cloud-init")
    bootstrap.prepare(domain, paths, KEY + "\n")
    [seed] = bootstrap.additions(domain, paths, KEY).disks
    assert (seed.path, seed.format, seed.readonly) == (paths.images("vm0_seed.iso"), "raw", True)
    assert "local-hostname: vm0\n" in _read(seed.path, "meta-data")
    assert _read(seed.path, "user-data").startswith("#cloud-config\n")
    assert f"ssh_authorized_keys:\n- {KEY}\n" in _read(seed.path, "user-data")


def test_the_seed_is_always_the_same_and_another_for_another_machine(paths: Paths) -> None:
    contents = []
    for name in ("vm0", "vm0", "vm1"):
        bootstrap.prepare(_domain("cloud-init", name), paths, KEY)
        contents.append(Path(paths.images(f"{name}_seed.iso")).read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_credentials_set_the_name_and_the_key(paths: Paths) -> None:
    domain = _domain("credentials")
    bootstrap.prepare(domain, paths, KEY)
    additions = bootstrap.additions(domain, paths, KEY)
    [string] = additions.oem_strings
    kind, _, value = string.partition("=")
    assert kind == "io.systemd.credential.binary:tmpfiles.extra"
    lines = base64.b64decode(value).decode().splitlines()
    assert base64.b64decode(lines[0].removeprefix("f+~ /etc/hostname 0644 root root - ")) == b"vm0\n"
    assert base64.b64decode(lines[-1].split()[-1]).decode() == KEY + "\n"
    assert not additions.disks
    assert not list(Path(paths.images()).iterdir())


@pytest.mark.parametrize("method", ["none", False])
def test_a_template_that_wants_no_bootstrap_is_left_alone(paths: Paths, method: str | bool) -> None:
    bootstrap.prepare(_domain(method), paths, KEY)
    assert bootstrap.additions(_domain(method), paths, KEY) == Additions()
    assert not list(Path(paths.images()).iterdir())


def test_what_says_nothing_is_prepared_by_virt_sysprep() -> None:
    silent = _domain(None)
    assert bootstrap.method(silent) == "virt-sysprep"
    assert bootstrap.method(_domain(True)) == "virt-sysprep"
    assert bootstrap.method(replace(silent, bootstrap="none")) == "none"
    assert bootstrap.method(replace(silent, bootstrap="cloud-init")) == "cloud-init"
    assert bootstrap.method(_domain("credentials")) == "credentials"
    [disk] = silent.disks
    file = replace(disk, type="file", template=None)
    assert bootstrap.method(replace(silent, disks=(file,))) == "virt-sysprep"
    for nothing in ((), (replace(file, type="empty"),), (replace(file, format="iso"),)):
        assert bootstrap.method(replace(silent, disks=nothing)) == "none"


OF_FILE, OF_ROOT = "the ssh-password of the init file", "the root-password of the init file"
OF_TEMPLATE, OF_ITS_ROOT = "the ssh-password of the template", "the root-password of the template"
OF_CONFIG = "the ssh_password of the configuration"
USUAL = ("123456", OF_CONFIG)


def _said(metadata: dict[str, object], **own: Any) -> Domain:
    domain = _domain(None)
    [disk] = domain.disks
    assert disk.template is not None
    return replace(domain, disks=(replace(disk, template=replace(disk.template, metadata=metadata)),), **own)


@pytest.mark.parametrize(
    ("own", "metadata", "expected"),
    [
        (
            {"ssh_password": "a", "root_password": "b"},
            {"root-password": "c"},
            [("a", OF_FILE), ("b", OF_ROOT), ("c", OF_ITS_ROOT), USUAL],
        ),
        ({"root_password": "b"}, {"ssh-password": "c"}, [("b", OF_ROOT), ("c", OF_TEMPLATE), USUAL]),
        ({}, {"ssh-password": "c", "root-password": "d"}, [("c", OF_TEMPLATE), ("d", OF_ITS_ROOT), USUAL]),
        ({}, {"root-password": 123}, [("123", OF_ITS_ROOT), USUAL]),
        ({}, {}, [USUAL]),
        ({}, {"root-password": 123456}, [("123456", OF_ITS_ROOT)]),
        ({"ssh_user": "admin", "root_password": "b"}, {"root-password": "c"}, [USUAL]),
        ({}, {"ssh-user": "admin", "ssh-password": "c", "root-password": "d"}, [("c", OF_TEMPLATE), USUAL]),
    ],
)
def test_passwords_are_those_of_the_init_file_then_the_template_then_the_configuration(
    own: dict[str, Any], metadata: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert [*map(tuple, logins.passwords(_said(metadata, bootstrap="none", **own)))] == expected


def test_what_a_template_says_of_root_is_not_tried_where_root_got_another_password() -> None:
    metadata: dict[str, object] = {"ssh-password": "c", "root-password": "d"}
    prepared = _said(metadata, root_password="123456")
    said = "the root password (default_root_password of the configuration)"
    assert [*map(tuple, logins.passwords(prepared))] == [("123456", said)]
    admin = logins.passwords(replace(prepared, ssh_user="admin"))
    assert [*map(tuple, admin)] == [("c", OF_TEMPLATE), USUAL]


@pytest.mark.parametrize("method", ["cloud-init", "credentials", "virt-sysprep", True])
def test_preparing_gives_root_the_password_of_the_init_file_or_the_usual_one(
    method: str | bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = _said({"bootstrap": method, "root-password": "of the template"})
    assert logins.root_password(domain) == "123456"
    assert logins.root_password(replace(domain, root_password="own")) == "own"
    # Root has one password, and it must be the one to log in by.
    assert logins.root_password(replace(domain, ssh_password="way in")) == "way in"
    assert logins.root_password(replace(domain, ssh_password="his", ssh_user="admin")) == "123456"
    monkeypatch.setenv("LAGO_DEFAULT_ROOT_PASSWORD", "of the site")
    assert logins.root_password(domain) == "of the site"


def test_a_guest_that_nothing_prepares_is_given_no_password() -> None:
    domain = _said({"root-password": "d"}, bootstrap="none")
    assert logins.root_password(domain) is None
    assert logins.root_password(replace(domain, root_password="told")) == "told"


def test_a_first_boot_is_known() -> None:
    domain = _domain(None)
    [disk] = domain.disks
    assert not bootstrap.works_at_first_boot(domain)
    assert bootstrap.works_at_first_boot(replace(domain, distro="fc23"))
    assert not bootstrap.works_at_first_boot(replace(domain, distro="fc23", bootstrap="none"))
    built = replace(disk, build=({"virt-customize": {"firstboot-command": ["true"]}},))
    assert bootstrap.works_at_first_boot(replace(domain, disks=(built,)))


@pytest.mark.parametrize(
    ("method", "console", "works"),
    [
        ("cloud-init", "[    1.0] Linux version 6.1\n", True),
        (
            "cloud-init",
            "[   31.4] cloud-init[520]: Cloud-init v. 22.4.2 finished at Thu, 01 Jan 2026. Datasource\n",
            False,
        ),
        ("cloud-init", "lago-init: ssh started\n", False),
        ("none", "[   12.1] cloud-init[401]: Cloud-init v. 22.4.2 running 'init'\n", True),
        ("none", "[    1.0] Linux version 6.1\n", False),
        ("credentials", "", False),
        (None, "", False),
    ],
)
def test_a_guest_may_still_be_about_to_let_us_in(method: str | None, console: str, works: bool) -> None:
    vm = cast(VM, SimpleNamespace(spec=_domain(method)))
    assert readiness._prepares_itself(vm, console) is works


def test_a_guest_refuses_us_if_that_is_the_last_it_said() -> None:
    denied = "root@192.0.2.7: Permission denied (publickey).\n"
    assert ssh.refuses(SSHError("vm0: can't be logged in to", details=denied))
    assert not ssh.refuses(SSHError("vm0: can't be logged in to", details=f"{denied}Connection refused\n"))
    assert not ssh.refuses(OSError("connection refused"))


def test_a_guest_is_called_by_the_nearest_legal_host_name(paths: Paths) -> None:
    Path(paths.ssh_id_rsa_pub()).write_text(KEY)
    domain = _domain("cloud-init", "My_VM.lab")
    bootstrap.prepare(domain, paths, KEY)
    seed = paths.images("My_VM.lab_seed.iso")
    data = yaml.safe_load(_read(seed, "user-data"))
    assert (data["hostname"], data["fqdn"], data["prefer_fqdn_over_hostname"]) == ("My-VM.lab", "My-VM.lab", True)
    assert "local-hostname: My-VM.lab\n" in _read(seed, "meta-data")
    [string] = bootstrap.additions(_domain("credentials", "My_VM.lab"), paths, KEY).oem_strings
    told = base64.b64decode(string.partition("=")[2]).decode()
    assert "kernel/hostname - - - - My-VM.lab" in told
    mods = sysprep.mods(replace(domain, distro="fc24"), paths)
    assert ("--hostname", "My-VM.lab") in mods
    assert any("InitiatorName=iqn.2014-07.org.lago:my-vm.lab\n" in word for mod in mods for word in mod)


def test_an_unknown_method_is_an_error(paths: Paths) -> None:
    with pytest.raises(TemplateError, match="unknown bootstrap method magic"):
        bootstrap.prepare(_domain("magic"), paths, KEY)


def test_an_iso_holds_files_of_any_length(tmp_path: Path) -> None:
    files = {"empty": b"", "a-long-name.txt": b"x" * 2048, "more": b"y" * 5000}
    path = tmp_path / "x.iso"
    path.write_bytes(iso.image("cidata", files))
    assert {name: _read(str(path), name).encode() for name in files} == files
    assert path.stat().st_size % 2048 == 0


def test_too_many_files_for_an_iso_are_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        iso.image("x", {f"a-rather-long-name-{n}": b"" for n in range(40)})


def test_passwords_are_hashed_as_crypt_does() -> None:
    # As `openssl passwd -6` tells it.
    known = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    assert passwords.hash_of("Hello world!", "saltstring") == known
    assert passwords.hash_of("x") != passwords.hash_of("x")


def test_the_root_password_and_a_user_to_log_in_as_reach_the_seed(paths: Paths) -> None:
    domain = replace(_domain("cloud-init"), root_password="s3cret", ssh_user="admin", ssh_password="pw")
    bootstrap.prepare(domain, paths, KEY)
    text = _read(paths.images("vm0_seed.iso"), "user-data")
    assert "s3cret" not in text
    assert text.index("name: root") < text.index("hashed_passwd: $6$") < text.index("name: admin")
    assert text.count("hashed_passwd") == 2
    assert "ssh_pwauth: true" in text


def test_a_root_password_is_set_by_ssh_where_credentials_do_not_reach() -> None:
    assert bootstrap.after_boot(_domain("credentials")) is None
    rest = bootstrap.after_boot(replace(_domain("credentials"), root_password="s3cret"))
    assert rest is not None
    assert rest[0][:2] == ["sh", "-c"]
    assert rest[1].startswith(b"root:$6$")
    with_user = replace(_domain("credentials"), root_password="a", ssh_user="admin", ssh_password="b")
    rest = bootstrap.after_boot(with_user)
    assert rest is not None
    assert {line.split(b":")[0] for line in rest[1].splitlines()} == {b"root", b"admin"}


def test_a_user_with_all_rights_gets_no_password_that_nobody_gave_him() -> None:
    domain = replace(_domain("credentials"), root_password="123456", ssh_user="admin")
    rest = bootstrap.after_boot(domain)
    assert rest is not None
    assert [line.split(b":")[0] for line in rest[1].splitlines()] == [b"root"]


def _credentials(domain: Domain, paths: Paths) -> dict[str, str]:
    found = {}
    for string in bootstrap.additions(domain, paths, KEY).oem_strings:
        name, _, value = string.removeprefix("io.systemd.credential.binary:").partition("=")
        found[name] = base64.b64decode(value).decode()
    return found


def test_credentials_make_the_user_who_logs_in(paths: Paths) -> None:
    found = _credentials(replace(_domain("credentials"), ssh_user="admin"), paths)
    assert found["sysusers.extra"] == 'u admin - "admin" /home/admin /bin/bash\n'
    assert "d /home/admin/.ssh 0700 admin admin -\n" in found["tmpfiles.extra"]
    assert "f+~ /root/.ssh/authorized_keys 0600 root root" in found["tmpfiles.extra"]


FILES = {
    "/etc/a": GuestFile(content="one: two\n"),
    "/etc/b": GuestFile(content="x", mode="755"),
}


def test_files_reach_the_guest_by_every_method(paths: Paths) -> None:
    lines = _credentials(replace(_domain("credentials"), files=FILES), paths)["tmpfiles.extra"].splitlines()
    assert lines[-2].startswith("f+~ /etc/a 0644 root root - ")
    assert base64.b64decode(lines[-1].removeprefix("f+~ /etc/b 0755 root root - ")) == b"x"
    bootstrap.prepare(replace(_domain("cloud-init"), files=FILES), paths, KEY)
    user_data = yaml.safe_load(_read(paths.images("vm0_seed.iso"), "user-data"))
    assert user_data["write_files"] == [
        {"path": "/etc/a", "content": "one: two\n", "permissions": "0644"},
        {"path": "/etc/b", "content": "x", "permissions": "0755"},
    ]
    Path(paths.ssh_id_rsa_pub()).write_text(KEY)
    mods = sysprep.mods(replace(_domain("virt-sysprep"), files=FILES), paths)
    assert ("--mkdir", "/etc", "--write", "/etc/a:one: two\n") in mods
    assert ("--chmod", "0755:/etc/b") in mods


def test_files_that_credentials_can_not_hold_are_refused(paths: Paths) -> None:
    domain = replace(_domain("credentials"), files={"/big": GuestFile(content="x" * 50_000)})
    with pytest.raises(VMError, match=r"make up .* bytes of credentials") as caught:
        bootstrap.additions(domain, paths, KEY)
    assert "bootstrap: cloud-init" in caught.value.hint


def test_user_data_of_the_init_file_is_merged(paths: Paths) -> None:
    more = {"hostname": "other", "users": [{"name": "eve"}], "runcmd": ["true"]}
    bootstrap.prepare(replace(_domain("cloud-init"), cloud_init=more), paths, KEY)
    user_data = yaml.safe_load(_read(paths.images("vm0_seed.iso"), "user-data"))
    assert user_data["hostname"] == "other"
    assert [user["name"] for user in user_data["users"]] == ["root", "eve"]
    assert user_data["runcmd"] == ["true"]
    assert cloud_init.merge({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2], "d": 3}}) == {
        "a": {"b": 1, "c": [1, 2], "d": 3}
    }


def test_the_seed_says_how_the_network_is_set_up(paths: Paths) -> None:
    nics = (
        Nic(index=0, net="lan", mac="54:52:c0:a8:c8:02", ip=Address("192.168.200.2")),
        Nic(index=1, net="bare", mac="54:52:00:00:00:01", ip=None),
    )
    bootstrap.prepare(replace(_domain("cloud-init"), nics=nics), paths, KEY)
    config = yaml.safe_load(_read(paths.images("vm0_seed.iso"), "network-config"))
    assert config["version"] == 2
    assert list(config["ethernets"]) == ["eth0"]
    assert config["ethernets"]["eth0"]["match"] == {"macaddress": "54:52:c0:a8:c8:02"}


@pytest.mark.parametrize(
    ("distro", "has", "lacks"),
    [
        ("cirros", "--hostname", "initiatorname"),
        ("el6", "ifcfg-eth0", "kdump"),
        ("el7", "kdump", "interfaces.d"),
        ("fc26", "initiatorname", "ifcfg-eth0"),
        ("debian", "interfaces.d/ifcfg-eth0.cfg", "initiatorname"),
    ],
)
def test_virt_sysprep_does_what_the_distribution_needs(paths: Paths, distro: str, has: str, lacks: str) -> None:
    Path(paths.ssh_id_rsa_pub()).write_text(KEY)
    nic = Nic(index=0, net="lan", mac="54:52:c0:a8:c8:02", ip=Address("192.168.200.2"))
    words = " ".join(
        word for mod in sysprep.mods(replace(_domain(None), distro=distro, nics=(nic,)), paths) for word in mod
    )
    assert has in words
    assert lacks not in words


def test_a_disk_that_is_empty_is_not_prepared(paths: Paths) -> None:
    domain = _domain("virt-sysprep")
    disk = replace(domain.disks[0], type="empty", template=None, metadata={"bootstrap": "virt-sysprep"})
    bootstrap.prepare(replace(domain, disks=(disk,)), paths, KEY)


def test_the_init_file_has_the_last_word_on_the_method(paths: Paths) -> None:
    domain = replace(_domain("cloud-init"), bootstrap="none")
    bootstrap.prepare(domain, paths, KEY)
    assert not list(Path(paths.images()).iterdir())
