"""The command line inside this process, as in its own tests."""

from __future__ import annotations

from tests.cli.conftest import call

__all__ = ["call"]
