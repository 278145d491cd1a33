"""The geometry of the SVG picture: a caption, the shards as rows, the layers as areas, and a legend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shardctl.report.content import Content, ShardView
from shardctl.report.tables import Palette, Share, filled, shares
from shardctl.report.treemap import TITLE, Box, cells, layers
from shardctl.sizes import format_size
from shardctl.text import elide

WIDTH, MARGIN = 960.0, 24.0
#: Rows of shards at most, their height, and that of the areas.
MOST_SHARDS, ROW, AREAS = 12, 26.0, 400.0
#: Levels of layers that are drawn inside each other.
LEVELS = 3
#: Units that a character of the picture's fonts takes at most, by the size of the font.
_CHARACTER = 0.62
_SMALL = 10.0
_LABEL, _SIZE = 270.0, 150.0
_LEAST_SEGMENT = 1.2


@dataclass(frozen=True, slots=True)
class Words:
    """A text with its place."""

    x: float
    y: float
    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle with a colour's number, None for a frame, and what is said of it."""

    box: Box
    colour: int | None
    about: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn, in the order of drawing."""

    width: float
    height: float
    caption: str
    areas: tuple[Area, ...]
    words: tuple[Words, ...]
    limit: Box | None
    legend: tuple[tuple[float, Share], ...]
    legend_y: float


def picture(content: Content) -> Picture:
    """Lay a report out as a picture of fixed width; its height follows from the number of shards."""
    palette = Palette.of(content)
    caption = " · ".join(_fact(name, value) for name, value in content.facts)
    heading = [
        Words(MARGIN, 38, _fit(content.title, WIDTH - 2 * MARGIN, 19), "title"),
        Words(MARGIN, 60, _fit(caption, WIDTH - 2 * MARGIN, 13), "quiet"),
    ]
    top = 84.0
    rows = list(_rows(content, palette, top))
    below = (
        top
        + ROW * (min(len(content.shards), MOST_SHARDS) + (len(content.shards) > MOST_SHARDS))
        + 14
    )
    box = Box(MARGIN, below, WIDTH - 2 * MARGIN, AREAS if content.nbytes else 0)
    inside = list(_layers(content, palette, box))
    drawn = [*rows, *inside]
    _, mark = filled(content)
    rail = WIDTH - 2 * MARGIN - _LABEL - _SIZE
    limit = (
        Box(MARGIN + _LABEL + rail * mark / 100, top, 0, below - top - 14)
        if mark is not None
        else None
    )
    return Picture(
        width=WIDTH,
        height=box.y + box.height + 50,
        caption=f"{content.title}: {caption}",
        areas=tuple(thing for thing in drawn if isinstance(thing, Area)),
        words=(*heading, *(thing for thing in drawn if isinstance(thing, Words))),
        limit=limit,
        legend=tuple(
            (MARGIN + 182 * place, share) for place, share in enumerate(shares(content)[:5])
        ),
        legend_y=box.y + box.height + 28,
    )


def _rows(content: Content, palette: Palette, top: float) -> Iterator[Area | Words]:
    rows, _ = filled(content)
    rail = WIDTH - 2 * MARGIN - _LABEL - _SIZE
    few = len(rows) <= MOST_SHARDS
    shown = list(rows) if few else [*rows[: MOST_SHARDS // 2], None, *rows[-MOST_SHARDS // 2 :]]
    for place, row in enumerate(shown):
        y = top + ROW * place
        if row is None:
            yield Words(MARGIN, y + 16, f"… {len(rows) - MOST_SHARDS:,} more", "quiet")
            continue
        yield Words(MARGIN, y + 16, _fit(row.shard.name, _LABEL - 10, 12), "name")
        box = Box(MARGIN + _LABEL, y + 3, rail * row.width / 100, ROW - 8)
        yield Area(box, None, f"{row.shard.name}, {row.size}", row.over)
        yield from _segments(row.shard, palette, box)
        count = f"{len(row.shard.items):,} tensor{'' if len(row.shard.items) == 1 else 's'}"
        yield Words(WIDTH - MARGIN, y + 16, f"{row.size}, {count}", "end")


def _segments(shard: ShardView, palette: Palette, box: Box) -> Iterator[Area]:
    """The tensors of a shard, one after another; neighbours that are too thin to be seen are one segment."""
    x, pending, count, colour = box.x, 0.0, 0, 0
    for place, item in enumerate(shard.items):
        pending += box.width * item.nbytes / max(shard.nbytes, 1)
        count += 1
        colour = palette.colour(item.dtype)
        if pending < _LEAST_SEGMENT and place < len(shard.items) - 1:
            continue
        about = f"{item.name}, {format_size(item.nbytes)}" if count == 1 else f"{count:,} tensors"
        yield Area(Box(x, box.y, pending, box.height), colour, about)
        x, pending, count = x + pending, 0.0, 0


def _layers(content: Content, palette: Palette, box: Box) -> Iterator[Area | Words]:
    if not box.height:
        return
    for cell in cells(layers(content.items).opened(), box, 1, LEVELS):
        place = cell.box
        yield Area(
            place,
            None if cell.opened else palette.colour(cell.dtype),
            f"{cell.label}: {cell.detail}",
        )
        room = place.width - 8
        if room < 30 or place.height < TITLE - 2:
            continue
        longer = f"{cell.label} · {cell.detail}"
        fits = cell.opened and _fit(longer, room, _SMALL) == longer
        yield Words(
            place.x + 5,
            place.y + 13,
            longer if fits else _fit(cell.label, room, _SMALL),
            "name small",
        )
        if not cell.opened and place.height > 32 and room > 60:
            yield Words(place.x + 5, place.y + 27, _fit(cell.detail, room, _SMALL), "quiet small")


def _fact(name: str, value: str) -> str:
    if name in ("container", "size", "verdict", "found"):
        return value
    return f"{value} {name}" if value[-1:].isdecimal() and name.endswith("s") else f"{name} {value}"


def _fit(text: str, width: float, size: float) -> str:
    return elide(text, max(int(width / (size * _CHARACTER)), 1))
