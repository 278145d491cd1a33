"""Where bytes live: local folders, and memory for tests."""
