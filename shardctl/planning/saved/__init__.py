"""The plan file: what it holds, written and read back strictly."""
