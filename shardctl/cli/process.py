"""The surroundings of the process: its standard streams. Imported before anything else, so it imports little."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Make stdout complete or an error, and make the loss of stderr harmless."""
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        # PYTHONUNBUFFERED: without a buffer a write that the system cuts short, as a full disk does, is not noticed.
        number, encoding, errors = sys.stdout.fileno(), sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(number, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115 - stays open
    if sys.stderr is None:
        # Closed before the start (`2>&-`): without this `print` would write messages to stdout.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stays open
    else:
        raw = open(sys.stderr.fileno(), "wb", closefd=False)  # noqa: SIM115 - stays open
        sys.stderr = _Messages(raw, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)


class _Messages(io.TextIOWrapper):
    """Standard error, where messages that cannot be written are dropped: they change neither work nor exit code."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            discard(self)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            discard(self)


def discard(stream: TextIO) -> None:
    """Send a stream to the null device, so that what is still buffered does not fail again when Python exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
