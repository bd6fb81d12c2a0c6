"""How machines learn their names and keys."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import pycdlib
import pytest

from lago import bootstrap
from lago.bootstrap import iso, passwords
from lago.errors import TemplateError
from lago.paths import Paths
from lago.topology import Disk, Domain, TemplateImage

KEY = "ssh-ed25519 AAAAC3Nza lago"


def _domain(method: str | None, name: str = "vm0") -> Domain:
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
    assert f"ssh_authorized_keys:\n  - {KEY}\n" in _read(seed.path, "user-data")


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


@pytest.mark.parametrize("method", ["none", None])
def test_a_template_without_bootstrap_is_left_alone(paths: Paths, method: str | None) -> None:
    bootstrap.prepare(_domain(method), paths, KEY)
    assert bootstrap.additions(_domain(method), paths, KEY) == bootstrap.Additions()
    assert not list(Path(paths.images()).iterdir())


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
    assert passwords.hashed("Hello world!", "saltstring") == known
    assert passwords.hashed("x") != passwords.hashed("x")


def test_the_root_password_and_a_user_to_log_in_as_reach_the_seed(paths: Paths) -> None:
    domain = replace(_domain("cloud-init"), root_password="s3cret", ssh_user="admin", ssh_password="pw")
    bootstrap.prepare(domain, paths, KEY)
    text = _read(paths.images("vm0_seed.iso"), "user-data")
    assert "s3cret" not in text
    assert text.index("name: root") < text.index('hashed_passwd: "$6$') < text.index("name: admin")
    assert text.count("hashed_passwd") == 2
    assert "ssh_pwauth: true" in text


def test_a_root_password_is_set_by_ssh_where_credentials_do_not_reach() -> None:
    assert bootstrap.after_boot(_domain("credentials")) is None
    rest = bootstrap.after_boot(replace(_domain("credentials"), root_password="s3cret"))
    assert rest is not None
    assert rest[0] == ["chpasswd", "-e"]
    assert rest[1].startswith(b"root:$6$")


def test_the_init_file_has_the_last_word_on_the_method(paths: Paths) -> None:
    domain = replace(_domain("cloud-init"), bootstrap="none")
    bootstrap.prepare(domain, paths, KEY)
    assert not list(Path(paths.images()).iterdir())
