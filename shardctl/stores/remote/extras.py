"""Libraries that only some URLs need, each an extra of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shardctl.errors import UsageError


@contextmanager
def needed(library: str, extra: str, path: str) -> Iterator[None]:
    """Raise UsageError, with how to install it, where a library cannot be imported inside."""
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"'{path}' needs {library}, which is not installed",
            hint=f"install it: `pip install 'shardctl[{extra}]'`",
            file=path,
        ) from error
