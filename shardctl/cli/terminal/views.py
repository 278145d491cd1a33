"""What a terminal gets from `inspect` and `--dry-run`: pictures of shards, dtypes and layers, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from shardctl.cli.terminal import charts as pictures
from shardctl.cli.terminal.canvas import Canvas
from shardctl.cli.terminal.charts import Row
from shardctl.cli.terminal.layers import Node, tree
from shardctl.commands.inspect import Inspection
from shardctl.commands.write import Prepared
from shardctl.model import Tensor
from shardctl.planning.plan import Shard
from shardctl.sizes import format_size
from shardctl.storages import storage_units
from shardctl.text import cells

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Levels of the layer tree that are shown without --depth, and lines below one of its folders at
#: most.
DEFAULT_DEPTH, MOST_CHILDREN = 4, 200
#: Names that a list below a picture has at most.
MOST_LISTED = 10
#: Columns below which a line says only the size.
NARROW = 60


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# inspect


def inspection(
    found: Inspection, on: Canvas, *, depth: int | None, top: int | None
) -> Iterator[RenderableType]:
    """Files, dtypes, layers, and the largest tensors where asked for."""
    yield Text(
        f"{on.name(found.source)}: {found.checkpoint.format}, {count(len(found.files), 'file')}, "
        f"{count(len(found.tensors), 'tensor')}, "
        f"{count(found.total_parameters, 'parameter')}, {format_size(found.total_size)}"
    )
    rows = [Row(file.name, file.data_size, file.size, file.tensors) for file in found.files]
    yield Text()
    yield from pictures.shards(rows, None, on, "file")
    if found.tensors:
        yield Text()
        yield from _dtypes(found.dtypes(), on)
        yield Text()
        yield _layers(tree(found.tensors), DEFAULT_DEPTH if depth is None else depth, on)
    if top:
        yield Text()
        yield from _largest(found, top, on)
    others = found.checkpoint.non_tensors
    yield from (
        Text(f"not a tensor: {on.name(entry.name)} ({on.name(entry.kind)})")
        for entry in others[:MOST_LISTED]
    )
    yield from _more(len(others) - MOST_LISTED, on)


def _more(hidden: int, on: Canvas) -> Iterator[Text]:
    if hidden > 0:
        yield Text(f"{on.glyphs.ellipsis} {hidden:,} more", style="dim")


def _dtypes(rows: Sequence[tuple[str, int, int]], on: Canvas) -> Iterator[Text]:
    total = max(sum(nbytes for _, _, nbytes in rows), 1)
    yield Text("dtypes", style="bold")
    yield pictures.shares([(name, nbytes) for name, _, nbytes in rows], on.width - 1, on)
    parts = [place for place, row in enumerate(rows) if row[2]]
    for place, (name, tensors, nbytes) in enumerate(rows):
        line = Text()
        line.append(
            pictures.swatch(place, on) if place in parts else " ", style=pictures.colour(place)
        )
        line.append(f" {name:<11} {format_size(nbytes):>9} {_percent(nbytes, total):>6}")
        if on.width >= NARROW:
            line.append(f"  {count(tensors, 'tensor')}")
        yield line


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return "<0.1%" if 0 < share < 0.1 else f"{share:.1f}%"


def _largest(found: Inspection, top: int, on: Canvas) -> Iterator[Text]:
    yield Text("largest tensors", style="bold")
    largest = sorted(found.tensors, key=lambda tensor: -tensor.nbytes)[:top]
    for tensor in largest:
        tail = _described(tensor, on)
        name = on.name(tensor.name, on.width - 1 - len(tail) - 2)
        yield Text(f"{name}{' ' * max(on.width - 1 - len(tail) - cells(name), 2)}{tail}")


def _shape(shape: Sequence[int], on: Canvas) -> str:
    return f" {on.glyphs.times} ".join(map(str, shape)) or "scalar"


def _described(tensor: Tensor, on: Canvas) -> str:
    size = format_size(tensor.nbytes)
    return (
        f"{tensor.dtype.name} {_shape(tensor.shape, on)}  {size:>8}"
        if on.width >= NARROW
        else f"{size:>8}"
    )


def _layers(root: Node, depth: int, on: Canvas) -> Tree:
    drawn_tree = Tree(Text("layers", style="bold"), guide_style="dim")
    _grow(drawn_tree, root, depth, 1, on)
    return drawn_tree


def _grow(branch: Tree, node: Node, depth: int, level: int, on: Canvas) -> None:
    for number, child in enumerate(node.children.values()):
        if number == MOST_CHILDREN:
            branch.add(f"{on.glyphs.ellipsis} and {len(node.children) - number:,} more")
            break
        label, inner = _chain(child)
        below = branch.add(_line(label, inner, on.width - 4 * level, on))
        if level < depth:
            _grow(below, inner, depth, level + 1, on)


def _chain(node: Node) -> tuple[str, Node]:
    """A chain of single children is one line: its joined label and its last node."""
    labels = [node.label]
    while not node.tensor and node.repeats == 1 and len(node.children) == 1:
        (node,) = node.children.values()
        labels.append(node.label)
    return ".".join(labels), node


def _line(label: str, node: Node, width: int, on: Canvas) -> Text:
    size = format_size(node.nbytes)
    if node.repeats > 1:
        size = (
            f"{node.repeats} {on.glyphs.times} {format_size(node.nbytes // node.repeats)} = {size}"
        )
    if node.tensor is not None and not node.children and node.repeats == 1:
        what = f"{node.tensor.dtype.name} {_shape(node.tensor.shape, on)}"
    else:
        what = count(node.tensors, "tensor")
    tail = f"  {what}  {size}" if on.width >= NARROW else f"  {size}"
    shown = label.replace("–", on.glyphs.dash) if node.repeats > 1 else label  # noqa: RUF001 - the folded label's dash
    line = Text(on.name(shown, max(width - 1 - len(tail), 8)), no_wrap=True, overflow="crop")
    line.append(tail, style="dim")
    return line


# writers


def plan(prepared: Prepared, on: Canvas) -> Iterator[RenderableType]:
    """What is and what shall be, each shard against the limit, and why it ends where it does."""
    made = prepared.plan
    limit = made.request.limits.max_shard_bytes
    yield Text(
        f"{count(len(made.shards), 'shard')}, {format_size(made.total_size)}; a loader takes {on.name(made.loads_from)}"
    )
    yield Text()
    yield from _before_and_after(prepared, on)
    yield Text()
    strict = made.request.limits.strict
    notes = endings(made.shards, limit, strict=strict)
    rows = [
        Row(
            shard.filename,
            shard.size if strict else shard.data_size,
            shard.size,
            len(shard.tensors),
            note,
        )
        for shard, note in zip(made.shards, notes, strict=True)
    ]
    yield from pictures.shards(rows, limit, on, "shard")
    over = made.oversize[:MOST_LISTED] if pictures.folded(rows)[1] else ()
    yield from (
        Text(f"over the limit of {format_size(limit or 0)}: {on.name(name)}") for name in over
    )
    yield from _more(len(made.oversize) - len(over) if over else 0, on)


def _before_and_after(prepared: Prepared, on: Canvas) -> Iterator[Text]:
    old = [file.version.size for file in prepared.checkpoint.files]
    new = [shard.size for shard in prepared.plan.shards]
    scale = max(sum(old), sum(new), 1)
    old_kind, new_kind = prepared.checkpoint.format, prepared.plan.request.format
    tails = [f"{count(len(old), 'file')}, {old_kind}", f"{count(len(new), 'file')}, {new_kind}"]
    if on.width < NARROW:
        tails = [f"{len(old):,}", f"{len(new):,}"]
    width = max(on.width - len("before ") - 2 - max(map(len, tails)), 8)
    for label, sizes, tail in zip(("before", "after"), (old, new), tails, strict=True):
        line = Text(f"{label:<6} ")
        line.append_text(pictures.ruler(sizes, scale, width, on))
        yield line.append(f" {tail}")


def endings(
    shards: Sequence[Shard], limit: int | None, *, strict: bool
) -> list[tuple[str, str, str] | None]:
    """For each shard why it ends: the tensor that did not fit any more, or that is over the limit by itself.

    A tensor over the limit is a shard at once and the open one stays open past it, so what closed a
    shard is the first tensor of the next one that is not of that kind.
    """
    notes: list[tuple[str, str, str] | None] = []
    following: tuple[str, int] | None = None
    for shard in reversed(shards):
        unit = storage_units(shard.tensors)[0] if shard.tensors and limit is not None else None
        if unit is None or limit is None:
            notes.append(None)
        elif shard.data_size > limit:
            excess = format_size(shard.data_size - limit)
            notes.append(
                ("over the limit by itself: ", unit.tensors[0].name, f", {excess} too large")
            )
        else:
            notes.append(_closed_by(following, shard, limit, strict=strict))
            following = (unit.tensors[0].name, unit.nbytes)
    return notes[::-1]


def _closed_by(
    following: tuple[str, int] | None, shard: Shard, limit: int, *, strict: bool
) -> tuple[str, str, str] | None:
    if following is None:
        return None
    name, nbytes = following
    room = limit - (shard.size if strict else shard.data_size)
    return ("did not fit: ", name, f", {format_size(nbytes)} into {format_size(room)}")
