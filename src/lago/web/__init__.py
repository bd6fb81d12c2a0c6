"""The page of running environments, `lago web`: server, what it lets in, and what it does when asked."""
