"""Lago, and what it runs, killed at any instant and left without room; then looked at whether all is well."""
