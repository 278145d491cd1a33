"""What `inspect --stats` draws: a line for each tensor, those with NaN or infinities first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from shardctl.cli.terminal.canvas import Canvas
from shardctl.commands.inspect import Inspection
from shardctl.model import Tensor
from shardctl.streams.statistics import Statistics
from shardctl.text import cells, last_parts, plural
from shardctl.view.shares import percent_text

#: Tensors that are listed at most.
MOST_LISTED = 200
_HEADINGS = ("min", "max", "mean", "NaN", "Inf", "zeros")
_WIDTHS = (10, 10, 10, 6, 6, 6)
#: Columns that a name has beside its numbers at least; where there are fewer it has its own line.
_LEAST_NAME = 22


def numbers(found: Inspection, on: Canvas) -> Iterator[Text]:
    """Yield what the numbers of the tensors are; nothing where that was not asked for."""
    if found.statistics is None:
        return
    known = found.statistics
    summed = [
        (tensor, numbers)
        for tensor in found.tensors
        if (numbers := known.get(tensor.name)) is not None
        and found.tied_to.get(tensor.name) not in known
    ]
    # The order of the source otherwise: what is wrong must not be among what is left out.
    summed.sort(key=lambda each: not _is_odd(each[1]))
    room = on.width - 1 - sum(_WIDTHS)
    beside = room >= _LEAST_NAME
    yield Text()
    yield _row("numbers", _HEADINGS, room, "bold") if beside else Text("numbers", style="bold")
    for tensor, each in summed[:MOST_LISTED]:
        fields, style = _fields(tensor, each), "red" if _is_odd(each) else ""
        # Names are escaped before they are cut.
        name = last_parts(on.name(tensor.name), room - 1, on.glyphs.ellipsis)
        if beside:
            yield _row(name, fields, room, style)
        else:
            yield Text(on.name(tensor.name, on.width - 1), style=style)
            yield Text(_sentence(fields), style=style or "dim")
    yield from _rest(found, len(summed), on)


def _is_odd(numbers: Statistics) -> bool:
    return bool(numbers.nan or numbers.infinite)


def _row(name: str, fields: Sequence[str], room: int, style: str) -> Text:
    columns = "".join(f"{text:>{width}}" for text, width in zip(fields, _WIDTHS, strict=True))
    return Text(f"{name}{' ' * (room - cells(name))}{columns}", style=style, no_wrap=True)


def _sentence(fields: Sequence[str]) -> str:
    least, largest, mean, nan, infinite, zeros = fields
    return f"  {least} to {largest}, mean {mean}; {nan} NaN, {infinite} Inf, {zeros} zeros"


def _fields(tensor: Tensor, numbers: Statistics) -> list[str]:
    finite = [numbers.least, numbers.largest, numbers.mean]
    return [
        *("-" if number is None else f"{number:.3g}" for number in finite),
        *(_count(count, tensor.elements) for count in (numbers.nan, numbers.infinite)),
        _share(numbers.zeros, tensor.elements),
    ]


def _count(count: int, elements: int) -> str:
    """Return a number of elements, or their share where it is too long for its column."""
    return f"{count:,}" if 0 < count < min(elements, 10_000) else _share(count, elements)


def _share(count: int, elements: int) -> str:
    """Return how many of the elements: none, all, or their percentage."""
    if not count:
        return "0"
    return "all" if count == elements else f"{percent_text(100 * count / elements)}%"


def _rest(found: Inspection, listed: int, on: Canvas) -> Iterator[Text]:
    """Yield what is not listed: more tensors, tied ones, and those that have no such numbers."""
    if listed > MOST_LISTED:
        yield Text(f"{on.glyphs.ellipsis} {listed - MOST_LISTED:,} more", style="dim")
    others = sum(numbers is None for numbers in (found.statistics or {}).values())
    if others:
        yield Text(f"{plural(others, 'tensor')} of other types than floating-point", style="dim")
