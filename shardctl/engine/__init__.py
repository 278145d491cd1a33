"""Carrying out a plan: copy, journal, commit."""
