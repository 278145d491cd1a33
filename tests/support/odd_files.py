"""What can have the name of a file without being one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

Odd = Literal["directory", "dangling link", "pipe"]
ODD: tuple[Odd, ...] = get_args(Odd)


def make_odd(path: Path, what: Odd) -> None:
    """Make something that is not a file at a path."""
    if what == "directory":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
