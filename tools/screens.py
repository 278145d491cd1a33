"""Remake the pictures of the documentation: screens of real runs as SVG, and a report.

    python tools/screens.py DEMO IMAGES

DEMO is the directory that `make demo` fills. Each command runs there in its own process, on a
terminal of 100 columns. Rich draws what the terminal shows, without the web fonts that its images
would load.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 100, 40
#: Where the second shard is damaged for the picture of `verify`, in bytes.
DAMAGE = (30_000_000, 150_000_000)
#: What the live display sends before it draws again: to the line's start, erase, a line up.
_REDRAW = re.compile(r"(?:\r|\x1b\[2K|\x1b\[1A)+")
_CURSOR = re.compile(r"\x1b\[\?25[lh]")
_NOT_OURS = re.compile(r"\s*@font-face \{.*?\}|<!--.*?-->\s*", re.DOTALL)
#: A moment of a run to show: one file waits for the disk while another is being copied.
_WORTH_SEEING = re.compile(r"syncing \d.*\b[1-9]\d?%", re.DOTALL)


def on_terminal(command: str, directory: Path) -> str:
    """Return all that `shardctl` writes to a terminal with these arguments."""
    variables = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
    }
    variables["PYTHONPATH"] = str(Path(__file__).parents[1])
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        variables.pop(name, None)
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.chdir(directory)
        os.execvpe(sys.executable, [sys.executable, "-m", *command.split()], variables)  # noqa: S606 - our own program
    got = b""
    while True:
        try:
            got += os.read(terminal, 1 << 16)
        except OSError:  # EIO: the program has ended
            break
    os.waitpid(child, 0)
    os.close(terminal)
    return got.decode().replace("\r\n", "\n")


def moment(text: str) -> str:
    """Return one frame of a live display: the one most worth seeing, or the middle one."""
    frames = [
        frame.strip("\n") for frame in _REDRAW.split(_CURSOR.sub("", text)) if "total" in frame
    ]
    worth = [frame for frame in frames if _WORTH_SEEING.search(frame)]
    return (worth or frames)[len(worth or frames) // 2] + "\n"


def last(text: str) -> str:
    """Return what stays on the terminal after a live display."""
    return _REDRAW.split(_CURSOR.sub("", text))[-1]


def picture(command: str, screen: str, path: Path) -> None:
    """Save a screen as SVG, below the command that was typed."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(Text(f"$ {command}", style="bold"))
    # An empty line below, or the descenders of the last one are cut off.
    console.print(Text.from_ansi(screen.rstrip("\n")), end="\n\n")
    svg = console.export_svg(title="shardctl", unique_id=path.stem)
    path.write_text(
        "\n".join(line.rstrip() for line in _NOT_OURS.sub("", svg).splitlines()) + "\n",
        encoding="utf-8",
    )


def damage(source: Path, target: Path) -> None:
    """Copy a sharded checkpoint, with two places of its second shard changed."""
    shutil.copytree(source, target)
    with sorted(target.glob("*.bin"))[1].open("r+b") as file:
        for offset in DAMAGE:
            file.seek(offset)
            file.write(b"damaged!")


def make(demo: Path, images: Path) -> None:
    """Make every picture."""
    images.mkdir(parents=True, exist_ok=True)
    damaged, out = demo / "damaged", demo / "resharded"
    for directory in (damaged, out):
        shutil.rmtree(directory, ignore_errors=True)
    damage(demo / "sharded", damaged)
    commands = {
        "inspect": "shardctl inspect sharded --depth 2",
        "dry-run": "shardctl reshard sharded resharded --max-shard-size 70MB --dry-run",
        "verify": "shardctl verify damaged --deep",
        "split": "shardctl split bert-base-cased resharded --max-shard-size 70MB --jobs 3",
    }
    for name, command in commands.items():
        screen = on_terminal(command, demo)
        picture(
            command, moment(screen) if name == "split" else last(screen), images / f"{name}.svg"
        )
    on_terminal(f"shardctl inspect sharded --report {images.resolve() / 'report.svg'}", demo)
    for directory in (damaged, out):
        shutil.rmtree(directory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("demo", type=Path, help="the directory that `make demo` fills")
    parser.add_argument("images", type=Path, help="where the pictures go")
    given = parser.parse_args()
    make(given.demo, given.images)
