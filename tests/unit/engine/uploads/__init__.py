"""Runs into object stores."""
