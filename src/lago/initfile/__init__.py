"""From the text of an init file to an `EnvSpec`, with all faults at once."""
