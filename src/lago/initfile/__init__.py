"""From the text of an init file to an `EnvSpec`, with all mistakes at once."""
