"""Split, merge, convert, inspect and verify model checkpoints."""

from __future__ import annotations

from shardctl._version import __version__

__all__ = ["__version__"]
