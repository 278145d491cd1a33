"""What a terminal shows of the program at its other side."""

from __future__ import annotations

import os
from collections.abc import Iterator


def until_closed(terminal: int) -> Iterator[bytes]:
    """Yield what comes to a terminal's descriptor until the last program there has ended."""
    try:
        while data := os.read(terminal, 65536):
            yield data
    except OSError:  # EIO: what Linux says once the other side is closed
        return
