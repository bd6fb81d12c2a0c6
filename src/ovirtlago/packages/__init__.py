"""Packages for oVirt environments: repositories, builds, and their server."""
