"""The programs of libguestfs, which look into disk images and change them by a small machine of their own.

That machine, the appliance, is made of this host's packages and a kernel, and kept in our cache directory. On a host
without a kernel, such as a container, it is the kernel of Lago's own template `mini`.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from typing import Final

from .. import config
from ..disks import qemu_img
from ..errors import CommandError, DiskError, HostError
from ..host.confined import run_confined
from ..host.locks import lock_file
from ..host.programs import CommandStatus, package_hint, run, which
from ..hypervisor import accel
from ..log import task
from ..topology.model import TemplateImage

_BOOT: Final = "/boot"
_MODULES: Final = "/lib/modules"
_KERNEL_TEMPLATE: Final = "mini"
_PATIENCE: Final = 600.0


def run_program(
    argv: Sequence[str], *, failure: str, hint: str = "", input_data: bytes | None = None, cwd: str | None = None
) -> CommandStatus:
    """Run a program of libguestfs to its end; it ends with us, however we end.

    Args:
        failure: what to say if it fails.
        hint: what to do then, unless libguestfs itself is what fails.

    Raises:
        HostError: libguestfs, or a kernel for it, is missing.
        DiskError: it failed; details are its own error output.
    """
    if which(argv[0]) is None:
        raise HostError(f"the program {argv[0]} of libguestfs is not installed", hint=package_hint("libguestfs-tools"))
    base = environment()
    with tempfile.TemporaryDirectory(prefix="run-", dir=base["LIBGUESTFS_CACHEDIR"]) as work:
        env = {**base, "LIBGUESTFS_TMPDIR": work, "TMPDIR": work}
        try:
            return run(argv, input_data=input_data, env=env, cwd=cwd, dies_with_us=signal.SIGTERM)
        except CommandError as error:
            if "appliance" in error.details:
                hint = "does libguestfs-test-tool work on this host?"
            raise DiskError(failure, details=error.details, hint=hint) from None


def environment() -> dict[str, str]:
    """What programs of libguestfs must find in their environment; what the user has set there wins.

    Raises:
        HostError: there is no kernel, and none can be had, or no directory for modules.
    """
    env = {"LIBGUESTFS_BACKEND": "direct"}
    if accel.choose(config.get("accel")).kind != "kvm":
        env["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    kernel = {} if os.environ.get("SUPERMIN_KERNEL") or _host_has_kernel() else _template_kernel()
    # An appliance is remade when packages of the host change, but not when another kernel is asked for.
    env["LIBGUESTFS_CACHEDIR"] = _directory(kernel.get("SUPERMIN_KERNEL_VERSION", "host"))
    return {**env, **kernel, **{name: os.environ[name] for name in env if os.environ.get(name)}}


def key_selector(key: str) -> str:
    """What follows the user in the option `--ssh-inject`: where the public key at a path is, or what it is.

    These programs take what comes after a colon for the next part.
    """
    if ":" not in key:
        return f"file:{key}"
    with open(key, encoding="utf-8") as file:
        return f"string:{file.read().strip()}"


def _directory(*names: str) -> str:
    path = os.path.join(config.cache_home(), "guestfs", *names)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def _host_has_kernel() -> bool:
    """Whether there is a kernel that we may read, with its modules; on some distributions only root may."""
    names = os.listdir(_BOOT) if os.path.isdir(_BOOT) else []
    kernels = [name for name in names if name.startswith("vmlinuz-") and os.access(f"{_BOOT}/{name}", os.R_OK)]
    return any(os.path.isdir(os.path.join(_MODULES, name.removeprefix("vmlinuz-"))) for name in kernels)


def _template_kernel() -> Mapping[str, str]:
    """The kernel of a template with its modules, unpacked into the cache, as supermin wants to be told of it."""
    from .. import templates

    # The appliance's directory of that name is made after it, even if nothing is copied from it.
    if not os.path.isdir(_MODULES):
        raise HostError(
            f"this host has no directory {_MODULES}, and so no libguestfs", hint=f"as root: mkdir {_MODULES}"
        )

    version = templates.own_repository().get_by_name(_KERNEL_TEMPLATE).get_version()
    image = templates.default_store().ensure(version)
    release, kernel = str(image.metadata["kernel-version"]), str(image.metadata["kernel-efi"])
    modules = os.path.join(_directory("modules"), release)
    with lock_file(f"{modules}.lock", what=f"the modules of {release}", timeout=_PATIENCE):
        if not os.path.isdir(modules):
            with task("Unpack kernel modules"):
                _unpack_modules(image, release, modules)
    return {"SUPERMIN_KERNEL": kernel, "SUPERMIN_KERNEL_VERSION": release, "SUPERMIN_MODULES": modules}


def _unpack_modules(image: TemplateImage, release: str, dest: str) -> None:
    """Copy the modules out of an ext4 image, without mounting it."""
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=os.path.dirname(dest)) as work:
        raw = os.path.join(work, "raw")
        qemu_img.convert(image.path, image.format, raw, "raw")
        words = ["debugfs", "-R", f"rdump /usr/lib/modules/{release} .", raw]
        run_confined(words, reads=[raw], writes=[work], cwd=work)
        unpacked = os.path.join(work, release)
        if not os.path.isdir(unpacked):
            raise HostError(
                f"the image {image.path} has no modules of its kernel {release}",
                hint="apt-get install linux-image-amd64",
            )
        os.rename(unpacked, dest)
