"""What a copy holds that was made with a transform: to compare it with what it was made from."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.model import Assembled, Cast
from shardctl.planning.request import Conversion, Experts, Selection, Transform
from shardctl.planning.transform.compared import transformed
from tests.support.tensors import checkpoint_of, floats
from tests.unit.planning.transform.test_experts import layer


def test_nothing_asked_for_is_the_checkpoint() -> None:
    """Without a transform nothing is made and nothing left out."""
    source = checkpoint_of(floats("a", 1), *layer())
    assert not Transform()
    made = transformed(source, Transform())
    assert (made.checkpoint, made.left_out) == (source, ())


def test_everything_in_the_order_of_a_writer() -> None:
    """Names are changed first, experts are found by the new names, and stacked ones converted;
    what is kept has the name that it has in the end.
    """
    source = checkpoint_of(floats("p.head", 1), *layer(), floats("p.norm", 1), floats("gone", 1))
    transform = Transform(
        Selection(exclude=("gone",), strip_prefix="p.", rename=((r"^h\.", "layers."),)),
        Experts("stack"),
        Conversion("BF16", keep=("norm", "*.down_proj")),
    )
    made = transformed(source, transform)
    assert [(tensor.name, tensor.dtype.name) for tensor in made.checkpoint.tensors] == [
        ("head", "BF16"),
        ("layers.0.mlp.experts.gate_up_proj", "BF16"),
        ("layers.0.mlp.experts.down_proj", "F32"),
        ("norm", "F32"),
    ]
    cast = made.checkpoint.tensors[1].storage.made
    assert isinstance(cast, Cast)
    assert isinstance(cast.tensor.storage.made, Assembled)
    assert [tensor.name for tensor in made.left_out] == ["gone"]


def test_what_cannot_be_made_is_refused() -> None:
    """What a writer refuses cannot be compared with either."""
    with pytest.raises(UsageError, match="no experts to stack"):
        transformed(checkpoint_of(floats("a", 1)), Transform(experts=Experts("stack")))
    with pytest.raises(UsageError, match="matches no tensor"):
        transformed(
            checkpoint_of(floats("a", 1)), Transform(conversion=Conversion("F16", keep=("b",)))
        )
