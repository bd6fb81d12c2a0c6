"""What a journal tells, for people and for other programs."""
