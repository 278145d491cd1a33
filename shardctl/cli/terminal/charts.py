"""Pictures made of characters: how full shards are, what becomes of them, shares of a whole, and a place in a file.

Everything here is a function from numbers and names to lines that fit a canvas; nothing asks the
terminal.
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

#: Rows that a picture has at most; of more, the first and the last are shown.
MOST_ROWS = 20
#: Colours that tell neighbours apart, by the shade that does the same without colours.
COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
_SIZE_CELLS, _SHARE_CELLS, _COUNT_CELLS = 9, 5, 8
_LEAST_BAR, _WIDEST_NAME = 10, 44
#: A bar ends at this many limits, so that one huge tensor does not make all the others look empty.
_MOST_OVER = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A shard to draw: `nbytes` fill its bar, `size` is the whole file's; `note` says why it ends where it does."""

    name: str
    nbytes: int
    size: int
    tensors: int
    note: tuple[str, str, str] | None = None  # before the tensor's name, the name, and after it


def shards(rows: Sequence[Row], limit: int | None, on: Canvas, title: str) -> Iterator[Text]:
    """One row a shard: how full it is against the limit, or against the largest one where there is no limit."""
    columns = _Columns.fitting(rows, limit, on)
    largest = max([limit or 0, *(row.nbytes for row in rows), 1])
    scale = min(largest, limit * _MOST_OVER) if limit else largest
    yield _heading(columns, title, limit, on)
    shown, hidden = folded(rows)
    for place, row in enumerate(shown):
        if hidden and place == MOST_ROWS // 2:
            size = format_size(sum(row.size for row in hidden))
            yield Text(f"{on.glyphs.ellipsis} {len(hidden):,} more, {size}", style="dim")
        yield _shard(row, columns, scale, limit, on)
        if row.note is not None:
            yield _note(row.note, columns, on)


def folded(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """The rows that are shown and those that are not: of many, the first and the last."""
    if len(rows) <= MOST_ROWS + 1:
        return rows, ()
    half = MOST_ROWS // 2
    return [*rows[:half], *rows[-half:]], rows[half:-half]


@dataclass(frozen=True, slots=True)
class _Columns:
    """How the columns share the width; a column that is 0 is left out."""

    name: int
    bar: int
    share: int
    count: int
    numbers: bool

    @classmethod
    def fitting(cls, rows: Sequence[Row], limit: int | None, on: Canvas) -> _Columns:
        share = _SHARE_CELLS + 1 if limit and on.width >= 60 else 0
        count = _COUNT_CELLS + 1 if on.width >= 56 else 0
        room = on.width - 1 - share - count - _SIZE_CELLS - 2
        widest = max((cells(on.name(row.name)) for row in rows), default=1)
        numbers = widest > room - _LEAST_BAR and all(_number(row.name) for row in rows)
        if numbers:
            widest = max(len(_number(row.name)) for row in rows)
        name = max(min(widest, room - _LEAST_BAR, _WIDEST_NAME), 5)
        return cls(name, max(room - name, 4), share, count, numbers)


def _number(name: str) -> str:
    """What tells a shard from the others of its set; nothing for a name without a number."""
    parsed = parse_weights_name(name, all_suffixes())
    return "" if parsed is None or parsed.number is None else str(parsed.number)


def label(name: str, width: int, on: Canvas) -> str:
    """A file's name in a column of its own width; of a numbered one that is too long, what tells it from the others."""
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


def _shard(row: Row, columns: _Columns, scale: int, limit: int | None, on: Canvas) -> Text:
    over = limit is not None and row.nbytes > limit
    label = (
        _number(row.name).rjust(columns.name)
        if columns.numbers
        else on.name(row.name, columns.name)
    )
    line = Text(label + " " * (columns.name - cells(label) + 1))
    line.append_text(
        bar(row.nbytes, scale, columns.bar, on, style="red" if over else "cyan", limit=limit)
    )
    line.append(f" {format_size(row.size):>{_SIZE_CELLS}}")
    if columns.share and limit:
        line.append(
            f" {100 * row.nbytes // limit:>{_SHARE_CELLS - 1},}%", style="red" if over else ""
        )
    if columns.count:
        line.append(f" {row.tensors:>{_COUNT_CELLS},}")
    return line


def bar(
    nbytes: int, scale: int, width: int, on: Canvas, *, style: str, limit: int | None = None
) -> Text:
    """`nbytes` of `scale` as a bar of `width` columns, pointing on where it is more; a limit below is marked."""
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


def _note(note: tuple[str, str, str], columns: _Columns, on: Canvas) -> Text:
    before, name, after = note
    begin = f"{' ' * min(columns.name - 1, 2)}{on.glyphs.corner} {before}"
    room = on.width - 1 - len(begin) - len(after)
    if room < 16:
        room, after = room + len(after), ""
    return Text(f"{begin}{on.name(name, room)}{after}", style="dim")


def ruler(sizes: Sequence[int], scale: int, width: int, on: Canvas) -> Text:
    """Files one after another as stretches of a ruler, numbered where there is room; `scale` bytes fill the width."""
    glyphs = on.glyphs
    ends, total = [0], 0
    for size in sizes:
        total += size
        ends.append(total * (width - 1) // max(scale, 1))
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


def shares(parts: Sequence[tuple[str, int]], width: int, on: Canvas) -> Text:
    """A bar of shares of a whole, in the order of the parts; each part that is there has at least one column."""
    there = [(name, nbytes) for name, nbytes in parts if nbytes]
    total = sum(nbytes for _, nbytes in there)
    line, done, begin = Text(), 0, 0
    for place, (_, nbytes) in enumerate(there):
        done += nbytes
        later = len(there) - place - 1
        end = max(min(done * width // total, width - later), min(begin + 1, width))
        line.append(swatch(place, on) * (end - begin), style=colour(place))
        begin = end
    return line


def swatch(place: int, on: Canvas) -> str:
    """The character of a part in a bar of shares."""
    return on.glyphs.shades[place % len(on.glyphs.shades)]


def colour(place: int) -> str:
    """The colour of a part in a bar of shares."""
    return COLOURS[place % len(COLOURS)]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, in bytes, and what is to be said of it: `label` and the name of a tensor, or none."""

    offset: int
    label: str
    tensor: str | None
    style: str


def file_map(size: int, header: int | None, marks: Sequence[Mark], on: Canvas) -> Iterator[Text]:
    """A file as a bar, its header apart where it is known, with a pointer to each of the marked places."""
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
        label += f" {on.name(mark.tensor, room - len(label) - 1)}"
    label = fitted(label, min(cells(label), room), on.glyphs.ellipsis)
    marker = Text(on.glyphs.marker, style=mark.style)
    if left:
        return Text(" " * (2 + place - cells(label) - 1)) + Text(f"{label} ") + marker
    return Text(" " * (2 + place)) + marker + Text(f" {label}")
