"""The tables of a report: what a page shows without its script, and what a reader for the blind reads out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from shardctl.report.content import Content, Item, ShardView, shape_text
from shardctl.report.treemap import layers
from shardctl.sizes import format_size

#: Rows of a table at most; what is left out is counted.
MOST_ROWS = 500
#: Colours that tell dtypes apart; all further ones share one more.
COLOURS = 8


@dataclass(frozen=True, slots=True)
class Palette:
    """The dtypes of a report, the one with most bytes first, by their places."""

    places: Mapping[str, int]

    @classmethod
    def of(cls, content: Content) -> Self:
        """The palette of a report."""
        return cls({name: place for place, (name, _, _) in enumerate(content.dtypes())})

    def colour(self, dtype: str | None) -> int:
        """The number of a dtype's colour."""
        return COLOURS if dtype is None else min(self.places[dtype], COLOURS)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole: `begin` and `width` in percent."""

    name: str
    colour: int
    tensors: int
    size: str
    percent: str
    begin: float
    width: float


@dataclass(frozen=True, slots=True)
class Filled:
    """A shard against the limit or the largest: `width` and `mark` (the limit) in percent of the bar."""

    shard: ShardView
    size: str
    width: float
    over: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Files one after another, in percent of the longer of two such rows."""

    label: str
    count: str
    parts: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows that are ready to be printed, and how many are left out."""

    shares: tuple[Share, ...]
    shards: tuple[Filled, ...]
    mark: float | None
    stretches: tuple[Stretch, ...]
    layers: tuple[Share, ...]
    largest: tuple[tuple[Item, str, str], ...]
    hidden_shards: int
    hidden_layers: int
    hidden_tensors: int


def tables(content: Content) -> Tables:
    """The tables of a report."""
    items = sorted(content.items, key=lambda item: -item.nbytes)
    below = sorted(
        layers(content.items).opened().children.values(), key=lambda layer: -layer.nbytes
    )
    palette = Palette.of(content)
    rows = [
        (layer.opened().label, layer.tensors, layer.nbytes, palette.colour(layer.dtype))
        for layer in below
    ]
    shards, mark = filled(content)
    return Tables(
        shares=shares(content),
        shards=shards[:MOST_ROWS],
        mark=mark,
        stretches=_stretches(content),
        layers=_shares(rows[:MOST_ROWS], content.nbytes),
        largest=tuple(
            (item, shape_text(item.shape), format_size(item.nbytes)) for item in items[:MOST_ROWS]
        ),
        hidden_shards=max(len(shards) - MOST_ROWS, 0),
        hidden_layers=max(len(rows) - MOST_ROWS, 0),
        hidden_tensors=max(len(items) - MOST_ROWS, 0),
    )


def _stretches(content: Content) -> tuple[Stretch, ...]:
    """What a plan begins with and what it makes, scaled alike; nothing for what is no plan."""
    after = tuple((shard.name, shard.size) for shard in content.shards)
    scale = max(sum(size for _, size in content.before), sum(size for _, size in after))
    if not content.before or not scale:
        return ()
    return tuple(
        Stretch(label, f"{len(files):,} file{'' if len(files) == 1 else 's'}", _shares(rows, scale))
        for label, files in (("before", content.before), ("after", after))
        for rows in [[(name, 0, size, 0) for name, size in files]]
    )


def shares(content: Content) -> tuple[Share, ...]:
    """The dtypes' shares of all bytes."""
    palette = Palette.of(content)
    rows = [
        (name, tensors, nbytes, palette.colour(name)) for name, tensors, nbytes in content.dtypes()
    ]
    return _shares(rows, content.nbytes)


def filled(content: Content) -> tuple[tuple[Filled, ...], float | None]:
    """How full each shard is, and where the limit lies, in percent of the longest bar."""
    limit = content.limit
    scale = max([limit or 0, *(shard.nbytes for shard in content.shards), 1])
    rows = tuple(
        Filled(
            shard,
            format_size(shard.size),
            100 * shard.nbytes / scale,
            limit is not None and shard.nbytes > limit,
        )
        for shard in content.shards
    )
    return rows, None if limit is None else 100 * limit / scale


def _shares(rows: Sequence[tuple[str, int, int, int]], total: int) -> tuple[Share, ...]:
    made, begin = [], 0.0
    for name, tensors, nbytes, colour in rows:
        width = 100 * nbytes / total if total else 0.0
        percent = "<0.1 %" if 0 < width < 0.1 else f"{width:.1f} %"
        made.append(Share(name, colour, tensors, format_size(nbytes), percent, begin, width))
        begin += width
    return tuple(made)
