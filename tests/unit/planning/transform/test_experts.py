"""Experts within a checkpoint: what is changed, and what prevents it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.errors import UsageError
from shardctl.model import Extent, Storage, Tensor
from shardctl.planning.plan import make_plan
from shardctl.planning.request import ExpertRule, Experts, Limits, Request
from shardctl.planning.transform.experts import arrange
from tests.support.tensors import F32, checkpoint_of, floats

STACK, SPLIT = Experts("stack"), Experts("split")


def layer(number: int = 0, experts: int = 3) -> list[Tensor]:
    """The tensors of a layer, in separate storages: gate and up are 2 by 4, down is 4 by 2."""
    made: list[Tensor] = []
    for expert in range(experts):
        for part, shape in (("gate", (2, 4)), ("up", (2, 4)), ("down", (4, 2))):
            name = f"h.{number}.mlp.experts.{expert}.{part}_proj.weight"
            made.append(Tensor(name, F32, shape, floats(name, 8, 32 * len(made)).storage))
    return made


def test_stacked_and_split_again() -> None:
    """Each stacked tensor is where the first of its parts was, and splitting it gives all names,
    types and shapes again; other tensors stay.
    """
    source = checkpoint_of(floats("a", 1), *layer(), floats("z", 1))
    stacked = arrange(source, STACK)
    assert [(tensor.name, tensor.shape) for tensor in stacked.checkpoint.tensors] == [
        ("a", (1,)),
        ("h.0.mlp.experts.gate_up_proj", (3, 4, 4)),
        ("h.0.mlp.experts.down_proj", (3, 4, 2)),
        ("z", (1,)),
    ]
    assert stacked.note == "stacks 9 tensors of experts into 2"
    again = arrange(stacked.checkpoint, SPLIT)
    assert again.note.startswith("splits 2 tensors of experts into 9, named as in Qwen-MoE")
    assert {(t.name, t.dtype, t.shape) for t in again.checkpoint.tensors} == {
        (t.name, t.dtype, t.shape) for t in source.tensors
    }


@pytest.mark.parametrize("experts", [STACK, SPLIT])
def test_nothing_to_do(experts: Experts) -> None:
    """A checkpoint without such names is an error that says so."""
    with pytest.raises(UsageError, match=f"no experts to {experts.action}"):
        arrange(checkpoint_of(floats("a.weight", 1)), experts)


def test_ties_are_refused() -> None:
    """An expert that is tied to another tensor, or that has other names recorded, is an error."""
    tensors = layer()
    twin = replace(tensors[4], name="twin")
    for source in (
        checkpoint_of(*tensors, twin),
        checkpoint_of(*tensors, aliases={"twin": tensors[4].name}),
        checkpoint_of(*tensors, aliases={tensors[4].name: tensors[1].name}),
    ):
        with pytest.raises(UsageError, match="is tied") as caught:
            arrange(source, STACK)
        assert caught.value.tensor in {tensors[4].name, tensors[1].name}


def test_views_of_one_storage_are_no_ties() -> None:
    """Experts that were saved as parts of one storage are stacked."""
    shared = Storage(Extent("models/f", 0, 64), "0")
    parts = [
        Tensor(f"mlp.experts.{n}.down_proj.weight", F32, (4, 2), shared, 8 * n) for n in range(2)
    ]
    (stacked,) = arrange(checkpoint_of(*parts), STACK).checkpoint.tensors
    assert stacked.shape == (2, 4, 2)


def test_metadata_of_an_expert_is_refused() -> None:
    """What describes a tensor by its name would be lost."""
    tensors = layer()
    source = checkpoint_of(*tensors, tensor_metadata={"kinds": {tensors[0].name: "{}"}})
    with pytest.raises(UsageError, match="metadata that describes it"):
        arrange(source, STACK)


def test_a_name_that_is_taken_is_refused() -> None:
    """A new name that another tensor has is an error."""
    taken = floats("h.0.mlp.experts.down_proj", 1)
    with pytest.raises(UsageError, match="name of another tensor"):
        arrange(checkpoint_of(*layer(), taken), STACK)


def test_names_of_several_families_are_said_to_be() -> None:
    """Splitting `mlp.experts` by its usual names says whose they are; a map says so itself."""
    stacked = arrange(checkpoint_of(*layer()), STACK).checkpoint
    assert arrange(stacked, SPLIT).note.endswith("other names, which need `experts_map`")
    rules = (
        ExpertRule("mlp.experts.gate_up_proj", ("moe.*.w1.weight", "moe.*.w3.weight")),
        ExpertRule("mlp.experts.down_proj", ("moe.*.w2.weight",)),
    )
    mapped = arrange(stacked, Experts("split", rules))
    assert mapped.note == "splits 2 tensors of experts into 9"
    assert mapped.checkpoint.tensors[0].name == "h.0.moe.0.w1.weight"


def test_a_plan_says_what_it_does() -> None:
    """The note and the options are in the plan, and the id depends on them."""
    source = checkpoint_of(*layer())
    asked = Request(Limits(num_shards=1), "bin", ".bin", "m", experts=STACK)
    made = make_plan(source, asked, lambda held, _: len(held))
    assert made.notes == ("stacks 9 tensors of experts into 2",)
    plain = make_plan(source, replace(asked, experts=None), lambda held, _: len(held))
    assert made.id != plain.id
    assert made.id == make_plan(source, asked, lambda held, _: len(held)).id


def test_views_that_grow_are_refused() -> None:
    """Stacking writes expanded views in full, which is refused where it takes far more bytes."""
    few = Storage(Extent("models/f", 0, 64), "0")
    parts = [
        Tensor(f"mlp.experts.{n}.down_proj.weight", F32, (1 << 20, 8), few, n, (0, 1))
        for n in range(2)
    ]
    asked = Request(Limits(num_shards=1), "bin", ".bin", "m", experts=STACK)
    with pytest.raises(UsageError, match="is a view of"):
        make_plan(checkpoint_of(*parts), asked, lambda held, _: len(held))
