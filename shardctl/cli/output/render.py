"""What a terminal shows, and the tab-separated rows that a pipe gets instead.

Names are always escaped. Drawing needs Rich, which takes longer to import than most commands run:
the modules that draw are imported when something is drawn.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from shardctl.sizes import format_size
from shardctl.stores.base import Copied
from shardctl.text import escape, plural

if TYPE_CHECKING:
    from shardctl.commands.diff import Difference
    from shardctl.commands.inspect import Inspection
    from shardctl.commands.pipeline import Inspected
    from shardctl.commands.preparing.work import Work
    from shardctl.engine.journal.receipts import Receipt
    from shardctl.findings import Finding
    from shardctl.model import Tensor
    from shardctl.stores.base import Store
    from shardctl.streams.statistics import Distance, Statistics
    from shardctl.verify.run import Verdict


def tabbed(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield rows for scripts, a line each; fields are escaped, so that none contains a TAB."""
    return ("\t".join("" if f is None else escape(str(f)) for f in row) + "\n" for row in rows)


# inspect

#: Columns of the rows that sum up the numbers of a tensor.
_NUMBERS = ("min", "max", "mean", "nan", "inf", "zeros")


def inspection_rows(found: Inspected, *, top: int | None) -> Iterator[str]:
    """Return the rows of `inspect` in a pipe: every tensor, or the `top` largest.

    A tensor that is not read is a row too, with its class for a dtype and no shape. Files of a
    component have its name before theirs.
    """
    summed_up = any(part.statistics is not None for _, part in found.parts)
    more = _NUMBERS if summed_up else ()
    header = ("name", "dtype", "shape", "nbytes", "file", "offset", "tied_to", *more)
    rows = (
        row
        for name, part in found.parts
        for row in _inspection_rows(part, f"{name}/" if name else "", top)
    )
    return tabbed(itertools.chain([header], rows))


def _inspection_rows(found: Inspection, before: str, top: int | None) -> Iterator[Sequence[object]]:
    tensors: Iterable[Tensor] = found.tensors
    if top:
        from shardctl.view.tensors import largest

        tensors = largest(tensors, top)
    numbers = found.statistics
    more = () if numbers is None else _NUMBERS
    for tensor in tensors:
        yield (
            tensor.name,
            tensor.dtype.name,
            json.dumps(list(tensor.shape)),
            tensor.nbytes,
            before + found.file_names[tensor.storage.extent.path],
            tensor.span.offset,
            found.tied_to.get(tensor.name),
            *(() if numbers is None else _summed_up(numbers[tensor.name])),
        )
    for value in () if top else found.unread:
        nothing = (None for _ in more)
        yield (value.name, value.kind, None, value.nbytes, before or None, None, None, *nothing)


def _summed_up(numbers: Statistics | None) -> tuple[object, ...]:
    if numbers is None:
        return (None,) * len(_NUMBERS)
    return (
        numbers.least,
        numbers.largest,
        numbers.mean,
        numbers.nan,
        numbers.infinite,
        numbers.zeros,
    )


def inspection(found: Inspected, *, depth: int | None, top: int | None) -> str:
    """Draw `inspect` on a terminal: files, dtypes, layers, and the `top` largest tensors."""
    from shardctl.cli.terminal import views
    from shardctl.cli.terminal.canvas import canvas, drawn

    on = canvas()
    return drawn(on, *views.inspected(found, on, depth=depth, top=top))


# writers


def plan_rows(work: Work) -> Iterator[str]:
    """Return the rows of `--dry-run` in a pipe."""
    rows = [
        (part.named(shard.filename), shard.size, len(shard.tensors))
        for part in work.weights
        for shard in part.prepared.plan.shards
    ]
    return tabbed([("shard", "size", "tensors"), *rows])


def plan(work: Work) -> str:
    """Draw `--dry-run` on a terminal: before and after, and the shards with what closes them."""
    from shardctl.cli.terminal import views
    from shardctl.cli.terminal.canvas import canvas, drawn

    on = canvas()
    return drawn(on, *views.work(work, on))


def details(work: Work) -> Iterator[str]:
    """Yield what `--verbose` lists before the work: files read, written, copied and replaced."""
    for part in work.parts:
        prepared = part.prepared
        for file in prepared.checkpoint.files:
            yield f"reads {escape(file.path)} ({format_size(file.version.size)})"
        for shard in prepared.plan.shards:
            tensors = plural(len(shard.tensors), "tensor")
            name = escape(part.named(shard.filename))
            yield f"writes {name} ({format_size(shard.size)}, {tensors})"
        for name in prepared.changes.copies:
            yield f"copies {escape(part.named(name))}"
        for name in prepared.changes.superseded:
            yield f"replaces {escape(part.named(name))}"


def accepted(written: Mapping[str, Sequence[Receipt]]) -> Iterator[str]:
    """Yield a note for each place where a damaged source was accepted."""
    for receipts in written.values():
        for receipt in receipts:
            for place in receipt.damaged:
                yield f"accepted damage: {place} does not match its CRC-32"


def summary(
    work: Work, written: Mapping[str, Sequence[Receipt]], seconds: float, *, verbose: bool
) -> str:
    """Return the closing line of a writer; with `verbose` also how the bytes were copied.

    `written` has the receipts of each part, by its name. Components that were there already are not
    counted.
    """
    every = itertools.chain.from_iterable(written.values())
    copied = sum((receipt.copied for receipt in every), Copied())
    total = copied.total
    # Where a server copies, the rest is what went over the network.
    sent = f"sent ({copied.buffered / total:.1%})" if copied.server else "through buffers"
    ways = [
        (copied.shared, "shared with the source"),
        (copied.server, "copied by the server"),
        *([(copied.kernel, "copied in the kernel")] if verbose else []),
        *([(copied.buffered, sent)] if verbose or copied.server else []),
    ]
    said = "".join(f", {format_size(nbytes)} {way}" for nbytes, way in ways if nbytes)
    rate = format_size(int(total / seconds)) if seconds > 0 else "?"
    parts = [part.prepared for part in work.weights if not part.prepared.up_to_date]
    files = sum(len(each.plan.shards) for each in parts)
    tensors = sum(len(shard.tensors) for each in parts for shard in each.plan.shards)
    what = f"{plural(files, 'file')} of {plural(tensors, 'tensor')}"
    if work.pipeline is not None:
        what += f" in {plural(len(parts), 'component')}"
    return (
        f"wrote {what if parts else 'the files beside the components'}, "
        f"{format_size(total)} in {seconds:.1f} s ({rate}/s){said}"
    )


# diff

_DIFFERENCES = (
    ("removed", "only in A"),
    ("added", "only in B"),
    ("dtype", "of another type"),
    ("shape", "of another shape"),
    ("bytes", "with other bytes"),
)


def difference_rows(found: Difference, *, stats: bool) -> Iterator[str]:
    """Return the rows of `diff` in a pipe: a tensor that differs a line."""
    header = ("change", "name", "a", "b", *(("changed", "largest", "mean") if stats else ()))
    rows = (
        (
            change.what,
            change.name,
            _typed(change.a),
            _typed(change.b),
            *(_apart(change.distance) if stats else ()),
        )
        for change in found.changes
    )
    return tabbed(itertools.chain([header], rows))


def _typed(tensor: Tensor | None) -> str | None:
    return None if tensor is None else f"{tensor.dtype.name} {json.dumps(list(tensor.shape))}"


def _apart(distance: Distance | None) -> tuple[object, ...]:
    if distance is None:
        return (None, None, None)
    return (distance.changed, distance.largest, distance.mean)


def difference(found: Difference, *, stats: bool) -> str:
    """Draw `diff` on a terminal: what differs, by kind, and what is the same."""
    from shardctl.cli.terminal.canvas import canvas, drawn
    from shardctl.cli.terminal.difference import difference as view

    on = canvas()
    return drawn(on, *view(found, on, stats=stats), on.text(difference_summary(found)))


def difference_summary(found: Difference) -> str:
    """Return the closing line of `diff`."""
    counts = Counter[str](change.what for change in found.changes)
    said = [f"{counts[what]:,} {words}" for what, words in _DIFFERENCES if counts[what]]
    if found.left_out:
        said.append(f"{found.left_out:,} of B left out")
    if found.incomplete:
        said.append(f"{plural(len(found.incomplete), 'file')} not read whole")
    return ", ".join([f"{plural(found.equal, 'tensor')} equal", *said])


# verify


def finding_rows(findings: Iterable[Finding]) -> Iterator[str]:
    """Return the rows of `verify` in a pipe: one finding a line."""
    return tabbed((f.severity, f.code, f.file, f.tensor, f.message) for f in findings)


def said(found: Verdict, *, quiet: bool) -> Sequence[Finding]:
    """Return the findings to print: with `quiet` those that make the check fail, and no others."""
    if not quiet:
        return found.findings
    return tuple(finding for finding in found.findings if finding.severity in found.failing)


def verdict(found: Verdict, store: Store, *, quiet: bool) -> str:
    """Draw `verify` on a terminal: the findings with their hints, and where they are.

    With `quiet` a sound checkpoint is the empty text.
    """
    from shardctl.cli.terminal.canvas import canvas, drawn
    from shardctl.cli.terminal.findings import findings, measure_of

    on = canvas()
    shown = said(found, quiet=quiet)
    if quiet and not shown:
        return ""
    lines = () if quiet else map(on.text, closing(found))
    return drawn(on, *findings(shown, measure_of(store), on), *lines)


def closing(found: Verdict) -> tuple[str, str]:
    """Return the two lines that sum a verdict up: what was found, and what was checked."""
    from shardctl.view.findings import counted

    counts = counted(found.counts) or "no problems found"
    read = f", {format_size(found.bytes)} read" if found.bytes else ""
    held = f"{plural(found.files, 'file')}, {plural(found.tensors, 'tensor')}"
    checked, unchecked = found.coverage.checked, found.coverage.unchecked
    # A line that says "only" has given the reason already.
    rest = ", ".join(each.what for each in unchecked) if " only: " not in checked else ""
    return (
        f"{'ok' if found.ok else 'not ok'}: {held}{read}: {counts}",
        f"checked: {checked}" + (f"; not checked: {rest}" if rest else ""),
    )
