"""Split, merge, convert, inspect and verify model checkpoints: lazily, safely, at the speed of a copy."""

from __future__ import annotations

from shardctl._version import __version__

__all__ = ["__version__"]
