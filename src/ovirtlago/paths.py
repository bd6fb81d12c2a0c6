"""The names of files in a prefix that oVirt environments add."""

from __future__ import annotations

from lago.paths import Paths


class OvirtPaths(Paths):
    """Where things are in the oVirt environment at `prefix`."""

    def internal_repo(self, *path: str) -> str:
        """Repositories of packages that are served to the machines, a directory each."""
        return self._prefixed("internal_repo", *path)

    def build_dir(self, *path: str) -> str:
        """Packages that were built, by project and distribution."""
        return self._prefixed("build", *path)

    def test_logs(self, *path: str) -> str:
        """What was collected when tests failed, a directory each."""
        return self._prefixed("test_logs", *path)
