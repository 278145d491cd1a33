"""Split stacked experts into a tensor for each. Pure functions."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from shardctl.boxes import Region, narrow
from shardctl.errors import UsageError
from shardctl.model import Tensor
from shardctl.planning.request import ExpertRule
from shardctl.planning.transform.expert_rules import OTHER_RULES, before_end
from shardctl.storages import own_storage
from shardctl.text import escape

#: A stacked tensor has no more experts than this: one of a few bytes can be expanded to any number.
MOST_EXPERTS = 4096


def split(
    tensors: Sequence[Tensor], rules: Sequence[ExpertRule], *, known: bool
) -> list[tuple[list[str], list[Tensor]]]:
    """Return what is split: the name of a stacked tensor, and those of its experts.

    `known`: the rules are those of the families that are known, of which more is checked. Raises
    UsageError as `experts.arrange` does.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    ends = tuple(rule.stacked for rule in rules)
    changed: list[tuple[list[str], list[Tensor]]] = []
    for tensor in tensors:
        if not tensor.name.endswith(ends):
            continue
        found = [
            (prefix, rule)
            for rule in rules
            if (prefix := before_end(tensor.name, rule.stacked)) is not None
        ]
        if not found:
            continue  # the end of another part of a name
        prefix, rule = found[0]
        if known:
            _refuse_ambiguous(tensor, [rule for _, rule in found])
            _refuse_other_layout(tensor, by_name)
        changed.append(([tensor.name], list(_parts_of(tensor, prefix, rule))))
    _refuse_continued({name for names, _ in changed for name in names}, by_name)
    return changed


def _refuse_ambiguous(tensor: Tensor, rules: Sequence[ExpertRule]) -> None:
    if len(rules) > 1:
        either = " or ".join(f"'{' + '.join(rule.parts)}'" for rule in rules)
        raise UsageError(
            f"'{escape(tensor.name)}' could become {either}",
            hint=f"{OTHER_RULES}: both are in use",
            tensor=tensor.name,
        )


def _refuse_other_layout(tensor: Tensor, by_name: Mapping[str, Tensor]) -> None:
    """Refuse what has the names of the known families, and another order of elements.

    GPT-OSS and the first releases of Qwen3-VL-MoE have input before output, and one of them every
    second row of gate and up.
    """
    stem = tensor.name.removesuffix("gate_up_proj")
    if stem == tensor.name:
        return
    down = by_name.get(f"{stem}down_proj")
    if down is None:
        raise UsageError(
            f"'{escape(tensor.name)}' may be of another layout than gate before up, and "
            f"'{escape(stem)}down_proj', whose shape shows it, is not there",
            hint=f"take both tensors, or {OTHER_RULES}",
            tensor=tensor.name,
        )
    one, other = tensor.shape, down.shape
    if len(one) != 3 or len(other) != 3 or (one[1], one[2]) != (2 * other[2], other[1]):
        raise UsageError(
            f"'{escape(tensor.name)}' {list(one)} beside '{escape(down.name)}' {list(other)} is "
            "not gate before up with output before input, as it is in the families that are known",
            hint="load it with the library that wrote it, and save it from there",
            tensor=tensor.name,
        )


def _refuse_continued(stacked: set[str], names: Iterable[str]) -> None:
    """Refuse a bias or scales beside stacked weights, which would stay as they are."""
    every = sorted(names)
    for name in stacked:
        for other in every[bisect.bisect_right(every, name) :]:
            if not other.startswith(name):
                break
            if other[len(name)] in "._" and other not in stacked:
                raise UsageError(
                    f"'{escape(other)}' belongs to '{escape(name)}', and there is no rule for it: "
                    "it would be left alone while the other is split",
                    hint=f"{OTHER_RULES}, or leave it out with `exclude`",
                    tensor=other,
                )


def _parts_of(tensor: Tensor, prefix: str, rule: ExpertRule) -> Iterator[Tensor]:
    """Yield the tensors of single experts, in order."""
    parts = len(rule.parts)
    fault = _fault(tensor, parts)
    if fault:
        raise UsageError(
            f"'{escape(tensor.name)}' is {tensor.dtype.name} {list(tensor.shape)}, and cannot be "
            f"split: {fault}",
            hint=f"leave it out with `exclude`, or {OTHER_RULES}",
            tensor=tensor.name,
        )
    names = [
        prefix + part.replace("*", str(number))
        for number in range(tensor.shape[0])
        for part in rule.parts
    ]
    for name, found in zip(names, narrow(tensor, _regions(tensor.shape, parts)), strict=True):
        strides = None if found.strides is None else found.strides[1:]
        # Each can be in another file, and is saved whole without the others.
        part = Tensor(name, found.dtype, found.shape[1:], found.storage, found.offset, strides)
        yield own_storage(part)


def _fault(tensor: Tensor, parts: int) -> str:
    """Return why a tensor cannot be split; empty where it can."""
    shape = tensor.shape
    if not tensor.elements or not shape:
        return "it has no elements of experts"
    if shape[0] > MOST_EXPERTS:
        return f"it would be more than {MOST_EXPERTS:,} experts"
    if parts > 1 and (len(shape) < 2 or shape[1] % parts):
        return f"its second dimension is not that of {parts} parts"
    if math.prod(shape[1:]) // parts * tensor.dtype.bits % 8:
        return "a part of it is not whole bytes"
    return ""


def _regions(shape: tuple[int, ...], parts: int) -> Iterator[Region]:
    """Yield the box of each part of each expert."""
    if len(shape) == 1:
        yield from (((number,), (1,)) for number in range(shape[0]))
        return
    rows, rest = shape[1] // parts, shape[2:]
    for number in range(shape[0]):
        for part in range(parts):
            yield (number, part * rows, *(0 for _ in rest)), (1, rows, *rest)
