"""Drawings for a terminal, made with Rich."""
