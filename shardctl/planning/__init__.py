"""From a checkpoint and a request to a plan: pure functions, no file is touched."""
