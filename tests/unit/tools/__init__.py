"""Tests of `tools/`: what writes and checks the project itself."""
