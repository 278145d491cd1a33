"""Generators of the completions, the manual and the reference: `make generate`."""
