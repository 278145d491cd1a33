"""Pipelines: several models in one tree."""
