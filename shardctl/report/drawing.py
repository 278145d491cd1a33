"""The geometry of the SVG image: a caption, the files as rows, the layers as areas, a legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shardctl.report.content import Content, FileContent
from shardctl.report.tables import Palette, by_dtype, palettes
from shardctl.report.treemap import TITLE, Box, cells
from shardctl.sizes import format_size
from shardctl.text import elide, plural
from shardctl.view.files import both_ends
from shardctl.view.shares import Share, percent_text
from shardctl.view.tree import chain, tree

WIDTH, MARGIN = 960.0, 24.0
#: Rows of files at most, their height, and that of the areas.
MOST_FILES, ROW, AREAS = 12, 26.0, 400.0
#: Levels of layers that are drawn inside each other, and the width of an entry of the legend.
LEVELS, ENTRY = 3, 150
#: Units that a character of the picture's fonts takes at most, by the size of the font.
_CHARACTER = 0.62
_SMALL = 10.0
_LABEL, _SIZE = 270.0, 150.0
_LEAST_SEGMENT = 1.2


@dataclass(frozen=True, slots=True)
class Words:
    """A text and where it begins, or ends if its style is `end`."""

    x: float
    y: float
    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle: the number of its colour, None for a frame, and its tooltip `about`."""

    box: Box
    colour: int | None
    about: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the legend: a group's share in words and the number of its colour, at `x`."""

    x: float
    colour: int
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn, in the order of drawing."""

    width: float
    height: float
    caption: str
    areas: tuple[Area, ...]
    words: tuple[Words, ...]
    limit: Box | None
    legend: tuple[Entry, ...]
    legend_y: float


def picture(content: Content) -> Picture:
    """Lay a report out as a picture of fixed width; its height follows from the number of files."""
    palette = next(iter(palettes(content)), by_dtype(content))
    facts = [_fact(name, value) for name, value in content.facts]
    caption = " · ".join(facts)
    heading = [
        Words(MARGIN, 38, _fit(content.title, WIDTH - 2 * MARGIN, 19), "title"),
        Words(MARGIN, 60, _facts(facts, WIDTH - 2 * MARGIN, 13), "quiet"),
    ]
    top = 84.0
    rows = min(len(content.files), MOST_FILES) + (len(content.files) > MOST_FILES)
    rail = Box(MARGIN + _LABEL, top, WIDTH - 2 * MARGIN - _LABEL - _SIZE, ROW * rows)
    below = rail.y + rail.height + 14
    box = Box(MARGIN, below, WIDTH - 2 * MARGIN, AREAS if content.nbytes else 0)
    drawn = [*_files(content, palette, rail), *_layers(content, palette, box)]
    end = box.y + box.height
    room = int((WIDTH - 2 * MARGIN) / ENTRY)
    dtypes = _facts(list(map(_share, content.dtypes)), WIDTH - 2 * MARGIN, 13)
    drawn.append(Words(MARGIN, end + 50, dtypes, "quiet"))
    return Picture(
        width=WIDTH,
        height=end + 68,
        caption=f"{content.title}: {caption}",
        areas=tuple(thing for thing in drawn if isinstance(thing, Area)),
        words=(*heading, *(thing for thing in drawn if isinstance(thing, Words))),
        limit=_limit(content, rail),
        legend=tuple(
            Entry(
                MARGIN + ENTRY * place,
                palette.colour(share.name),
                f"{share.name} {percent_text(share.percent)} %",
            )
            for place, share in enumerate(palette.shares[:room])
        ),
        legend_y=end + 28,
    )


def _share(share: Share) -> str:
    return f"{share.name} {format_size(share.nbytes)}, {percent_text(share.percent)} %"


def _limit(content: Content, rail: Box) -> Box | None:
    """The line of the limit, without a width, beside all rows of files."""
    if content.limit is None:
        return None
    x = rail.x + rail.width * (100 * content.limit / content.bars.longest) / 100
    return Box(x, rail.y, 0, rail.height)


def _files(content: Content, palette: Palette, rail: Box) -> Iterator[Area | Words]:
    bars, files = content.bars, content.files
    shown: Sequence[FileContent | None] = files
    if len(files) > MOST_FILES:
        first, hidden, last = both_ends(files, MOST_FILES)
        shown = [*first, None, *last]
    for place, file in enumerate(shown):
        y = rail.y + ROW * place
        if file is None:
            yield Words(MARGIN, y + 16, f"… {len(hidden):,} more", "quiet")
            continue
        bar, size = file.bar, format_size(file.bar.size)
        width = rail.width * (100 * bar.nbytes / bars.longest) / 100
        box = Box(rail.x, y + 3, width, ROW - 8)
        yield Words(MARGIN, y + 16, _fit(bar.name, _LABEL - 10, 12), "name")
        yield Area(box, None, f"{bar.name}, {size}", bars.is_over(bar))
        yield from _segments(file, palette, box)
        yield Words(WIDTH - MARGIN, y + 16, f"{size}, {plural(bar.tensors, 'tensor')}", "end")


def _segments(file: FileContent, palette: Palette, box: Box) -> Iterator[Area]:
    """The tensors of a file side by side; neighbours that are too thin to see are one segment."""
    x, pending, count = box.x, 0.0, 0
    total = max(file.bar.nbytes, 1)
    for place, row in enumerate(file.rows, start=1):
        pending += box.width * row.nbytes / total
        count += 1
        if pending < _LEAST_SEGMENT and place < len(file.rows):
            continue
        about = f"{row.name}, {format_size(row.nbytes)}" if count == 1 else f"{count:,} tensors"
        yield Area(Box(x, box.y, pending, box.height), palette.colour(palette.group(row)), about)
        x, pending, count = x + pending, 0.0, 0


def _layers(content: Content, palette: Palette, box: Box) -> Iterator[Area | Words]:
    if not box.height:
        return
    for cell in cells(chain(tree(content.rows, LEVELS, palette.group))[1], box, LEVELS):
        place = cell.box
        colour = None if cell.opened else palette.colour(cell.group)
        about = f"{cell.label}: {cell.detail}, {plural(cell.parameters, 'parameter')}"
        yield Area(place, colour, about)
        room = place.width - 8
        if room < 30 or place.height < TITLE - 2:
            continue
        label, longer = _last_parts(cell.label, room), f"{cell.label} · {cell.detail}"
        if cell.opened and _fit(longer, room, _SMALL) == longer:
            label = longer
        yield Words(place.x + 5, place.y + 13, label, "name small")
        detail = _whole(cell.detail, room)
        if detail and not cell.opened and place.height > 32:
            yield Words(place.x + 5, place.y + 27, detail, "quiet small")


def _fact(name: str, value: str) -> str:
    if name in ("format", "size", "verdict", "found"):
        return value
    if not (name.endswith("s") and value[-1:].isdecimal()):
        return f"{name} {value}"
    return f"{value} {name if value != '1' else name[:-1]}"


def _last_parts(label: str, width: float) -> str:
    """Return as many of a layer's last parts as fit: the end of a name tells neighbours apart.

    `weight` alone does not, and the part before it does.
    """
    *before, last = label.split(".")
    for first in range(len(before)):
        shown = ".".join([*before[first:], last])
        if _fit(shown, width, _SMALL) == shown:
            return shown
    return _fit(before[-1] if before and last == "weight" else last, width, _SMALL)


def _whole(detail: str, width: float) -> str:
    """Return what fits of a text that ends with a size, which is never cut: all, or the size alone.

    Empty where not even that fits.
    """
    size = detail.rpartition(", ")[2]
    return next((text for text in (detail, size) if _fit(text, width, _SMALL) == text), "")


def _facts(facts: Sequence[str], width: float, size: float) -> str:
    """Return the facts that fit side by side; none is cut."""
    shown = list(facts)
    while len(shown) > 1 and _fit(" · ".join(shown), width, size) != " · ".join(shown):
        shown.pop()
    return _fit(" · ".join(shown), width, size)


def _fit(text: str, width: float, size: float) -> str:
    return elide(text, _characters(width, size))


def _characters(width: float, size: float) -> int:
    return max(int(width / (size * _CHARACTER)), 1)
