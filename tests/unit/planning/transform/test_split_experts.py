"""Stacked experts that cannot be split, and what the parts are."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.planning.request import ExpertRule
from shardctl.planning.transform.expert_rules import KNOWN
from shardctl.planning.transform.split_experts import MOST_EXPERTS, split

PAIR = (ExpertRule("e.gu", ("e.*.g", "e.*.u")),)
ONE = (ExpertRule("e.d", ("e.*.d",)),)


def of(
    name: str, *shape: int, dtype: str = "F32", strides: tuple[int, ...] | None = None
) -> Tensor:
    """A tensor with a storage that is large enough."""
    storage = Storage(Extent("models/f", 8, 1 << 20), name, crc32=7)
    return Tensor(name, DTYPES[dtype], shape, storage, 0, strides)


def test_parts_have_their_bytes_and_a_storage() -> None:
    """Each expert's part is the run that it is in the stacked tensor, with a separate storage that
    remembers the one it was cut from.
    """
    source = of("m.e.gu", 2, 4, 3)
    ((replaced, parts),) = split([source], PAIR, known=False)
    assert replaced == ["m.e.gu"]
    assert [(part.name, part.shape, part.span.offset) for part in parts] == [
        ("m.e.0.g", (2, 3), 8),
        ("m.e.0.u", (2, 3), 32),
        ("m.e.1.g", (2, 3), 56),
        ("m.e.1.u", (2, 3), 80),
    ]
    assert len({part.storage.identity for part in parts}) == 4
    assert all(part.storage.recorded is source.storage for part in parts)
    assert all(part.strides is None for part in parts)


def test_parts_of_a_strided_tensor() -> None:
    """Of a transposed tensor the parts are transposed."""
    ((_, parts),) = split([of("e.gu", 2, 4, 3, strides=(12, 1, 4))], PAIR, known=False)
    assert [(part.span.offset, part.strides) for part in parts[:2]] == [(8, (1, 4)), (16, (1, 4))]


@pytest.mark.parametrize(
    ("tensor", "rules", "said"),
    [
        (of("e.gu", 2, 3, 4), PAIR, "second dimension"),
        (of("e.gu", 2), PAIR, "second dimension"),
        (of("e.d"), ONE, "no elements of experts"),
        (of("e.d", 2, 0), ONE, "no elements of experts"),
        (of("e.d", MOST_EXPERTS + 1, 1), ONE, "more than 4,096 experts"),
        (of("e.gu", 2, 2, 1, dtype="F4"), PAIR, "not whole bytes"),
    ],
)
def test_shapes_that_cannot_be_split(
    tensor: Tensor, rules: tuple[ExpertRule, ...], said: str
) -> None:
    """Without experts, halves or whole bytes there is nothing to split into."""
    with pytest.raises(UsageError, match=said):
        split([tensor], rules, known=False)


def test_a_name_of_two_families_is_refused() -> None:
    """A stacked name that two families have needs a map, which decides."""
    pair = [
        of("feed_forward.experts.gate_up_proj", 2, 4, 3),
        of("feed_forward.experts.down_proj", 2, 3, 2),
    ]
    with pytest.raises(UsageError, match="could become"):
        split(pair, KNOWN, known=True)
    jamba = [rule for rule in KNOWN if "feed_forward.experts.*.gate_proj.weight" in rule.parts]
    assert (
        split(pair, jamba, known=False)[0][1][0].name == "feed_forward.experts.0.gate_proj.weight"
    )


@pytest.mark.parametrize(
    ("gate_up", "down"), [((2, 3, 4), (2, 2, 3)), ((2, 4, 4), (2, 4, 4)), ((2, 4), (2, 3))]
)
def test_other_layouts_are_refused(gate_up: tuple[int, ...], down: tuple[int, ...]) -> None:
    """Where input comes before output, as in GPT-OSS, halves of rows would be nonsense."""
    pair = [of("mlp.experts.gate_up_proj", *gate_up), of("mlp.experts.down_proj", *down)]
    with pytest.raises(UsageError, match="not gate before up"):
        split(pair, KNOWN, known=True)


def test_gate_and_up_need_what_proves_them() -> None:
    """Without the tensor beside it the layout of a stacked one cannot be checked."""
    with pytest.raises(UsageError, match="whose shape shows it"):
        split([of("mlp.experts.gate_up_proj", 2, 4, 3)], KNOWN, known=True)


@pytest.mark.parametrize("after", ["_bias", "_scales", ".absmax"])
def test_what_belongs_to_a_stacked_tensor_is_refused(after: str) -> None:
    """A bias or scales without a rule would be left alone; what only begins alike is not meant."""
    pair = [of("mlp.experts.gate_up_proj", 2, 4, 3), of("mlp.experts.down_proj", 2, 3, 2)]
    with pytest.raises(UsageError, match="no rule for it"):
        split([*pair, of(f"mlp.experts.down_proj{after}", 2)], KNOWN, known=True)
    split([*pair, of("mlp.experts.down_projection", 2)], KNOWN, known=True)
