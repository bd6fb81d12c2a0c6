"""The repositories of an environment: synced, built, given, made into one, and served."""
