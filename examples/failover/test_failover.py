"""A service of two nodes, and what becomes of it when one of them dies.

Where Lago and pytest are installed: pytest
"""


def kv(vm, *words):
    """Output of the client `kv` on a machine."""
    status = vm.ssh(["kv", *words])
    assert status.code == 0, status.err.decode()
    return status.out.decode()


def test_both_nodes_have_what_is_written(lago_vms):
    kv(lago_vms["primary"], "set", "colour", "green")
    for vm in lago_vms.values():
        assert vm.ssh(["cat", "/srv/kv/data/colour"]).out == b"green"


def test_the_service_goes_on_when_the_primary_dies(lago_fork):
    # A copy of the running environment, of this test's own: whatever is done to it, other tests do not notice.
    standby = lago_fork.get_vms()["standby"]
    kv(standby, "set", "shape", "round")

    lago_fork.stop(["primary"])  # as by pulling the plug

    assert kv(standby, "get", "shape") == "round"
    assert kv(standby, "set", "size", "large") == "large"


def test_nobody_else_noticed(lago_vms):
    assert lago_vms["primary"].state() == "running"
    assert lago_vms["standby"].ssh(["kv", "get", "shape"]).code != 0
