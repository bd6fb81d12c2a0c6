"""Tests of oVirt environments."""
