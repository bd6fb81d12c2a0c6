"""Guests that don't take our key: which password they are tried with, and what is told of those that refuse it too."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lago import Prefix, templates
from lago.bootstrap.passwords import hash_of
from lago.disks import qemu_img
from lago.errors import Errors, VMNotReady
from lago.host.programs import run
from lago.templates.providers import EXTRAS
from lago.virt import readiness

from .box import Box

KNOWN = "123456"
MACHINE = "{memory: 128, vcpu: 1, %s disks: [{template_name: %s}], nics: [{net: lan}]}"
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class Images:
    """A repository of images that are `mini` with a password of root, each with metadata of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._mini = templates.default_store().ensure(
            templates.own_repository().get_by_name("mini").get_version(),
        )

    def add(self, name: str, password: str, metadata: Mapping[str, Any]) -> None:
        """Add the template `name`."""
        image, raw = self.place / name, self.place / "raw"
        qemu_img.convert(self._mini.path, "qcow2", str(raw), "raw")
        (self.place / "shadow").write_text(f"root:{hash_of(password)}:19000:0:99999:7:::\n")
        words = ("write shadow /etc/shadow", "set_inode_field /etc/shadow mode 0100600")
        for word in ("rm /etc/shadow", *words):
            run(["debugfs", "-w", "-R", word, "raw"], env={"PATH": _PATH}, cwd=str(self.place))
        qemu_img.convert(str(raw), "raw", str(image), "qcow2")
        raw.unlink()
        for extra in EXTRAS:
            if extra in self._mini.metadata:
                shutil.copyfile(self._mini.metadata[extra], f"{image}.{extra}")
        own = {"distro": "mini", "cmdline": self._mini.metadata["cmdline"], **metadata}
        image.with_name(f"{name}.metadata").write_text(json.dumps(own))
        names = [path.name.removesuffix(".metadata") for path in self.place.glob("*.metadata")]
        document = {
            "name": "others",
            "sources": {"here": {"type": "file", "args": {"root": str(self.place)}}},
            "templates": {one: {"versions": {"1": {"source": "here", "handle": one, "timestamp": 1}}} for one in names},
        }
        (self.place / "repository.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def images(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Images as others make them, whose metadata says nothing of `bootstrap`."""
    made = Images(tmp_path_factory.mktemp("images"))
    made.add("usual", KNOWN, {})
    made.add("silent", "by-hand", {})
    made.add("told", "by-hand", {"root-password": "by-hand"})
    made.add("other", "by-hand", {"root-password": "not-this"})
    return made


@pytest.fixture
def site(images: Images, tmp_path: Path) -> Iterator[Box]:
    """A directory where templates are these, with a store of its own."""
    made = Box(tmp_path / "b")
    made.place.mkdir()
    made.env["LAGO_TEMPLATE_STORE"] = str(tmp_path / "store")
    made.env["LAGO_TEMPLATE_REPO_PATH"] = str(images.place / "repository.json")
    yield made
    made.close()


@contextlib.contextmanager
def no_programs(place: Path) -> Iterator[None]:
    """A file system on `place` from which no program runs, as /run is on many hosts."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=700", "lago-test", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_the_usual_password_and_that_of_the_template_let_us_in_where_no_program_runs(
    site: Box,
) -> None:
    machines = {name: MACHINE % ("bootstrap: none,", name) for name in ("usual", "told")}
    site.write(f"domains: {{usual: {machines['usual']}, told: {machines['told']}}}\nnets: {{lan: {{}}}}\n")
    place = Path(os.environ["LAGO_TEST_SESSION"], "noexec")
    place.mkdir()
    with no_programs(place):
        site.env["XDG_RUNTIME_DIR"] = str(place)
        try:
            site.lago("init")
            site.lago("start")
            for name in machines:
                assert site.shell(name, "ls /root/.ssh; id -un") == "root\n", "no key is there"
        finally:
            site.close()


@pytest.mark.slow
def test_a_guest_that_refuses_is_told_early_and_others_are_waited_for(
    site: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = {"other": MACHINE % ("bootstrap: none,", "other"), "own": MACHINE % ("ssh-password: wrong,", "other")}
    machines["own"] = machines["own"].replace("ssh-password", "bootstrap: none, ssh-password")
    machines["fine"] = MACHINE % ("bootstrap: none,", "told")
    body = ", ".join(f"{name}: {text}" for name, text in machines.items())
    site.write(f"domains: {{{body}}}\nnets: {{lan: {{}}}}\n")
    site.lago("init")
    monkeypatch.setattr(readiness, "_REFUSED_FOR", 1.0)
    monkeypatch.setenv("LAGO_BOOT_TIMEOUT", "600")
    prefix = Prefix(str(site.prefix))
    with pytest.raises(Errors) as caught:
        prefix.start()
    refused = {str(error).partition(" ")[0]: error for error in caught.value.errors}
    assert set(refused) == {"other", "own"}
    of_all = "the root-password of the template and the ssh_password of the configuration"
    for name, tried in (("other", of_all), ("own", f"the ssh-password of the init file, {of_all}")):
        error = refused[name]
        assert isinstance(error, VMNotReady)
        assert error.what == (
            f"{name} did not answer ssh: ssh: {name}: root@{prefix.domain(name).ip}: can't be logged in to: "
            f"it refuses the key of this environment, {tried}; it was not prepared (bootstrap: none)"
        )
        assert "bootstrap: virt-sysprep" in error.hint
        assert "write ssh-user and ssh-password as they are there into the init file" in error.hint
        assert error.details.count("Permission denied") == 1
        assert "not-this" not in error.render()
        assert "wrong" not in error.render()
    assert site.shell("fine", "id -un") == "root\n"


@pytest.mark.timeout(1200)
def test_a_template_that_says_nothing_is_prepared_by_virt_sysprep_with_lagos_own_kernel(
    site: Box, tmp_path: Path
) -> None:
    # The repository has no `mini`, of whose kernel libguestfs is made; the store has it, which saves time.
    store = Path(site.env["LAGO_TEMPLATE_STORE"])
    store.mkdir()
    for path in Path(os.environ["LAGO_TEMPLATE_STORE"]).glob("lago:mini:*"):
        (store / path.name).symlink_to(path)
    site.write(f"domains: {{Some_vm: {MACHINE % ('', 'silent')}}}\nnets: {{lan: {{}}}}\n")
    site.lago("init", patience=1100)
    assert site.status()["VMs"]["Some_vm"]["root password"] == KNOWN
    site.lago("start")
    assert site.shell("Some_vm", "cat /root/.ssh/authorized_keys") == (site.prefix / "id_rsa.pub").read_text()
    guest = Prefix(str(site.prefix)).guest("Some_vm")
    by_password = guest._replace(key=str(tmp_path / "none"), control=f"{guest.control}x")
    by_password.open(60)
    assert by_password.run("id -un").out == b"root\n"
    by_password.close()
