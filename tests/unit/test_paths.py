"""The names of files in a prefix, as earlier releases documented them."""

from __future__ import annotations

import pytest

from lago.paths import Paths


@pytest.mark.parametrize(
    ("found", "path"),
    [
        (Paths("/p").prefix(), "/p"),
        (Paths("/p").uuid(), "/p/uuid"),
        (Paths("/p").prefix_lagofile(), "/p/initialized"),
        (Paths("/p").ssh_id_rsa(), "/p/id_rsa"),
        (Paths("/p").ssh_id_rsa_pub(), "/p/id_rsa.pub"),
        (Paths("/p").metadata(), "/p/metadata"),
        (Paths("/p").logs(), "/p/logs"),
        (Paths("/p").images(), "/p/images"),
        (Paths("/p").images("vm0_root.qcow2"), "/p/images/vm0_root.qcow2"),
        (Paths("/p").virt("env"), "/p/virt/env"),
    ],
)
def test_a_file_has_its_name(found: str, path: str) -> None:
    assert found == path
