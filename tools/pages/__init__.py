"""What the pages of the manual say that can be run: their blocks, a terminal to run them on, and pictures of that.

The tests run the pages (`tests/docs`, `tests/vm/test_docs.py`); `make pictures` records one of them.
"""
