r"""The columns that a text takes on a terminal, and texts shortened to fit.

Wide characters of East Asia take two columns and combining marks none, so a text is cut between
whole clusters (a character with its marks, or an escape), never inside one. Source of the
widths: Unicode Standard Annex 11, as `unicodedata` has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

#: After a name that is written from right to left: what follows on the line keeps its place.
LEFT_TO_RIGHT_MARK = "\u200e"
#: A character, or the escape of one.
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[\\tnr])|.", re.DOTALL)
#: The longest escape has ten; a character can have marks besides.
_CHARACTERS_A_COLUMN = 32
_NO_COLUMN = ("Mn", "Me", "Cf")
_RIGHT_TO_LEFT = ("R", "AL", "AN")


def cells(text: str) -> int:
    """Return the columns that a text takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def elide(text: str, width: int, ellipsis: str = "…") -> str:
    """Return the text in at most `width` columns.

    The middle of a longer one is left out, since names differ at both ends.
    """
    most = _CHARACTERS_A_COLUMN * (width + 1)
    if len(text) > 2 * most:
        # That of a very long text is left out at once: a name can have millions of characters.
        text = text[:most] + text[-most:]
    elif cells(text) <= width:
        return text
    room = width - cells(ellipsis)
    if room < 2:
        return "".join(_taken(_clusters(text), width))
    clusters = list(_clusters(text))
    tail = list(_taken(reversed(clusters), room // 2))
    head = list(_taken(clusters, room - sum(map(cells, tail))))
    return "".join([*head, ellipsis, *reversed(tail)])


def fitted(text: str, width: int, ellipsis: str = "…") -> str:
    """Return the text in exactly `width` columns: shortened, or filled up with spaces."""
    short = elide(text, width, ellipsis)
    return short + " " * (width - cells(short))


def last_parts(name: str, width: int, ellipsis: str = "…") -> str:
    """Return a name in at most `width` columns: as many of its last dotted parts as fit.

    What tells neighbours apart is at the end of a name. `ellipsis` replaces the parts before;
    a last part that does not fit by itself is elided.
    """
    rest, shown = name, name
    while cells(shown) > width and "." in rest:
        rest = rest.partition(".")[2]
        shown = ellipsis + rest
    return shown if cells(shown) <= width else elide(rest, width, ellipsis)


def plural(number: int, noun: str) -> str:
    """Return a number with its noun, for example `1 file` or `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(texts: Sequence[str], most: int = 10) -> str:
    """Return the first `most` of some texts in a list, and how many more there are."""
    more = f", and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def turns_round(text: str) -> bool:
    """Whether a text has characters that are written from right to left."""
    return not text.isascii() and any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text)


#: Columns of a name that people are shown at most; programs get it whole.
MOST_COLUMNS = 500


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in _NO_COLUMN:
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _clusters(text: str) -> Iterator[str]:
    cluster = ""
    for piece in _ESCAPE.findall(text):
        if cluster and cells(piece):
            yield cluster
            cluster = ""
        cluster += piece
    yield cluster


def _taken(clusters: Iterable[str], width: int) -> Iterator[str]:
    """Yield as many of the clusters as the columns hold."""
    for cluster in clusters:
        width -= cells(cluster)
        if width < 0:
            return
        yield cluster


_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape(name: str) -> str:
    """Return a name that is safe to print on one line.

    Whatever is invisible, moves the cursor or turns the text round is escaped.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return name.translate(_ESCAPED)


def printable(text: str) -> str:
    """Return a message that is safe to print, whether or not its names were escaped before.

    Backslashes stay as they are.
    """
    return text if text.isprintable() else text.translate(_PRINTABLE)


class _Escaped(dict[int, str]):
    """How each character is written, by its code; made when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character.isprintable():
            written = character
        elif code <= 0xFF:
            written = f"\\x{code:02x}"
        else:
            written = f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
        self[code] = written
        return written


_ESCAPED = _Escaped({ord(character): written for character, written in _ESCAPES.items()})
_PRINTABLE = _Escaped({**_ESCAPED, ord("\\"): "\\"})
