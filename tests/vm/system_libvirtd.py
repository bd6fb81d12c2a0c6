"""A system libvirtd for tests, in namespaces of its own: `unshare ... python system_libvirtd.py DIRECTORY`.

Its sockets are in DIRECTORY. Everything ends with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lago.hypervisor import namespace, protocol, supervisor

_SOCKETS = protocol.SOCKETS_DIR


def main(directory: str) -> None:
    """Set up what libvirtd wants, and run it."""
    namespace.new_network()
    namespace.own_run()
    for path in ("/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/etc/libvirt"):
        namespace.cover(path)
    for path in ("/var/lib/swtpm-localca", "/var/log/swtpm"):
        namespace.cover(path)
    os.makedirs("/etc/libvirt/qemu/networks")
    os.mkdir(_SOCKETS)
    namespace.bind(directory, _SOCKETS)
    namespace.add_users(("libvirt-qemu", "qemu"))
    Path("/etc/libvirt/qemu.conf").write_text(supervisor._QEMU_CONF)
    settings = f'unix_sock_dir = "{_SOCKETS}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
    Path("/etc/libvirt/libvirtd.conf").write_text(settings)
    argv = ["libvirtd", "-f", "/etc/libvirt/libvirtd.conf", "-p", "/run/libvirt/libvirtd.pid"]
    libvirtd = os.posix_spawnp(argv[0], argv, os.environ)
    # As process 1 we collect what ends without a parent, or libvirtd would wait for it.
    while os.wait()[0] != libvirtd:
        pass


if __name__ == "__main__":
    main(sys.argv[1])
