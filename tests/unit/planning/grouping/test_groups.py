"""Tensors that packing must not divide, because of a storage or of their names."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.formats.base import Format
from shardctl.formats.safetensors.format import SAFETENSORS
from shardctl.formats.torch.format import TORCH
from shardctl.model import Extent, Storage, Tensor
from shardctl.planning.grouping.groups import owners_of, units_of
from shardctl.planning.plan import make_plan
from shardctl.planning.request import Limits, Request
from tests.support.tensors import checkpoint_of, floats

#: What bitsandbytes saves of one four-bit weight, and two weights that only begin like it.
QUANTISED = (
    "a.weight.absmax",
    "a.weight",
    "b.weight",
    "a.weight.quant_map",
    "a.weights",
    "a.weight.nested_absmax",
    "a.weight-x",
    "a.weight.quant_state.bitsandbytes__nf4",
)


def tensors(*names: str) -> list[Tensor]:
    """A tensor of four bytes for each name, in a separate storage."""
    return [floats(name, 1, 4 * place) for place, name in enumerate(names)]


def names_of(some: Sequence[Tensor]) -> list[str]:
    """The names of tensors."""
    return [tensor.name for tensor in some]


@pytest.mark.parametrize("written", [SAFETENSORS, TORCH])
def test_what_continues_a_name_is_in_its_unit(written: Format) -> None:
    """Everything that continues a whole name after a dot is with it, at the place of the first, and
    the bytes of all count.
    """
    units = units_of(tensors(*QUANTISED), written)
    assert [names_of(unit.tensors) for unit in units] == [
        [
            "a.weight.absmax",
            "a.weight",
            "a.weight.quant_map",
            "a.weight.nested_absmax",
            "a.weight.quant_state.bitsandbytes__nf4",
        ],
        ["b.weight"],
        ["a.weights"],
        ["a.weight-x"],
    ]
    assert [unit.nbytes for unit in units] == [20, 4, 4, 4]


def test_storages_and_names_join_one_unit() -> None:
    """What belongs to either of two names of one storage is in the storage's unit, which counts
    once.
    """
    shared = Storage(Extent("models/f", 0, 16), "0")
    tied = [floats("x.w", 4, storage=shared), floats("y.w", 4, storage=shared)]
    others = tensors("y.w.scale", "x.w.scale", "z")
    units = units_of([*others, *tied], TORCH)
    assert [names_of(unit.tensors) for unit in units] == [
        ["y.w.scale", "x.w.scale", "x.w", "y.w"],
        ["z"],
    ]
    assert [unit.nbytes for unit in units] == [24, 4]


@pytest.mark.parametrize(
    "inner", ["model.norm.weight", "model.fc.bias", "model.layers.0.scale", "model.0", "model.0.w"]
)
def test_a_module_of_the_same_name_owns_nothing(inner: str) -> None:
    """A tensor with the name of a module does not hold its parameters together, which keep what
    continues them.
    """
    names = ["model", "model.a.w", "model.a.w.absmax", inner]
    assert owners_of(names) == {"model.a.w.absmax": "model.a.w"}


def test_what_belongs_to_a_recorded_name_is_with_the_kept_one() -> None:
    """A tensor that continues a name which is only recorded stays with the tensor that has its
    bytes.
    """
    units = units_of(tensors("kept", "b", "dropped.scale"), SAFETENSORS, {"dropped": "kept"})
    assert [names_of(unit.tensors) for unit in units] == [["kept", "dropped.scale"], ["b"]]


@given(st.lists(st.text(alphabet=".a\0\1\2-", min_size=0, max_size=6), unique=True))
def test_owners_are_the_shortest_names_that_are_continued(names: list[str]) -> None:
    """Whatever characters names have, each belongs to the shortest that it continues."""
    expected = {}
    for name in names:
        owned_by = [other for other in names if name.startswith(f"{other}.")]
        if owned_by:
            expected[name] = min(owned_by, key=len)
    assert owners_of(names) == expected


@given(st.lists(st.sampled_from(QUANTISED), unique=True, min_size=1), st.integers(1, 40), st.data())
def test_no_packer_divides_what_belongs_together(
    names: list[str], limit: int, data: st.DataObject
) -> None:
    """By size, by strict size and by number, a tensor and those that continue its name are in one
    shard.
    """
    held = tensors(*names)
    units = units_of(held, SAFETENSORS)
    largest = max(unit.nbytes for unit in units)
    for limits in (
        Limits(max_shard_bytes=limit),
        Limits(max_shard_bytes=max(limit, largest), strict=True),
        Limits(num_shards=data.draw(st.integers(1, len(units)))),
    ):
        request = Request(limits, "safetensors", ".safetensors", "model")
        made = make_plan(
            checkpoint_of(*held), request, lambda some, _: sum(tensor.nbytes for tensor in some)
        )
        home = {name: shard.filename for shard in made.shards for name in names_of(shard.tensors)}
        assert len(home) == len(names)
        for name, owner in owners_of(names).items():
            assert home[name] == home[owner]


def test_a_group_over_the_limit_is_a_shard_by_its_weight() -> None:
    """A group that is larger than the limit gets its own shard, and is named by its largest
    tensor.
    """
    held = [floats("w.absmax", 1), floats("w", 8, 4), floats("x", 1, 36)]
    request = Request(Limits(max_shard_bytes=32), "safetensors", ".safetensors", "model")
    made = make_plan(checkpoint_of(*held), request, lambda some, _: len(some))
    assert [names_of(shard.tensors) for shard in made.shards] == [["w.absmax", "w"], ["x"]]
    assert made.oversize == ("w",)


@pytest.mark.parametrize(
    "make",
    [
        lambda count: [".".join(["a"] * 50)] + [f"l.{number}" for number in range(count)],
        lambda count: [f"l.{number // 4}.w{'.s' * (number % 4)}" for number in range(count)],
        lambda count: [".a" * length for length in range(1, 1000)] + ["." * (count * 10)],
        lambda count: ["w", *(f"w.s{number}" for number in range(count))],
        lambda count: (
            [".".join(["m"] * n) for n in range(1, 2000)]
            + [".".join(["m"] * 2000) + ".0"]
            + [f"m.{number}" for number in range(count)]
        ),
    ],
    ids=["plain", "groups", "prefixes", "one-group", "modules"],
)
def test_many_names_take_time_by_their_number(make: Callable[[int], list[str]]) -> None:
    """Time grows with the number of names, however they overlap: with its square, these would take
    minutes.
    """
    held = tensors(*make(100_000))
    begin = time.process_time()
    units = units_of(held, SAFETENSORS)
    assert time.process_time() - begin < 20
    assert sorted(itertools.chain(*(names_of(unit.tensors) for unit in units))) == sorted(
        names_of(held)
    )
