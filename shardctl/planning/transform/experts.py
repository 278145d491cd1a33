"""Stack the tensors of single experts, or split stacked ones. Pure functions: only bytes move.

A checkpoint has a tensor for each expert (`experts.0.up_proj.weight`), or one for all of a layer
(`experts.up_proj`) whose first dimension counts the experts. Of most families the gate and the up
projection of each expert are joined in the stacked form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shardctl.errors import UsageError
from shardctl.model import Checkpoint, Tensor
from shardctl.planning.request import Experts
from shardctl.planning.transform.expert_rules import (
    KNOWN,
    OTHER_RULES,
    SEE_NAMES,
    are_of_several_families,
)
from shardctl.planning.transform.split_experts import split
from shardctl.planning.transform.stack_experts import stack
from shardctl.storages import tied_names
from shardctl.text import escape, plural


@dataclass(frozen=True, slots=True)
class Arranged:
    """The checkpoint with experts stacked or split; and what was done, in words."""

    checkpoint: Checkpoint
    note: str


def arrange(checkpoint: Checkpoint, experts: Experts) -> Arranged:
    """Return a checkpoint with its experts stacked, or split.

    Other tensors stay as they are. Raises UsageError where there is nothing to do, where an expert
    is missing or unlike the others, where a tensor of experts is tied or belongs to none of the
    rules, and where a new name is taken.
    """
    rules = KNOWN if experts.rules is None else experts.rules
    if experts.action == "stack":
        changed = stack(checkpoint.tensors, rules)
    else:
        changed = split(checkpoint.tensors, rules, known=experts.rules is None)
    before = {name for names, _ in changed for name in names}
    if not before:
        raise UsageError(
            f"there are no experts to {experts.action}: no name is that of "
            + ("a single expert's tensor" if experts.action == "stack" else "a stacked tensor"),
            hint=f"{SEE_NAMES}; {OTHER_RULES}",
        )
    _refuse_bound(checkpoint, before)
    at_first = {names[0]: made for names, made in changed}
    tensors: list[Tensor] = []
    for tensor in checkpoint.tensors:
        tensors += at_first.get(tensor.name, () if tensor.name in before else (tensor,))
    _refuse_equal_names(tensors)
    count = sum(len(made) for made in at_first.values())
    done = "stacks" if experts.action == "stack" else "splits"
    note = f"{done} {plural(len(before), 'tensor')} of experts into {count:,}"
    if experts.action == "split" and experts.rules is None and are_of_several_families(before):
        note += (
            ", named as in Qwen-MoE and DeepSeek; Mixtral, MiniMax and Phi-3.5-MoE have other "
            "names, which need `experts_map`"
        )
    return Arranged(replace(checkpoint, tensors=tuple(tensors)), note)


def _refuse_bound(checkpoint: Checkpoint, names: set[str]) -> None:
    """Refuse experts that something else refers to by their names."""
    tied = {name for some in tied_names(checkpoint.tensors) for name in some}
    tied.update(checkpoint.aliases, checkpoint.aliases.values())
    described = {name for texts in checkpoint.tensor_metadata.values() for name in texts}
    for tensor in checkpoint.tensors:
        name = tensor.name
        if name in names and name in tied:
            raise UsageError(
                f"'{escape(name)}' is tied to another tensor, so that it cannot be put together "
                "with those of other experts, or divided",
                hint='write a copy for each name first, with `tied="expand"`',
                tensor=name,
            )
        if name in names and name in described:
            raise UsageError(
                f"'{escape(name)}' has metadata that describes it, which would be wrong afterwards",
                hint="leave the experts as they are",
                tensor=name,
            )


def _refuse_equal_names(tensors: Iterable[Tensor]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise UsageError(
                f"'{escape(tensor.name)}' is the name of another tensor already",
                hint="rename one of them with `rename`, or leave it out with `exclude`",
                tensor=tensor.name,
            )
        seen.add(tensor.name)
