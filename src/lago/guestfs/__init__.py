"""Programs of libguestfs: how they are run, and what they are told."""
