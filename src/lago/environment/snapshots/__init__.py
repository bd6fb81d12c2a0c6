"""Snapshots of a whole environment: taken at one instant, gone back to without a boot, forked into copies.

A prefix calls what is in here while it holds its lock.
"""
