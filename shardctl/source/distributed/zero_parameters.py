"""The parameters of a ZeRO checkpoint, put together from what its ranks have of them.

Source: `deepspeed/utils/zero_to_fp32.py` of DeepSpeed 0.19. In stages 1 and 2 the parameters of a
group are joined to one vector, which is padded and cut into as many equal parts as there are ranks;
the padding may have been left out again. In stage 3 each parameter is padded and cut by itself, and
a rank has its parts of all of them one after another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardctl.findings import Finding, Report
from shardctl.formats.torch.distributed.zero import Shape
from shardctl.model import DTYPES, Tensor
from shardctl.source.distributed.assemble import SAVE_AGAIN
from shardctl.source.distributed.flat import Vector, joined
from shardctl.text import escape, plural

#: A joined vector is padded to a multiple of this and of the number of ranks.
_ALIGNMENT = 2
#: Parts of parameters of all ranks together: more take gigabytes of memory to keep.
_MOST_PARTS = 8_000_000


@dataclass(frozen=True, slots=True)
class RankPart:
    """What a rank has, and where: flat vectors, one for each group of parameters."""

    rank: int
    path: str
    vectors: tuple[Tensor, ...]


def from_joined(
    groups: Sequence[Mapping[str, Shape]],
    paddings: Sequence[Sequence[int]],
    ranks: Sequence[RankPart],
    report: Report,
) -> dict[str, Tensor]:
    """Return the parameters of groups, each joined before it was divided, by name.

    `paddings` are the elements that follow each parameter of a group; empty where there are none.
    `ranks` are in order. Parameters of a group whose parts do not fit together are left out, which
    goes to `report`.
    """
    found: dict[str, Tensor] = {}
    for number, shapes in enumerate(groups):
        after = paddings[number] if number < len(paddings) else (0,) * len(shapes)
        wrong = next(_misfits(number, len(groups), shapes, after, ranks), None)
        if wrong is not None:
            report(_left_out(*wrong, shapes))
            continue
        vector = Vector([part.vectors[number] for part in ranks])
        dtype, begin = ranks[0].vectors[number].dtype, 0
        for (name, shape), padding in zip(shapes.items(), after, strict=True):
            pieces = vector.stretch(begin, math.prod(shape))
            found[name] = joined(name, dtype, shape, pieces, ranks[0].path)
            begin += math.prod(shape) + padding
    return found


def _misfits(
    number: int,
    groups: int,
    shapes: Mapping[str, Shape],
    after: Sequence[int],
    ranks: Sequence[RankPart],
) -> Iterator[tuple[RankPart, str]]:
    """Yield the ranks whose part of group `number` is not what it should be, and why."""
    if len(after) != len(shapes):
        yield ranks[0], f"has {plural(len(after), 'padding')} between its parameters"
        return
    needed = sum(map(math.prod, shapes.values())) + sum(after)
    for part in ranks:
        if len(part.vectors) != groups:
            yield part, f"has {plural(len(part.vectors), 'vector')} for {plural(groups, 'group')}"
            return
    first = ranks[0].vectors[number]
    share = first.elements
    for at, part in enumerate(ranks):
        vector = part.vectors[number]
        without_padding = min(max(needed - at * share, 0), share)
        if vector.dtype is not first.dtype:
            yield part, f"has {vector.dtype.name}, and rank 0 has {first.dtype.name}"
        elif vector.elements not in (share, without_padding):
            yield part, f"has {vector.elements:,} elements, and rank 0 has {share:,}"
    held = sum(part.vectors[number].elements for part in ranks)
    padded = -needed % (_ALIGNMENT * len(ranks))
    if not needed <= held <= needed + padded:
        yield ranks[-1], f"has, with those before it, {held:,} elements of the {needed:,}"


def from_divided(
    shapes: Mapping[str, Shape], ranks: Sequence[RankPart], report: Report
) -> dict[str, Tensor]:
    """Return parameters that were divided one by one, by name.

    `ranks` are in order. Without all their parts there are none, which goes to `report`.
    """
    count = len(ranks)
    vectors = [Vector(part.vectors) for part in ranks]
    shares = {name: _share_of(shape, count) for name, shape in shapes.items()}
    needed = sum(shares.values())
    dtypes = [vector.dtype for part in ranks for vector in part.vectors] or [DTYPES["F32"]]
    for part, vector in zip(ranks, vectors, strict=True):
        odd = next((each.dtype for each in part.vectors if each.dtype is not dtypes[0]), None)
        if odd is not None:
            wrong = f"has {odd.name}, and the first vector is {dtypes[0].name}"
        elif vector.elements != needed:
            wrong = f"has {vector.elements:,} elements of the {needed:,} that are its share"
        else:
            continue
        report(_left_out(part, wrong, shapes))
        return {}
    if sum(min(count, math.prod(shape)) for shape in shapes.values()) > _MOST_PARTS:
        report(_left_out(ranks[0], "is one of too many: the parts cannot be kept apart", shapes))
        return {}
    found: dict[str, Tensor] = {}
    begin = 0
    for name, shape in shapes.items():
        pieces = (
            piece
            for vector, length in zip(vectors, _lengths_of(shape, count), strict=False)
            for piece in vector.stretch(begin, length)
        )
        found[name] = joined(name, dtypes[0], shape, pieces, ranks[0].path)
        begin += shares[name]
    return found


def _share_of(shape: Shape, count: int) -> int:
    """Return the elements that each of `count` ranks has of a parameter, padding included."""
    return -(-math.prod(shape) // count)


def _lengths_of(shape: Shape, count: int) -> Iterator[int]:
    """Yield the elements of a parameter that ranks have, without padding, as long as there are."""
    elements, share = math.prod(shape), _share_of(shape, count)
    for begin in range(0, elements, share or 1):
        yield min(share, elements - begin)


def _left_out(part: RankPart, wrong: str, shapes: Mapping[str, Shape]) -> Finding:
    first = next(iter(shapes), None)
    message = (
        f"the part of rank {part.rank:,} {wrong}: {plural(len(shapes), 'parameter')} cannot be put "
        f"together, the first is '{escape(first or '')}'"
    )
    return Finding("tensor-slices", "error", message, SAVE_AGAIN, part.path, first)
