"""What a reader of one layer needs of a checkpoint, by how it was divided: computed from plans.

Nothing is written, and no time is measured. Such a reader has the index. Of each shard that holds
tensors of the layer it reads the header, and then the tensors, with one request for those that
follow one another; one that takes whole files reads those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

from benchmarks.sources import ITEM_BYTES, shapes
from shardctl.commands.preparing.defaults import measure_of
from shardctl.formats.registry import by_name, writer_of
from shardctl.layout import Literal
from shardctl.model import DTYPES, Checkpoint, Extent, File, Storage, Tensor, Version
from shardctl.planning.plan import Plan, Shard, make_plan
from shardctl.planning.request import Limits, Request
from shardctl.sizes import format_size

#: The hidden size of the model: that of the Llama of 8B.
HIDDEN = 4096
_FORMAT = "safetensors"
_PREFIX = "model.layers."
#: Ways to divide it: what is typed after `shardctl split MODEL TARGET`.
WAYS: Mapping[str, Request] = {
    options: Request(limits, _FORMAT, by_name(_FORMAT).suffix, "model", group_by=group_by)
    for options, limits, group_by in (
        ("", Limits(max_shard_bytes=5 * 10**9), None),
        ("--group-by layer --max-shard-size 5GB", Limits(max_shard_bytes=5 * 10**9), "layer"),
        ("--max-shard-size 500MB", Limits(max_shard_bytes=5 * 10**8), None),
        ("--group-by layer", Limits(each_group=True), "layer"),
    )
}


@dataclass(frozen=True, slots=True)
class Need:
    """What a reader of one layer needs: files, requests, and bytes; `whole` are those of files."""

    files: int
    requests: int
    nbytes: int
    whole: int


def model(hidden: int = HIDDEN) -> Checkpoint:
    """Return the checkpoint of one safetensors file, whose tensors are in that format's order."""
    named = sorted(shapes(hidden))
    ends = accumulate(ITEM_BYTES * prod(shape) for _, shape in named)
    tensors = tuple(
        Tensor(
            name,
            DTYPES["BF16"],
            shape,
            Storage(Extent("m", end - ITEM_BYTES * prod(shape), ITEM_BYTES * prod(shape)), name),
        )
        for (name, shape), end in zip(named, ends, strict=True)
    )
    tree = {tensor.name: tensor for tensor in tensors}
    return Checkpoint(_FORMAT, (File("m", _FORMAT, Version(0, ""), {**tree}),), tensors)


def needs(plan: Plan) -> list[Need]:
    """Return what a reader of each layer needs."""
    opened = [(shard, *_header(plan.request, shard)) for shard in plan.shards]
    layers = {name for _, _, places in opened for name in map(layer_of, places) if name}
    return [_need(layer, opened) for layer in sorted(layers)]


def layer_of(name: str) -> str:
    """Return the number of the layer that a name is in; empty where it is in none."""
    return name.removeprefix(_PREFIX).partition(".")[0] if name.startswith(_PREFIX) else ""


def _need(layer: str, opened: Iterable[tuple[Shard, int, Mapping[str, tuple[int, int]]]]) -> Need:
    files = requests = nbytes = whole = 0
    for shard, header, places in opened:
        wanted = sorted(place for name, place in places.items() if layer_of(name) == layer)
        if wanted:
            files += 1
            requests += 1 + len(list(_runs(wanted)))
            nbytes += header + sum(end - begin for begin, end in wanted)
            whole += shard.size
    return Need(files, requests, nbytes, whole)


def _runs(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the ranges that are read: places that follow one another are one."""
    begin, last = places[0]
    for start, end in places[1:]:
        if start != last:
            yield begin, last
            begin = start
        last = end
    yield begin, last


def _header(request: Request, shard: Shard) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return the bytes of a shard's header, and where it says that each tensor is."""
    layout = writer_of(request.format).lay_out(shard.tensors, shard.metadata, request.block)
    text = next(piece.data for piece in layout.pieces if isinstance(piece, Literal))
    members = json.loads(text[8:])
    members.pop("__metadata__", None)
    return len(text), {name: tuple(each["data_offsets"]) for name, each in members.items()}


def table(hidden: int = HIDDEN) -> str:
    """Return the table of the page: for each way, the mean of all layers, and the worst."""
    rows = [
        "| `shardctl split` with | Shards | Files | Requests | Read | In whole files |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    checkpoint = model(hidden)
    for options, request in WAYS.items():
        plan = make_plan(checkpoint, request, measure_of(request))
        found = needs(plan)
        cells = (
            _mean_and_most([need.files for need in found]),
            _mean_and_most([need.requests for need in found]),
            format_size(sum(need.nbytes for need in found) // len(found)),
            format_size(sum(need.whole for need in found) // len(found)),
        )
        what = f"`{options}`" if options else "nothing (5 GB)"
        rows.append(f"| {what} | {len(plan.shards)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _mean_and_most(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):.2f}, at most {max(values)}"


if __name__ == "__main__":
    print(table())
