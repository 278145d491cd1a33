"""Servers that tests start choose a free port themselves, and say in their log which it is."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

#: Seconds until a server must have said where it is.
PATIENCE = 90.0


def announced(server: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    """Return the first match of a pattern in the log of a server, as soon as there is one."""
    until = time.monotonic() + PATIENCE
    while not (found := re.search(pattern, log.read_text())):
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)
    return found[0]
