"""Stack the tensors of single experts into one for all of them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from shardctl.chains import numbers
from shardctl.errors import UsageError
from shardctl.model import Assembled, Box, Tensor, contiguous_strides, made_tensor
from shardctl.planning.request import ExpertRule
from shardctl.planning.transform.expert_rules import OTHER_RULES, SEE_NAMES, as_part
from shardctl.text import escape


@dataclass(slots=True)
class _Stack:
    """The tensors of one stacked tensor: `prefix` is what comes before the rule's names.

    `held` has them by expert and part.
    """

    prefix: str
    rule: ExpertRule
    held: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.prefix + self.rule.stacked

    @property
    def module(self) -> str:
        """What the names of its experts begin with, up to the number."""
        return self.prefix + self.rule.parts[0].partition("*")[0]

    def count(self) -> int:
        return 1 + max(number for number, _ in self.held)

    def missing(self, count: int) -> str | None:
        """The first name that is not there of so many experts."""
        if len(self.held) == count * len(self.rule.parts):
            return None
        at = next(
            (number, part)
            for number in range(count)
            for part in range(len(self.rule.parts))
            if (number, part) not in self.held
        )
        return self.prefix + self.rule.parts[at[1]].replace("*", str(at[0]))


def stack(
    tensors: Sequence[Tensor], rules: Sequence[ExpertRule]
) -> list[tuple[list[str], list[Tensor]]]:
    """Return what is stacked: the names of the experts' tensors, and the tensor in their place.

    Raises UsageError as `experts.arrange` does.
    """
    stacks: dict[tuple[str, ExpertRule], _Stack] = {}
    others: list[str] = []
    # Most names of most checkpoints end otherwise, which takes one look.
    ends = tuple(part.partition("*")[2] for rule in rules for part in rule.parts)
    for tensor in tensors:
        found = _part(tensor.name, rules) if tensor.name.endswith(ends) else None
        if found is None:
            others.append(tensor.name)
            continue
        rule, (prefix, number, part) = found
        held = stacks.setdefault((prefix, rule), _Stack(prefix, rule)).held
        held[number, part] = tensor
    _refuse_missing(stacks.values())
    modules = {found.module for found in stacks.values()}
    for name in others:
        if any(name[:begin] in modules for begin, _ in numbers(name)):
            raise UsageError(
                f"'{escape(name)}' is of an expert, and there is no rule for it: it would be left "
                "alone while the others are stacked",
                hint=f"{OTHER_RULES}, or leave it out with `exclude`",
                tensor=name,
            )
    return [
        ([tensor.name for tensor in found.held.values()], [_stack(found)])
        for found in stacks.values()
    ]


def _part(name: str, rules: Sequence[ExpertRule]) -> tuple[ExpertRule, tuple[str, int, int]] | None:
    """Return the first rule that a name follows, and what it says of the name."""
    for rule in rules:
        found = as_part(name, rule)
        if found is not None:
            return rule, found
    return None


def _refuse_missing(stacks: Iterable[_Stack]) -> None:
    """Refuse experts that lack a tensor, and layers that have fewer experts than others."""
    counts: dict[str, int] = {}
    for stack in stacks:
        counts[stack.module] = max(counts.get(stack.module, 0), stack.count())
    for stack in stacks:
        count = counts[stack.module]
        missing = stack.missing(count)
        if missing is not None:
            raise UsageError(
                f"'{escape(missing)}' is missing: it is one of {count:,} experts that "
                f"'{escape(stack.name)}' would be stacked from",
                hint=f"{SEE_NAMES}; experts are counted from 0",
                tensor=missing,
            )
    most = max(counts, key=counts.__getitem__, default="")
    for module, count in counts.items():
        if count != counts[most]:
            raise UsageError(
                f"'{escape(module)}*' has {count:,} experts, and '{escape(most)}*' has "
                f"{counts[most]:,}: some are missing",
                hint="if layers are meant to differ, choose those of one kind with `include`",
            )


def _stack(stack: _Stack) -> Tensor:
    first = stack.held[0, 0]
    for tensor in stack.held.values():
        if (tensor.dtype, tensor.shape) != (first.dtype, first.shape):
            raise UsageError(
                f"'{escape(tensor.name)}' is {_kind(tensor)}, and '{escape(first.name)}' is "
                f"{_kind(first)}: they cannot be stacked",
                hint="all experts of a layer have one shape and type; convert them with `dtype` "
                "in a run before this one, where only their types differ",
                tensor=tensor.name,
            )
    parts = len(stack.rule.parts)
    if not first.elements or (parts > 1 and not first.shape):
        raise UsageError(
            f"'{escape(first.name)}' has no {'dimension to join' if first.elements else 'elements'}"
            ", so that it cannot be stacked",
            hint="leave it out with `exclude`",
            tensor=first.name,
        )
    inner = first.shape if parts == 1 else (parts * first.shape[0], *first.shape[1:])
    grid = (stack.count(), *inner)
    boxes = tuple(
        Box(_start(first, number, part), _as_slice(tensor))
        for (number, part), tensor in sorted(stack.held.items(), key=lambda item: item[0])
    )
    made = Assembled(grid, boxes)
    return made_tensor(stack.name, first.dtype, grid, made, f"stack {stack.name}")


def _start(tensor: Tensor, number: int, part: int) -> tuple[int, ...]:
    """Return where a part of an expert begins in the stacked tensor."""
    if not tensor.shape:
        return (number,)
    return (number, part * tensor.shape[0], *(0 for _ in tensor.shape[1:]))


def _as_slice(tensor: Tensor) -> Tensor:
    """Return a tensor with one more dimension, of size 1, before the others."""
    shape = (1, *tensor.shape)
    if tensor.strides is None:
        return replace(tensor, shape=shape)
    return replace(tensor, shape=shape, strides=(contiguous_strides(shape)[0], *tensor.strides))


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype.name} {list(tensor.shape)}"
