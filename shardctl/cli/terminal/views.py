"""What `inspect` and `--dry-run` draw: charts of files and dtypes, and the layers as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from shardctl.cli.terminal import charts
from shardctl.cli.terminal.canvas import Canvas
from shardctl.cli.terminal.numbers import numbers
from shardctl.commands.inspect import Inspection
from shardctl.commands.pipeline import Inspected
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.work import Work
from shardctl.sizes import format_size
from shardctl.text import cells, escape, plural
from shardctl.view.facts import facts
from shardctl.view.files import Bars, FileBar, Stretch, before_and_after, planned
from shardctl.view.shares import Share, group_shares, percent_text
from shardctl.view.tensors import TensorRow, every_name, largest, shape_text
from shardctl.view.tree import MOST_LEVELS, Node, chain, fold, tree

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Levels of the layer tree that are shown without --depth, and lines below one layer at most.
DEFAULT_DEPTH, MOST_CHILDREN = 4, 200
#: Names in a list at most.
MOST_LISTED = 10
#: Columns below which a line says only the size.
NARROW = 60


# inspect


def inspected(
    found: Inspected, on: Canvas, *, depth: int | None, top: int | None
) -> Iterator[RenderableType]:
    """Yield what SOURCE holds, of a pipeline the sums first and then every component."""
    if found.pipeline is not None:
        parts = (
            "pipeline",
            plural(len(found.parts), "component"),
            plural(sum(len(part.tensors) for _, part in found.parts), "tensor"),
            plural(found.total_parameters, "parameter"),
            format_size(found.total_size),
        )
        yield from _flowing(f"{on.name(found.source)}: ", parts, on)
    for _, part in found.parts:
        if found.pipeline is not None:
            yield Text()
        yield from inspection(part, on, depth=depth, top=top)


def inspection(
    found: Inspection, on: Canvas, *, depth: int | None, top: int | None
) -> Iterator[RenderableType]:
    """Yield files, dtypes, layers, and the largest tensors where asked for."""
    parts = (
        found.checkpoint.format,
        plural(len(found.files), "file"),
        plural(len(found.tensors), "tensor"),
        plural(found.total_parameters, "parameter"),
        format_size(found.total_size),
    )
    yield from _flowing(f"{on.name(found.source)}: ", parts, on)
    bars = tuple(
        FileBar(escape(file.name), file.data_size, file.size, file.tensors) for file in found.files
    )
    yield Text()
    yield from charts.files(Bars(bars), on, "file")
    if found.tensors:
        yield Text()
        yield from _dtypes(_dtype_shares(found), on)
        yield Text()
        levels = min(DEFAULT_DEPTH if depth is None else depth, MOST_LEVELS)
        rows = every_name(found.tensors, found.tied_to)
        yield _layers(fold(tree(rows, levels)), levels, on)
    if top:
        yield Text()
        yield from _largest(every_name(largest(found.tensors, top)), on)
    yield from numbers(found, on)
    yield from _metadata(found.checkpoint.metadata, on)
    yield from _others(found, on)


def _flowing(begin: str, parts: Sequence[str], on: Canvas) -> Iterator[Text]:
    """Yield parts with commas between them, on lines that end between two parts."""
    line = f"{begin}{parts[0]}"
    for part in parts[1:]:
        if cells(line) + cells(part) + 3 > on.width:
            yield Text(f"{line},")
            line = f"  {part}"
        else:
            line += f", {part}"
    yield Text(line)


def _metadata(pairs: Mapping[str, str], on: Canvas) -> Iterator[Text]:
    """Yield the files' metadata, each pair on one line."""
    if not pairs:
        return
    yield Text()
    yield Text("metadata", style="bold")
    for name in sorted(pairs)[:MOST_LISTED]:
        shown = f"{on.name(name, on.width // 3)}: "
        yield Text(f"{shown}{on.escaped(pairs[name], on.width - 1 - cells(shown))}")
    yield from _more(len(pairs) - MOST_LISTED, on)


def _others(found: Inspection, on: Canvas) -> Iterator[Text]:
    """Yield the tensors that are not read, and the entries that are not tensors."""
    unread = found.unread
    others = [entry for entry in found.non_tensors if not entry.unread]
    if unread or others:
        yield Text()
    for entry in unread[:MOST_LISTED]:
        held = f", {format_size(entry.nbytes)}" if entry.storages else ""
        line = f"tensor not read: {on.name(entry.name)} ({on.name(entry.kind)}{held})"
        yield Text(line, style="yellow")
    yield from _more(len(unread) - MOST_LISTED, on)
    for entry in others[:MOST_LISTED]:
        yield Text(f"not a tensor: {on.name(entry.name)} ({on.name(entry.kind)})")
    yield from _more(len(others) - MOST_LISTED, on)


def _dtype_shares(found: Inspection) -> tuple[Share, ...]:
    """The shares of the dtypes: tied tensors are counted, and their bytes are not."""
    return group_shares(
        (tensor.dtype.name, 0 if tensor.name in found.tied_to else tensor.nbytes)
        for tensor in found.tensors
    )


def _more(hidden: int, on: Canvas) -> Iterator[Text]:
    if hidden > 0:
        yield Text(f"{on.glyphs.ellipsis} {hidden:,} more", style="dim")


def _dtypes(shares: Sequence[Share], on: Canvas) -> Iterator[Text]:
    yield Text("dtypes", style="bold")
    yield charts.shares(shares, on.width - 1, on)
    for place, share in enumerate(shares):
        swatch = charts.swatch(place, on) if share.nbytes else " "
        percent = f"{percent_text(share.percent)}%"
        line = Text()
        line.append(swatch, style=charts.colour(place))
        line.append(f" {share.name:<11} {format_size(share.nbytes):>9} {percent:>6}")
        if on.width >= NARROW:
            line.append(f"  {plural(share.tensors, 'tensor')}")
        yield line


def _largest(rows: Iterable[TensorRow], on: Canvas) -> Iterator[Text]:
    yield Text("largest tensors", style="bold")
    for row in rows:
        tail = f"{format_size(row.nbytes):>8}"
        if on.width >= NARROW:
            tail = f"{row.dtype} {shape_text(row.shape, on.glyphs.times)}  {tail}"
        name = on.escaped(row.name, on.width - 1 - len(tail) - 2)
        yield Text(f"{name}{' ' * max(on.width - 1 - len(tail) - cells(name), 2)}{tail}")


def _layers(root: Node, depth: int, on: Canvas) -> Tree:
    drawn_tree = Tree(Text("layers", style="bold"), guide_style="dim")
    _grow(drawn_tree, root, depth, 1, on)
    return drawn_tree


def _grow(branch: Tree, node: Node, depth: int, level: int, on: Canvas) -> None:
    for number, child in enumerate(node.children):
        if number == MOST_CHILDREN:
            branch.add(f"{on.glyphs.ellipsis} and {len(node.children) - number:,} more")
            break
        label, inner = chain(child)
        below = branch.add(_line(label, inner, on.width - 4 * level, on))
        if level < depth:
            _grow(below, inner, depth, level + 1, on)


def _line(label: str, node: Node, width: int, on: Canvas) -> Text:
    size = format_size(node.nbytes)
    if node.repeats > 1:
        each = format_size(node.nbytes // node.repeats)
        size = f"{node.repeats} {on.glyphs.times} {each} = {size}"
        label = label.replace("–", on.glyphs.dash)  # noqa: RUF001 - the dash of a folded label
    if node.is_tensor:
        what = f"{node.dtype} {shape_text(node.shape, on.glyphs.times)}"
    else:
        what = plural(node.tensors, "tensor")
    tail = f"  {what}  {size}" if on.width >= NARROW else f"  {size}"
    if node.tied_to is not None and node.repeats == 1:
        room = max(width - 1 - len(tail) - min(cells(label), 24), 12)
        tail = f"  {what}  = {on.escaped(node.tied_to, room)}"
    name = on.escaped(label, max(width - 1 - len(tail), 8))
    line = Text(name, no_wrap=True, overflow="crop")
    line.append(tail, style="dim")
    return line


# writers


def work(asked: Work, on: Canvas) -> Iterator[RenderableType]:
    """Yield for each run the files before and after, and each planned shard against the limit."""
    head = _facts(asked, on)
    if asked.pipeline is not None:
        yield from head
    for part in asked.weights:
        made = part.prepared.plan
        if asked.pipeline is not None:
            yield Text()
            yield Text(on.name(part.name), style="bold")
        yield Text(
            f"{plural(len(made.shards), 'shard')}, {format_size(made.total_size)}; "
            f"load {f'from {on.name(made.loads_from)}' if made.loads_from else 'the directory'}"
        )
        if asked.pipeline is None:
            yield from head
        yield Text()
        yield from _planned(part.prepared, on)


def _facts(asked: Work, on: Canvas) -> Iterator[Text]:
    for fact in facts(asked):
        yield Text(on.text(fact))


def _planned(prepared: Prepared, on: Canvas) -> Iterator[RenderableType]:
    """Yield the files before and after, each planned shard against the limit, and why it ends."""
    made = prepared.plan
    yield from _stretches(before_and_after(prepared.checkpoint, made), on)
    yield Text()
    bars = planned(made)
    yield from charts.files(bars, on, "shard")
    if charts.shown(bars.files)[1]:
        limit = format_size(bars.limit or 0)
        for name in made.oversize[:MOST_LISTED]:
            yield Text(f"over the limit of {limit}: {on.name(name)}")
        yield from _more(len(made.oversize) - MOST_LISTED, on)


def _stretches(stretches: Sequence[Stretch], on: Canvas) -> Iterator[Text]:
    narrow = on.width < NARROW
    tails = [
        f"{len(stretch.files):,}"
        if narrow
        else f"{plural(len(stretch.files), 'file')}, {stretch.format}"
        for stretch in stretches
    ]
    width = max(on.width - len("before ") - 2 - max(map(len, tails)), 8)
    for stretch, tail in zip(stretches, tails, strict=True):
        line = Text(f"{stretch.label:<6} ")
        line.append_text(charts.ruler(stretch, width, on))
        yield line.append(f" {tail}")
