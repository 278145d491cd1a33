"""Experts that cannot be stacked."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.layout import Copy, pieces_of
from shardctl.model import DTYPES, Tensor
from shardctl.planning.request import ExpertRule
from shardctl.planning.transform.expert_rules import KNOWN
from shardctl.planning.transform.stack_experts import stack
from tests.support.tensors import F32, floats
from tests.unit.planning.transform.test_experts import layer


def without(*parts: str) -> list[Tensor]:
    """Two layers, less the tensors whose names have one of these parts."""
    whole = [*layer(0), *layer(1)]
    return [tensor for tensor in whole if not any(part in tensor.name for part in parts)]


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        (("h.0.mlp.experts.1.up",), "'h.0.mlp.experts.1.up_proj.weight' is missing"),
        (("h.1.mlp.experts.0.",), "'h.1.mlp.experts.0.gate_proj.weight' is missing"),
        (("h.1.mlp.experts.2.down",), "'h.1.mlp.experts.2.down_proj.weight' is missing"),
        (("gate_proj",), "'h.0.mlp.experts.0.gate_proj.weight' is missing"),
        (("h.1.mlp.experts.2.",), r"'h.1.mlp.experts.*' has 2 experts.* has 3"),
    ],
)
def test_a_missing_expert_is_named(parts: tuple[str, ...], missing: str) -> None:
    """An expert that lacks a tensor, one that is not there, and a layer with fewer are errors."""
    with pytest.raises(UsageError, match=missing):
        stack(without(*parts), KNOWN)


def test_a_number_far_too_large_is_a_missing_expert() -> None:
    """Numbers are not counted up to: the first one that is not there is named at once."""
    name = "mlp.experts.999999999.down_proj.weight"
    with pytest.raises(UsageError, match=r"'mlp.experts.0.down_proj.weight' is missing"):
        stack([floats(name, 1)], KNOWN)


@pytest.mark.parametrize(("shape", "dtype"), [((4, 2), "F32"), ((2, 4), "I32"), ((8,), "F32")])
def test_unlike_experts_are_refused(shape: tuple[int, ...], dtype: str) -> None:
    """Another shape, or another type, of one expert, or of gate and up, is an error."""
    tensors = layer()
    odd = Tensor(tensors[4].name, DTYPES[dtype], shape, tensors[4].storage)
    with pytest.raises(UsageError, match="cannot be stacked") as caught:
        stack([*tensors[:4], odd, *tensors[5:]], KNOWN)
    assert caught.value.tensor == odd.name


@pytest.mark.parametrize(
    ("shape", "said"), [((), "no dimension to join"), ((0, 4), "has no elements")]
)
def test_what_cannot_be_joined_is_refused(shape: tuple[int, ...], said: str) -> None:
    """Single numbers cannot be joined for each expert, and nothing is made of nothing."""
    names = ("mlp.experts.0.gate_proj.weight", "mlp.experts.0.up_proj.weight")
    tensors = [Tensor(name, F32, shape, floats(name, 1).storage) for name in names]
    with pytest.raises(UsageError, match=said):
        stack(tensors, KNOWN)


def test_single_numbers_are_stacked() -> None:
    """A number for each expert becomes a list of them."""
    names = [f"e.{number}.scale" for number in range(3)]
    tensors = [Tensor(name, F32, (), floats(name, 1).storage) for name in names]
    ((replaced, (made,)),) = stack(tensors, [ExpertRule("e.scales", ("e.*.scale",))])
    assert (replaced, made.name, made.shape) == (names, "e.scales", (3,))


@pytest.mark.parametrize("name", ["h.0.mlp.experts.1.gate_proj.bias", "h.1.mlp.experts.7"])
def test_what_no_rule_knows_is_refused(name: str) -> None:
    """A tensor of an expert that would be left alone is an error; one beside the experts is not."""
    with pytest.raises(UsageError, match="there is no rule for it"):
        stack([*layer(0), *layer(1), floats(name, 1)], KNOWN)
    stack([*layer(), floats("h.0.mlp.experts.bias", 1), floats("h.0.mlp.gate.w", 1)], KNOWN)


def test_experts_are_copied_as_they_are() -> None:
    """Each part is a run of its file, whatever the order of the tensors."""
    (_, (gate_up,)), (_, (down,)) = stack(layer()[::-1], KNOWN)[::-1]
    names = {gate_up.name, down.name}
    assert names == {"h.0.mlp.experts.gate_up_proj", "h.0.mlp.experts.down_proj"}
    for made in (gate_up, down):
        pieces = pieces_of(made)
        assert all(isinstance(piece, Copy) for piece in pieces)
        assert sum(piece.nbytes for piece in pieces) == made.nbytes
