"""An example of plugins for Lago; see `lago.plugins` for the contracts."""
