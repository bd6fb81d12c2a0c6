"""New versions of templates: a script is run on machines over their images, and what it changed is kept."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..disks import qemu_img
from ..errors import LagoError, VMError
from ..host.files import json_text
from ..host.parallel import in_parallel
from ..log import LOG, task
from ..templates import TemplateStore
from ..templates.local import import_image
from ..templates.providers import EXTRAS
from ..topology.model import TemplateImage
from .prefix import Prefix

if TYPE_CHECKING:
    from ..virt import VM

_MEMORY_MIB: Final = 1024
_NET: Final = "update-network"
_SHUTDOWN: Final = 120
"""Seconds that a machine may take to go down, times 5 when emulated."""

_CLEAN: Final = """\
set -e
rm -f /root/.ssh/authorized_keys
# Host keys go only where boot makes new ones.
if [ -e /etc/systemd/system/lago-hostkeys.service ] || [ -e /etc/init.d/lago-seed ] || [ -d /etc/dropbear ] ||
    command -v cloud-init >/dev/null; then
    rm -f /etc/ssh/ssh_host_* /etc/dropbear/*_host_key
fi
if [ -e /etc/machine-id ]; then : >/etc/machine-id; fi
if command -v cloud-init >/dev/null; then cloud-init clean --logs; fi
sync
"""


def update(names: Sequence[str], script: str, store: TemplateStore) -> dict[str, dict[str, Any]]:
    """Run a script as root on a throw-away machine for each template, and store the changed images as new versions.

    A template whose machine does not come up, or whose script fails, is left out.

    Args:
        names: of templates.
        script: path of a shell script.

    Returns:
        By name of the template either `version`, `id` and `path` of what is new, or the `error`.

    Raises:
        LagoError: a template is not known, the script can't be read, or there is no place for the machines.
    """
    try:
        data = Path(script).read_bytes()
    except OSError as error:
        raise LagoError(f"the script {script} can't be read: {error.strerror}", hint="correct its path") from None
    names = list(dict.fromkeys(names))
    with tempfile.TemporaryDirectory(prefix="lago-update-") as work:
        init_file = os.path.join(work, "LagoInitFile")
        with open(init_file, "w", encoding="utf-8") as file:
            json.dump(_environment(names), file)
        prefix = Prefix.create(os.path.join(work, "prefix"), init_file)
        try:
            return _update(prefix, names, data, store)
        finally:
            prefix.destroy()


def _environment(names: Sequence[str]) -> dict[str, Any]:
    machines = {
        _machine(number): {"memory": _MEMORY_MIB, "disks": [{"template_name": name}], "nics": [{"net": _NET}]}
        for number, name in enumerate(names)
    }
    return {"domains": machines, "nets": {_NET: {"dhcp": {"start": 100, "end": 254}}}}


def _machine(number: int) -> str:
    return f"update{number:02}"


def _update(prefix: Prefix, names: Sequence[str], script: bytes, store: TemplateStore) -> dict[str, dict[str, Any]]:
    version = time.strftime("%Y%m%d.%H%M%S", time.gmtime())
    with prefix.operation("Update templates"):
        env = prefix.virt_env

        def one(number: int) -> dict[str, Any]:
            vm, name = env.get_vm(_machine(number)), names[number]
            try:
                _run(vm, script)
                _shut_down(vm)
                return _keep(vm, name, version, store)
            except LagoError as error:
                LOG.warning("%s is left as it is: %s", name, error)
                return {"error": error.render()}

        try:
            try:
                env.start()
            except LagoError as error:
                # Who came up is used, and `_run` says of the others how far they came.
                LOG.debug("%s", error.render())
            results = in_parallel(one, range(len(names)), what="update templates", cancel=env.cancelled.set)
        finally:
            env.close()
    return dict(zip(names, results, strict=True))


def _run(vm: VM, script: bytes) -> None:
    with task(f"Run the script on {vm.name()}"):
        vm.connect()
        for text, what in ((script, "the script"), (_CLEAN.encode(), "cleaning up")):
            status = vm.ssh(["sh", "-s"], data=text)
            if status:
                raise VMError(f"{what} ended with status {status.code}", details=status.tail())


def _shut_down(vm: VM) -> None:
    with task(f"Shut down {vm.name()}"):
        ended = vm.env.lifecycle.ended(vm.libvirt_name())
        vm.ssh("poweroff")
        seconds = _SHUTDOWN * vm.env.accel.time_factor
        if not ended.wait(seconds):
            raise VMError(f"it did not shut down within {seconds} s")


def _keep(vm: VM, name: str, version: str, store: TemplateStore) -> dict[str, Any]:
    disk = vm.spec.disks[0]
    assert disk.template is not None
    with task(f"Store {name} {version}"), tempfile.TemporaryDirectory(prefix=".update-", dir=store.path) as work:
        image = os.path.join(work, "image")
        qemu_img.convert(os.path.join(vm.env.paths.prefix(), disk.path), "qcow2", image, "qcow2")
        _beside(image, disk.template)
        identity = import_image(store, image, name, version)
    return {"version": version, "id": identity, "path": os.path.join(store.path, identity)}


def _beside(image: str, old: TemplateImage) -> None:
    """Write beside the new image what the old one has: its kernels, and what is known of it."""
    metadata = {key: value for key, value in old.metadata.items() if key not in EXTRAS}
    for extra in EXTRAS:
        if extra in old.metadata:
            try:
                os.link(old.metadata[extra], f"{image}.{extra}")
            except OSError:
                shutil.copyfile(old.metadata[extra], f"{image}.{extra}")
    with open(f"{image}.metadata", "w", encoding="utf-8") as file:
        file.write(json_text({**metadata, "format": "qcow2", "updated-from": old.id}))
