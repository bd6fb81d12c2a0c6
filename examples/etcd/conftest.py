"""What holds before the first test, and again whenever one begins with a pristine environment."""

import lago


def lago_prepare(env):
    """All nodes are members of one cluster that takes what is written."""
    lago.wait_all(env.get_vms(), "etcdctl endpoint health")
    env.get_vms()["n1"].succeed("etcdctl put colour green")
