"""`python -m lago`."""

from .cli import run

run()
