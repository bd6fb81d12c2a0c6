"""Capsules: environments as they were at the instant at which a test failed, kept until somebody opens them.

A capsule is a directory, `capsule.json` in it says what it is, and beside that there is a prefix for each environment
of the test: a fork that was never started. Its name, and those of its environments, are words that are looked for among
those that there are, and never paths.
"""
