"""What drawings are put on: a terminal's width, its colours, and the characters that it shows."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from itertools import chain
from typing import TextIO

from rich.console import Console, RenderableType

from shardctl.text import LEFT_TO_RIGHT_MARK, MOST_COLUMNS, elide, escape, printable, turns_round


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of drawings.

    `eighths` are the parts of a full block, `shades` tell neighbours apart.
    """

    eighths: str
    shades: str
    empty: str
    rule: str
    ends: tuple[str, str, str]
    limit: str
    onward: str
    corner: str
    marker: str
    ellipsis: str
    arrow: str
    times: str
    dash: str


BLOCKS = Glyphs(
    *("▏▎▍▌▋▊▉█", "█▓▒░", "·", "─", ("├", "┼", "┤"), "│", "▶", "└", "▲", "…", "→"),
    *("×", "–"),  # noqa: RUF001 - signs
)
ASCII = Glyphs("#", "#=+-:.", ".", "-", ("|", "|", "|"), "|", ">", "`", "^", "...", "->", "x", "-")


def glyphs_for(stream: TextIO | None, env: Mapping[str, str] = os.environ) -> Glyphs:
    """Return the characters that a stream can show.

    They are blocks, or ASCII where the encoding, the locale or the terminal has none.
    """
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    if _is_dumb(env) or locale in ("C", "POSIX"):
        return ASCII
    try:
        "".join(chain.from_iterable(astuple(BLOCKS))).encode(_encoding(stream))
    except UnicodeEncodeError:
        return ASCII
    return BLOCKS


def _encoding(stream: TextIO | None) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a drawing must fit: columns, characters, and the encoding that names are written in."""

    width: int
    glyphs: Glyphs = BLOCKS
    encoding: str = "utf-8"

    def name(self, name: str, width: int | None = None) -> str:
        """Escape a name, and return it as `escaped` does."""
        return self.escaped(escape(name), width)

    def escaped(self, name: str, width: int | None = None) -> str:
        """Return a name that is escaped already, in characters that can be shown.

        It takes at most `width` columns, in any case 500, and leaves what follows in its place
        where it is written from right to left.
        """
        # Once more after it is encoded, since an escape takes more columns than its character.
        most = MOST_COLUMNS if width is None else min(max(width, 1), MOST_COLUMNS)
        text = elide(self.text(elide(name, MOST_COLUMNS)), most, self.glyphs.ellipsis)
        return text + LEFT_TO_RIGHT_MARK if turns_round(text) else text

    def text(self, message: str) -> str:
        """Return a message that is safe to draw, in characters that can be shown."""
        encoding = "ascii" if self.glyphs is ASCII else self.encoding
        return printable(message).encode(encoding, "backslashreplace").decode(encoding)


class Page(io.StringIO):
    """Drawn text on its way to a stream; Rich chooses lines and boxes by its encoding."""

    def __init__(self, glyphs: Glyphs, encoding: str) -> None:
        super().__init__()
        self._encoding = "ascii" if glyphs is ASCII else encoding

    @property
    def encoding(self) -> str:  # type: ignore[override] # a StringIO has none, a text stream has
        """The encoding of the stream that the text is for."""
        return self._encoding


def canvas() -> Canvas:
    """Return the canvas of the terminal that stdout is."""
    # Rich takes every dumb terminal to be 80 columns wide.
    width = shutil.get_terminal_size().columns if _is_dumb() else Console().width
    return Canvas(width, glyphs_for(sys.stdout), _encoding(sys.stdout))


def _is_dumb(env: Mapping[str, str] = os.environ) -> bool:
    return env.get("TERM") == "dumb"


def drawn(on: Canvas, *parts: RenderableType, terminal: bool | None = True) -> str:
    """Return the parts as text, in the canvas's width and the terminal's colours.

    `terminal` says whether the text is for a terminal; None means that FORCE_COLOR decides.
    """
    page = Page(on.glyphs, on.encoding)
    here = Console()
    dumb = _is_dumb()
    console = Console(
        file=page,
        width=on.width,
        force_terminal=False if dumb else terminal,
        no_color=here.no_color or dumb,
        color_system=None if dumb else "auto",
        markup=False,
        highlight=False,
        emoji=False,
        safe_box=True,
    )
    for part in parts:
        console.print(part)
    return page.getvalue()
