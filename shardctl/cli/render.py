"""What people see on a terminal, and the tab-separated rows that a pipe gets instead. Names are always escaped."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from shardctl.cli.layers import Node, tree
from shardctl.engine.task import Receipt
from shardctl.inspection import Inspection
from shardctl.model import Finding, Tensor
from shardctl.naming import escape, printable
from shardctl.operations import Prepared
from shardctl.sizes import format_size
from shardctl.stores.base import Copied
from shardctl.verify import Verdict

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.tree import Tree

#: Levels of the layer tree that are shown without --depth, and tensors that a folder of the tree lists at most.
DEFAULT_DEPTH, MOST_CHILDREN = 4, 200


def drawing() -> bool:
    """Whether stdout is to be drawn on: a terminal, or FORCE_COLOR."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal or bool(os.environ.get("FORCE_COLOR"))


def tabbed(rows: Iterable[Sequence[object]]) -> str:
    """Rows for scripts: fields by TAB, each escaped so that a field never holds one."""
    return "".join("\t".join("" if f is None else escape(str(f)) for f in row) + "\n" for row in rows)


def drawn(*parts: RenderableType) -> str:
    """The parts as text with the terminal's own width and colours."""
    out = io.StringIO()
    console = _console(out)
    for part in parts:
        console.print(part)
    return out.getvalue()


def _console(out: io.StringIO) -> Console:
    from rich.console import Console  # noqa: PLC0415 - only imported when something is drawn

    here = Console()
    dumb = os.environ.get("TERM") == "dumb"
    return Console(
        file=out,
        width=here.width,
        force_terminal=not dumb,
        no_color=here.no_color or dumb,
        color_system=None if dumb else "auto",
        markup=False,
        highlight=False,
        emoji=False,
        safe_box=True,
    )


def _table(*columns: tuple[str, str]) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title, justify in columns:
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type] # "left" or "right"
    return table


# inspect


def inspection_rows(found: Inspection, *, top: int | None) -> str:
    """`inspect` in a pipe: every tensor, or the largest ones where asked for."""
    header = ("name", "dtype", "shape", "nbytes", "file", "offset", "tied_to")
    rows = (
        (
            tensor.name,
            tensor.dtype.name,
            json.dumps(list(tensor.shape)),
            tensor.nbytes,
            found.file_names[tensor.storage.extent.path],
            tensor.span.offset,
            found.tied_to.get(tensor.name),
        )
        for tensor in (_by_size(found)[:top] if top else found.tensors)
    )
    return tabbed([header]) + tabbed(rows)


def inspection(found: Inspection, *, depth: int | None, top: int | None) -> str:
    """`inspect` on a terminal: files, dtypes, layers, and the largest tensors where asked for."""
    files = _table(("file", "left"), ("size", "right"), ("tensors", "right"), ("of tensors", "right"))
    for file in found.files:
        files.add_row(escape(file.name), format_size(file.size), f"{file.tensors:,}", format_size(file.data_size))
    dtypes = _table(("dtype", "left"), ("tensors", "right"), ("size", "right"))
    for name, count, nbytes in found.dtypes():
        dtypes.add_row(name, f"{count:,}", format_size(nbytes))
    head = (
        f"{escape(found.source)}: {found.checkpoint.container}, {_count(len(found.files), 'file')}, "
        f"{_count(len(found.tensors), 'tensor')}, "
        f"{found.total_parameters:,} parameters, {format_size(found.total_size)}"
    )
    parts: list[RenderableType] = [head, files, dtypes]
    if found.tensors:
        parts.append(_layers(tree(found.tensors), DEFAULT_DEPTH if depth is None else depth))
    if top:
        parts.append(_largest(found, top))
    others = [f"not a tensor: {escape(entry.name)} ({escape(entry.kind)})" for entry in found.checkpoint.non_tensors]
    return drawn(*parts, *others[:20])


def _by_size(found: Inspection) -> list[Tensor]:
    return sorted(found.tensors, key=lambda tensor: -tensor.nbytes)


def _largest(found: Inspection, top: int) -> RenderableType:
    table = _table(("largest tensors", "left"), ("dtype", "left"), ("shape", "left"), ("size", "right"))
    for tensor in _by_size(found)[:top]:
        table.add_row(escape(tensor.name), tensor.dtype.name, _shape(tensor.shape), format_size(tensor.nbytes))
    return table


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "scalar"  # noqa: RUF001 - how shapes are written


def _layers(root: Node, depth: int) -> Tree:
    from rich.tree import Tree  # noqa: PLC0415

    drawn_tree = Tree("layers", guide_style="dim")
    _grow(drawn_tree, root, depth)
    return drawn_tree


def _grow(branch: Tree, node: Node, depth: int) -> None:
    for number, child in enumerate(node.children.values()):
        if number == MOST_CHILDREN:
            branch.add(f"… and {len(node.children) - number:,} more")
            break
        while not child.tensor and child.repeats == 1 and len(child.children) == 1:
            only = next(iter(child.children.values()))
            child = _joined(child, only)  # noqa: PLW2901 - a chain of single children is one line
        below = branch.add(_line(child))
        if depth > 1:
            _grow(below, child, depth - 1)


def _joined(outer: Node, inner: Node) -> Node:
    return Node(
        label=f"{outer.label}.{inner.label}",
        tensor=inner.tensor,
        children=inner.children,
        nbytes=inner.nbytes,
        elements=inner.elements,
        tensors=inner.tensors,
        repeats=inner.repeats,
    )


def _line(node: Node) -> str:
    if node.tensor is not None and not node.children and node.repeats == 1:
        return f"{escape(node.label)}  {node.tensor.dtype.name} {_shape(node.tensor.shape)}  {format_size(node.nbytes)}"
    each = f"{node.repeats} × {format_size(node.nbytes // node.repeats)} = " if node.repeats > 1 else ""  # noqa: RUF001
    return f"{escape(node.label)}  {node.tensors:,} tensors  {each}{format_size(node.nbytes)}"


# writers


def plan_rows(prepared: Prepared) -> str:
    """`--dry-run` in a pipe."""
    rows = [(shard.filename, shard.size, len(shard.tensors)) for shard in prepared.plan.shards]
    return tabbed([("shard", "size", "tensors"), *rows])


def plan(prepared: Prepared) -> str:
    """`--dry-run` on a terminal: the shards, and the tensors that are over the limit."""
    made = prepared.plan
    table = _table(
        ("shard", "left"), ("size", "right"), ("tensors", "right"), ("first tensor", "left"), ("last tensor", "left")
    )
    for shard in made.shards:
        names = [tensor.name for tensor in shard.tensors] or [""]
        count = f"{len(shard.tensors):,}"
        table.add_row(escape(shard.filename), format_size(shard.size), count, escape(names[0]), escape(names[-1]))
    limit = made.request.limits.max_shard_bytes
    over = [f"over the limit of {format_size(limit or 0)}: {escape(name)}" for name in made.oversize]
    head = (
        f"{_count(len(made.shards), 'shard')}, {format_size(made.total_size)}; a loader takes {escape(made.loads_from)}"
    )
    return drawn(head, table, *over)


def details(prepared: Prepared) -> Iterator[str]:
    """What `--verbose` says before the work: what is read, what will be written, and what gives way."""
    for file in prepared.checkpoint.files:
        yield f"reads {escape(file.path)} ({format_size(file.version.size)})"
    for shard in prepared.plan.shards:
        yield f"writes {escape(shard.filename)} ({format_size(shard.size)}, {len(shard.tensors):,} tensors)"
    for name in prepared.companions:
        yield f"copies {escape(name)}"
    for name in prepared.job.superseded:
        yield f"replaces {escape(name)}"


def summary(prepared: Prepared, receipts: Sequence[Receipt], seconds: float) -> str:
    """The closing line of a writer, for stderr."""
    copied = sum((receipt.copied for receipt in receipts), Copied())
    total = copied.kernel + copied.shared + copied.buffered
    ways = ", ".join(
        f"{format_size(nbytes)} {way}"
        for nbytes, way in (
            (copied.shared, "shared"),
            (copied.kernel, "copied in the kernel"),
            (copied.buffered, "through buffers"),
        )
        if nbytes
    )
    rate = format_size(int(total / seconds)) if seconds > 0 else "?"
    return (
        f"wrote {_count(len(prepared.plan.shards), 'file')} of "
        f"{_count(len(prepared.checkpoint.tensors), 'tensor')}, "
        f"{format_size(total)} in {seconds:.1f} s ({rate}/s): {ways}"
    )


# verify


def finding_rows(findings: Iterable[Finding]) -> str:
    """`verify` in a pipe: one finding a line."""
    return tabbed((f.severity, f.code, f.file, f.tensor, f.message) for f in findings)


def verdict(found: Verdict) -> str:
    """`verify` on a terminal: the findings with their remedies, worst first, and the sum."""
    return drawn(*_finding_lines(found.findings), closing(found))


def _finding_lines(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    from rich.text import Text  # noqa: PLC0415

    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    for finding in findings:
        line = Text()
        places = [escape(place) for place in (finding.file, finding.tensor) if place is not None]
        where = f"{', '.join(places)}: " if places else ""
        line.append(f"{finding.severity}", style=styles[finding.severity])
        line.append(f" {finding.code}", style="bold")
        line.append(f"  {where}{printable(finding.message)}\n    → {printable(finding.hint)}")
        yield line


def closing(found: Verdict) -> str:
    """The one line that sums a verdict up."""
    counted = [_count(count, name) for name, count in found.counts.items() if count]
    counts = ", ".join(counted) or "nothing to complain of"
    read = f", {format_size(found.bytes)} read" if found.bytes else ""
    held = f"{_count(found.files, 'file')}, {_count(found.tensors, 'tensor')}"
    return f"{'ok' if found.ok else 'not ok'}: {held}{read}: {counts}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
