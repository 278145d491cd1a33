"""Checksums that are recorded beside the weights."""
