"""The page of running environments, over real connections, without machines."""
