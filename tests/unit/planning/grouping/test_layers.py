"""Layers and experts that no shard divides."""

from __future__ import annotations

import random
import time

import pytest

from shardctl.errors import UsageError
from shardctl.formats.torch.format import TORCH
from shardctl.model import Extent, Storage, Tensor
from shardctl.planning.grouping.groups import units_of
from shardctl.planning.grouping.layers import grouped
from shardctl.planning.plan import make_plan
from shardctl.planning.request import Limits, Request
from shardctl.storages import Unit
from tests.support.tensors import checkpoint_of, floats

MIXTURE = (
    "model.embed.weight",
    "model.layers.0.attn.weight",
    "model.layers.0.mlp.experts.0.up.weight",
    "model.layers.0.mlp.experts.1.up.weight",
    "model.layers.1.attn.weight",
    "model.layers.1.mlp.experts.0.up.weight",
    "model.layers.0.mlp.experts.0.down.weight",
    "model.layers.1.mlp.experts.1.up.weight",
    "lm_head.weight",
    "model.norm.weight",
    "lm_head.bias",
)


def tensors(*names: str) -> list[Tensor]:
    """A tensor of four bytes for each name, in a separate storage."""
    return [floats(name, 1, 4 * place) for place, name in enumerate(names)]


def groups_of(group_by: str, *names: str) -> dict[str | None, list[str]]:
    """The names in each group, by the group's name."""
    units = grouped(units_of(tensors(*names), TORCH), group_by)
    return {unit.group: [tensor.name for tensor in unit.tensors] for unit in units}


def planned(group_by: str, limits: Limits, *some: Tensor, natural: bool = False) -> list[list[str]]:
    """The names in each shard of a plan."""
    request = Request(
        limits, "bin", ".bin", "m", group_by=group_by, order="natural" if natural else "source"
    )
    made = make_plan(checkpoint_of(*some), request, lambda held, _: 100 + 4 * len(held))
    return [[tensor.name for tensor in shard.tensors] for shard in made.shards]


def test_layers() -> None:
    """Everything below one number of the outer chain is a group, and what is in no layer stays with
    its module, each at the place of its first tensor.
    """
    assert groups_of("layer", *MIXTURE) == {
        "model.embed": ["model.embed.weight"],
        "model.layers.0": [name for name in MIXTURE if "layers.0" in name],
        "model.layers.1": [name for name in MIXTURE if "layers.1" in name],
        "lm_head": ["lm_head.weight", "lm_head.bias"],
        "model.norm": ["model.norm.weight"],
    }


def test_experts() -> None:
    """Each expert of each layer is a group, and so is what else a layer has."""
    found = groups_of("expert", *MIXTURE)
    assert found["model.layers.0.mlp.experts.0"] == [
        "model.layers.0.mlp.experts.0.up.weight",
        "model.layers.0.mlp.experts.0.down.weight",
    ]
    assert found["model.layers.1"] == ["model.layers.1.attn.weight"]
    assert len(found) == 9


@pytest.mark.parametrize(
    ("names", "layers"),
    [
        (("0.model.layer.0.w", "0.model.layer.1.w", "0.model.emb.w"), 3),
        (("layers.0.a.w", "layers.0.b.w", "norm.w"), 2),
        (("0.weight", "0.bias", "2.weight"), 2),
        (("encoder.0.w", "encoder.1.w", "decoder.0.w", "decoder.1.w"), 4),
        (("a", "b", "c.d"), 3),
        ((), 0),
    ],
)
def test_which_chain_the_layers_are(names: tuple[str, ...], layers: int) -> None:
    """A number that is the only one at its place is passed over where a name has another."""
    assert len(groups_of("layer", *names)) == layers


def test_a_pattern_names_the_groups() -> None:
    """Names with the same text in the first group are a group, and the others stay with their
    module, even one that is called like a group.
    """
    assert groups_of(r"layers\.(\d+)\.", *MIXTURE, "0.weight").keys() == {
        "0", "1", "model.embed", "lm_head", "model.norm",
    }  # fmt: skip
    units = grouped(units_of(tensors("x.0.a", "0.b", "x.0.c"), TORCH), r"x\.(\d)")
    assert [[tensor.name for tensor in unit.tensors] for unit in units] == [
        ["x.0.a", "x.0.c"],
        ["0.b"],
    ]


@pytest.mark.parametrize(
    ("pattern", "said"), [("(", "cannot be used"), ("lay", "no group"), ("(x9)", "finds no group")]
)
def test_patterns_that_cannot_be_meant(pattern: str, said: str) -> None:
    """A broken pattern, one without a group, and one that matches nothing are errors."""
    with pytest.raises(UsageError, match=said):
        groups_of(pattern, *MIXTURE)


def test_what_shares_a_storage_joins_its_groups() -> None:
    """Two layers that share a storage are one group, since a file cannot divide it."""
    shared = Storage(Extent("models/f", 100, 4), "0")
    tied = [floats("l.0.w", 1, storage=shared), floats("l.1.w", 1, storage=shared)]
    units = grouped(units_of([*tensors("l.0.b", "l.2.b", "l.1.b"), *tied], TORCH), "layer")
    assert [(unit.group, len(unit.tensors), unit.nbytes) for unit in units] == [
        ("l.0", 4, 12),
        ("l.2", 1, 4),
    ]


def test_each_group_is_a_file_without_a_limit() -> None:
    """Without a limit a shard has one group; with one, groups fill shards in order."""
    some = tensors(*MIXTURE)
    assert [len(names) for names in planned("layer", Limits(each_group=True), *some)] == [
        1, 4, 3, 2, 1,
    ]  # fmt: skip
    limited = planned("layer", Limits(max_shard_bytes=20), *some)
    assert [len(names) for names in limited] == [5, 5, 1]
    assert [len(names) for names in planned("layer", Limits(num_shards=2), *some)] == [5, 6]


def test_natural_order_holds_for_groups_and_within_them() -> None:
    """Layer 2 comes before layer 10, and so do its tensors within a file of both."""
    names = [f"l.{number}.{part}" for number in (10, 2, 0) for part in ("b.10", "b.9")]
    (shard,) = planned("layer", Limits(num_shards=1), *tensors(*names), natural=True)
    assert shard == [f"l.{number}.{part}" for number in (0, 2, 10) for part in ("b.9", "b.10")]


def test_a_large_group_has_a_shard_of_its_own() -> None:
    """A group over the limit is named in a note, and refused where the limit is strict."""
    some = tensors(*MIXTURE)
    request = Request(Limits(max_shard_bytes=8), "bin", ".bin", "m", group_by="layer")
    made = make_plan(checkpoint_of(*some), request, lambda held, _: 4 * len(held))
    assert [len(shard.tensors) for shard in made.shards] == [4, 3, 1, 2, 1]
    assert "'model.layers.0' (4 tensors, 16 bytes)" in made.notes[-1]
    strict = Request(Limits(max_shard_bytes=8, strict=True), "bin", ".bin", "m", group_by="layer")
    with pytest.raises(UsageError, match=r"group 'model\.layers\.0' \(4 tensors\)"):
        make_plan(checkpoint_of(*some), strict, lambda held, _: 4 * len(held))


@pytest.mark.parametrize("limits", [Limits(each_group=True), Limits(max_shard_bytes=40)])
def test_no_group_is_divided(limits: Limits) -> None:
    """Whatever the order of the tensors, those of a layer are in one shard."""
    names = [f"l.{layer}.m.{inner}.w" for layer in range(9) for inner in range(5)]
    random.Random(7).shuffle(names)
    shards = planned("layer", limits, *tensors(*names))
    homes = {(name.split(".")[1], number) for number, held in enumerate(shards) for name in held}
    assert len(homes) == 9


def test_time_is_linear_in_the_names() -> None:
    """Ten times as many names take about ten times as long."""

    def seconds(count: int) -> float:
        units = [
            Unit((tensor,), 4)
            for tensor in tensors(*(f"m.l.{n // 9}.x.{n}.w" for n in range(count)))
        ]
        begun = time.perf_counter()
        assert len(grouped(units, "expert")) == count
        return time.perf_counter() - begun

    seconds(1_000)
    few, many = (min(seconds(count) for _ in range(3)) for count in (2_000, 20_000))
    assert many < 40 * few
