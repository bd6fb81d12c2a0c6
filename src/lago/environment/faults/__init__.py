"""What is broken on purpose: inflicted, recorded, and healed again.

A prefix calls what is in here while it holds its lock.
"""
