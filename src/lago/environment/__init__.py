"""An environment on disk, and what can be done with it."""
