"""The string pairs of what is written, and those that must not be lost."""

from __future__ import annotations

import json

import pytest

from shardctl.errors import UsageError
from shardctl.formats.safetensors.format import SAFETENSORS
from shardctl.formats.torch.format import TORCH
from shardctl.model import Checkpoint
from shardctl.planning.metadata import file_metadata
from tests.support.tensors import checkpoint_of, floats

#: What torchao writes of one quantised and one plain parameter.
TORCHAO = {
    "a.q.weight": json.dumps({"_type": "Float8Tensor", "_tensor_data_names": ["qdata", "scale"]}),
    "a.q.bias": json.dumps({"_type": "Tensor"}),
    "tensor_names": json.dumps(["a.q.weight", "a.q.bias"]),
}


def quantised(**metadata: str) -> Checkpoint:
    """A checkpoint with the tensors of a quantised parameter."""
    names = ("a.q._weight_qdata", "a.q._weight_scale", "a.q.bias")
    return checkpoint_of(
        *(floats(name, 1, 4 * place) for place, name in enumerate(names)),
        format_name="safetensors",
        metadata=metadata,
    )


def test_metadata_that_tensors_need_is_not_left_out() -> None:
    """What torchao says of its tensors is refused for a format without metadata, by name, and goes
    along in one that has it.
    """
    source = quantised(**TORCHAO)
    with pytest.raises(UsageError, match=r"\.bin file has no room") as caught:
        file_metadata(source, TORCH, source.tensors, {})
    assert "'a.q.weight'" in str(caught.value)
    assert "tensor_names" not in str(caught.value)
    made, notes = file_metadata(source, SAFETENSORS, source.tensors, {})
    assert made.of(source.tensors) == {"format": "pt", **TORCHAO}
    assert notes == ()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("format", "pt"),
        ("modelspec.architecture", "{}"),
        ("a.q.weight", "another.name"),
        ("ss_network_args", '{"rank": 8}'),
        ("", "{"),
    ],
)
def test_other_metadata_is_left_out(key: str, text: str) -> None:
    """Metadata that does not describe a tensor stops no conversion."""
    source = quantised(**{key: text})
    made, _ = file_metadata(source, TORCH, source.tensors, {})
    assert made.of(source.tensors) == {}


def test_a_thousand_described_tensors_are_named_in_part() -> None:
    """The error names ten of them, and says how many more there are."""
    source = quantised(**{f"a.q.w{number:03}": "{}" for number in range(1000)})
    with pytest.raises(UsageError, match="and 990 more"):
        file_metadata(source, TORCH, source.tensors, {})
