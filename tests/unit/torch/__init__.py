"""Tests of what the extra `torch` adds."""
