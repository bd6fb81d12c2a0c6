"""A repository of packages: its packages and their versions, what dnf is told of it, and its replacement."""
