"""What a journal tells: as a page to look at, as a trace for other viewers, as properties of tests."""

from .write import Written, write_html

__all__ = ["Written", "write_html"]
