"""Charts made of characters: how full files are, shares of a whole, and places in a file.

Everything here turns values into lines that fit a canvas; nothing asks the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

from shardctl.cli.terminal.canvas import Canvas
from shardctl.formats.registry import all_suffixes
from shardctl.naming import parse_weights_name
from shardctl.sizes import format_size
from shardctl.text import cells, fitted
from shardctl.view.files import Bars, Ending, FileBar, Stretch, both_ends
from shardctl.view.shares import Share

#: Files that are drawn at most; of more, the first and the last are.
MOST_ROWS = 20
#: Colours that tell neighbours apart, by the shade that does the same without colours.
COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
_SIZE_CELLS, _SHARE_CELLS, _COUNT_CELLS = 9, 5, 8
_LEAST_BAR, _WIDEST_NAME = 10, 44
#: A bar ends at this many limits, so that one huge tensor does not make all the others look empty.
_MOST_OVER = 2


def files(bars: Bars, on: Canvas, title: str) -> Iterator[Text]:
    """Yield a row for each file: how full it is against the limit, or against the fullest one."""
    columns = _Columns.fitting(bars, on)
    longest = bars.longest
    scale = min(longest, bars.limit * _MOST_OVER) if bars.limit else longest
    first, hidden, last = shown(bars.files)
    yield _heading(columns, title, bars.limit, on)
    for file in first:
        yield from _file(file, columns, scale, bars, on)
    if hidden:
        size = format_size(sum(file.size for file in hidden))
        yield Text(f"{on.glyphs.ellipsis} {len(hidden):,} more, {size}", style="dim")
    for file in last:
        yield from _file(file, columns, scale, bars, on)


def shown(
    files: Sequence[FileBar],
) -> tuple[Sequence[FileBar], Sequence[FileBar], Sequence[FileBar]]:
    """Return the files that are drawn first, those that are only counted, and those drawn last."""
    return both_ends(files, MOST_ROWS) if len(files) > MOST_ROWS + 1 else (files, (), ())


@dataclass(frozen=True, slots=True)
class _Columns:
    """How the columns share the width; a column that is 0 is left out."""

    name: int
    bar: int
    share: int
    count: int
    numbers: bool

    @classmethod
    def fitting(cls, bars: Bars, on: Canvas) -> _Columns:
        share = _SHARE_CELLS + 1 if bars.limit and on.width >= 60 else 0
        count = _COUNT_CELLS + 1 if on.width >= 56 else 0
        room = on.width - 1 - share - count - _SIZE_CELLS - 2
        widest = max((cells(on.escaped(file.name)) for file in bars.files), default=1)
        numbers = widest > room - _LEAST_BAR and all(_number(file.name) for file in bars.files)
        if numbers:
            widest = max(len(_number(file.name)) for file in bars.files)
        name = max(min(widest, room - _LEAST_BAR, _WIDEST_NAME), 5)
        return cls(name, max(room - name, 4), share, count, numbers)


def _number(name: str) -> str:
    """What tells a shard from the others of its set; empty for a name without a number."""
    parsed = parse_weights_name(name, all_suffixes())
    return "" if parsed is None or parsed.number is None else str(parsed.number)


def label(name: str, width: int, on: Canvas) -> str:
    """Return a file's name in at most `width` columns.

    Where the name of a numbered file does not fit, the number replaces it.
    """
    parsed = parse_weights_name(name, all_suffixes())
    if cells(on.name(name)) > width and parsed is not None and parsed.number is not None:
        forms = [
            f"shard {parsed.number} of {parsed.count}",
            f"{parsed.number} of {parsed.count}",
            f"{parsed.number}",
        ]
        name = next(
            (form for form in forms[2 * (parsed.count is None) :] if len(form) <= width), name
        )
    return on.name(name, width)


def _heading(columns: _Columns, title: str, limit: int | None, on: Canvas) -> Text:
    text = f"{fitted(title, columns.name, on.glyphs.ellipsis)} "
    bar = f"limit {format_size(limit)}".rjust(columns.bar) if limit else " " * columns.bar
    text += f"{fitted(bar, columns.bar, on.glyphs.ellipsis)} {'size':>{_SIZE_CELLS}}"
    text += f" {'full':>{_SHARE_CELLS}}" if columns.share else ""
    text += f" {'tensors':>{_COUNT_CELLS}}" if columns.count else ""
    return Text(text, style="bold")


def _file(file: FileBar, columns: _Columns, scale: int, bars: Bars, on: Canvas) -> Iterator[Text]:
    style, limit = ("red" if bars.is_over(file) else ""), bars.limit
    name = (
        _number(file.name).rjust(columns.name)
        if columns.numbers
        else on.escaped(file.name, columns.name)
    )
    line = Text(name + " " * (columns.name - cells(name) + 1))
    line.append_text(bar(file.nbytes, scale, columns.bar, on, style=style or "cyan", limit=limit))
    line.append(f" {format_size(file.size):>{_SIZE_CELLS}}")
    if columns.share and limit:
        line.append(f" {100 * file.nbytes // limit:>{_SHARE_CELLS - 1},}%", style=style)
    if columns.count:
        line.append(f" {file.tensors:>{_COUNT_CELLS},}")
    yield line
    if file.ending is not None:
        yield _ending(file.ending, columns, on)


def bar(
    nbytes: int, scale: int, width: int, on: Canvas, *, style: str, limit: int | None = None
) -> Text:
    """Return `nbytes` of `scale` as a bar of `width` columns.

    It points on where the bytes are more than the scale, and marks a limit that is less.
    """
    glyphs = on.glyphs
    parts = len(glyphs.eighths)
    filled = min(-(-nbytes * width * parts // scale), width * parts) if nbytes else 0
    whole, rest = divmod(filled, parts)
    full = glyphs.eighths[-1] * whole + (glyphs.eighths[rest - 1] if rest else "")
    line = Text()
    line.append(full, style=style)
    line.append(glyphs.empty * (width - len(full)), style="dim")
    if nbytes > scale:
        line = line[:-1] + Text(glyphs.onward, style=style)
    if limit and limit < scale:
        place = min(limit * width // scale, width - 1)
        line = line[:place] + Text(glyphs.limit, style="bold") + line[place + 1 :]
    return line


def _ending(ending: Ending, columns: _Columns, on: Canvas) -> Text:
    if ending.alone:
        before = "over the limit by itself: "
        after = f", {format_size(ending.nbytes - ending.room)} too large"
    else:
        before = "did not fit: "
        after = f", {format_size(ending.nbytes)} into {format_size(ending.room)}"
    begin = f"{' ' * min(columns.name - 1, 2)}{on.glyphs.corner} {before}"
    room = on.width - 1 - len(begin) - len(after)
    if room < 16:
        room, after = room + len(after), ""
    return Text(f"{begin}{on.escaped(ending.tensor, room)}{after}", style="dim")


def ruler(stretch: Stretch, width: int, on: Canvas) -> Text:
    """Return files one after another as parts of a ruler, numbered where there is room."""
    glyphs = on.glyphs
    ends, total = [0], 0
    for file in stretch.files:
        total += file.nbytes
        ends.append(total * (width - 1) // stretch.scale)
    line = [glyphs.rule if place < ends[-1] else " " for place in range(width)]
    for number, (begin, end) in enumerate(pairwise(ends), start=1):
        label = f" {number} "
        if end - begin - 1 >= len(label) + 2:
            at = begin + 1 + (end - begin - 1 - len(label)) // 2
            line[at : at + len(label)] = label
    for end in ends[1:-1]:
        line[end] = glyphs.ends[1]
    line[ends[-1]] = glyphs.ends[2]
    line[0] = glyphs.ends[0]
    return Text("".join(line))


def shares(parts: Sequence[Share], width: int, on: Canvas) -> Text:
    """Return a bar of shares; each part that is not empty has at least one column."""
    present = [part for part in parts if part.nbytes]
    total = sum(part.nbytes for part in present)
    line, done, begin = Text(), 0, 0
    for place, part in enumerate(present):
        done += part.nbytes
        later = len(present) - place - 1
        end = max(min(done * width // total, width - later), min(begin + 1, width))
        line.append(swatch(place, on) * (end - begin), style=colour(place))
        begin = end
    return line


def swatch(place: int, on: Canvas) -> str:
    """Return the character of a part in a bar of shares."""
    return on.glyphs.shades[place % len(on.glyphs.shades)]


def colour(place: int) -> str:
    """Return the colour of a part in a bar of shares."""
    return COLOURS[place % len(COLOURS)]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, in bytes, with a label and the name of a tensor, if there is one."""

    offset: int
    label: str
    tensor: str | None
    style: str


def file_map(size: int, header: int | None, marks: Sequence[Mark], on: Canvas) -> Iterator[Text]:
    """Yield a file as a bar, its header apart where it is known, and a pointer to each mark."""
    width = on.width - 3
    glyphs = on.glyphs
    head = 0 if header is None or not size else min(max(header * width // size, 1), width)
    line = Text("  ")
    line.append(glyphs.shades[1] * head, style="yellow")
    line.append(glyphs.shades[-1] * (width - head), style="dim")
    places = [min(mark.offset * width // max(size, 1), width - 1) for mark in marks]
    for place, mark in zip(places, marks, strict=True):
        line = line[: 2 + place] + Text(glyphs.shades[0], style=mark.style) + line[3 + place :]
    yield line
    for place, mark in zip(places, marks, strict=True):
        yield _pointer(place, mark, width, on)


def _pointer(place: int, mark: Mark, width: int, on: Canvas) -> Text:
    label = mark.label
    left = place > width // 2
    room = (place if left else width - place) - 2
    if mark.tensor is not None and room - len(label) > 12:
        label += f" {on.escaped(mark.tensor, room - len(label) - 1)}"
    label = fitted(label, min(cells(label), room), on.glyphs.ellipsis)
    marker = Text(on.glyphs.marker, style=mark.style)
    if left:
        return Text(" " * (2 + place - cells(label) - 1)) + Text(f"{label} ") + marker
    return Text(" " * (2 + place)) + marker + Text(f" {label}")
