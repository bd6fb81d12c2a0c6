"""Lago: virtual machines and networks from one file, up, reachable and disposable."""
