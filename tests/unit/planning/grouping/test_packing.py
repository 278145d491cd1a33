"""Packing: the hub's planner shard for shard, the best balance there is, and a limit that no file
goes over.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from huggingface_hub import split_state_dict_into_shards_factory
from hypothesis import given
from hypothesis import strategies as st

from shardctl.errors import UsageError
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.planning.grouping.packing import balance, divide, pack, pack_strict
from shardctl.planning.grouping.units import Stretches, Units
from shardctl.planning.request import Limits
from shardctl.storages import Unit, storage_units, used_extent

sizes_lists = st.lists(st.integers(0, 40), min_size=1, max_size=40)


def byte_tensor(name: str, storage: Storage, offset: int = 0, length: int | None = None) -> Tensor:
    """A flat tensor of bytes, in a new storage or in one that is shared."""
    size = storage.extent.length - offset if length is None else length
    return Tensor(name, DTYPES["U8"], (size,), storage, offset)


def storages(sizes: Sequence[int]) -> list[Storage]:
    """Buffers of those sizes, one after another in one file."""
    starts = [0, *itertools.accumulate(sizes)]
    return [
        Storage(Extent("f", start, size), str(key))
        for key, (start, size) in enumerate(zip(starts, sizes, strict=False))
    ]


def units_of(sizes: Sequence[int]) -> Units:
    """A unit of one tensor for each size."""
    return Units(
        [byte_tensor(f"t{number}", storage) for number, storage in enumerate(storages(sizes))]
    )


def sizes_in(shards: Sequence[Stretches], sizes: Sequence[int]) -> list[list[int]]:
    """What the shards hold, as sizes."""
    return [[sizes[number] for some in shard for number in some] for shard in shards]


def packed(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """The shards that sizes are packed into, as sizes."""
    return sizes_in(pack(sizes, limit), sizes)


def balanced(sizes: Sequence[int], count: int) -> list[list[int]]:
    """The shards of a balanced set, as sizes."""
    return sizes_in(balance(sizes, count), sizes)


def divided(units: Units, limits: Limits) -> list[list[int]]:
    """The shards that units are divided into, as sizes."""
    return sizes_in(divide(units, limits, measure), units.sizes)


def hub_shards(tensors: Sequence[Tensor], limit: int) -> list[set[str]]:
    """The shards that huggingface_hub's planner makes of the same tensors, as sets of names."""
    split = split_state_dict_into_shards_factory(
        {tensor.name: tensor for tensor in tensors},
        get_storage_size=lambda tensor: tensor.storage.extent.length,
        get_storage_id=lambda tensor: tensor.storage.identity,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=limit,
    )
    return [set(names) for names in split.filename_to_tensors.values()]


class TestPack:
    """Packing by size."""

    @given(sizes_lists, st.integers(1, 60))
    def test_equals_the_hub_for_plain_tensors(self, sizes: list[int], limit: int) -> None:
        """Every random list of tensors is packed as huggingface_hub packs it."""
        units = units_of(sizes)
        tensors = [unit.tensors[0] for unit in units]
        ours = [{tensor.name for tensor in units.held(shard)} for shard in pack(sizes, limit)]
        assert ours == hub_shards(tensors, limit)

    @given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.data(), st.integers(1, 60))
    def test_equals_the_hub_for_tied_tensors(
        self, sizes: list[int], data: st.DataObject, limit: int
    ) -> None:
        """Tensors that share storages are packed as huggingface_hub packs them, whatever their
        order.
        """
        owners = data.draw(st.lists(st.sampled_from(storages(sizes)), min_size=1, max_size=30))
        tensors = [byte_tensor(f"t{number}", storage) for number, storage in enumerate(owners)]
        units = Units(tensors, storage_units(tensors))
        ours = [{tensor.name for tensor in units.held(each)} for each in pack(units.sizes, limit)]
        assert ours == hub_shards(tensors, limit)

    def test_oversize_goes_first_and_leaves_the_open_shard_open(self) -> None:
        """A tensor over the limit becomes a shard at once, while the one that is being filled goes
        on after it.
        """
        assert packed([2, 7, 2, 2, 1], 5) == [[7], [2, 2], [2, 1]]

    def test_equal_to_the_limit_fits(self) -> None:
        """A shard may be exactly as large as the limit."""
        assert packed([2, 3, 5, 1], 5) == [[2, 3], [5], [1]]


class TestStorageUnits:
    """Tensors that share a storage cannot be divided."""

    def test_groups_by_storage_in_order_of_first_appearance(self) -> None:
        """A storage's unit is at the place of its first tensor."""
        one, two = storages([10, 20])
        tensors = [byte_tensor("a", two), byte_tensor("b", one), byte_tensor("c", two)]
        units = storage_units(tensors)
        assert [[tensor.name for tensor in unit.tensors] for unit in units] == [["a", "c"], ["b"]]
        assert [unit.nbytes for unit in units] == [20, 10]

    def test_counts_only_what_the_tensors_use(self) -> None:
        """A small view of a large storage counts with its own bytes, from the first one used to the
        last.
        """
        (big,) = storages([1000])
        units = storage_units([byte_tensor("a", big, 100, 50), byte_tensor("b", big, 400, 100)])
        assert [unit.nbytes for unit in units] == [400]

    def test_an_empty_tensor_uses_nothing(self) -> None:
        """A storage that only empty tensors view has no bytes to write."""
        (big,) = storages([1000])
        assert used_extent([byte_tensor("a", big, 100, 0)]).length == 0

    def test_the_used_part_begins_at_whole_elements(self) -> None:
        """The part that is kept begins at a multiple of the widest element of those
        that view it.
        """
        storage = Storage(Extent("f", 1000, 64), "0")
        narrow = Tensor("a", DTYPES["U8"], (3,), storage, 13)
        wide = Tensor("b", DTYPES["F64"], (1,), storage, 3)
        assert used_extent([narrow, wide]) == Extent("f", 1008, 24)
        assert used_extent([narrow]) == Extent("f", 1013, 3)

    @given(st.data())
    def test_every_view_lies_in_the_used_part(self, data: st.DataObject) -> None:
        """Whatever views a storage has, the used part holds them all, and each begins at a whole
        element of it.
        """
        storage = Storage(Extent("f", 24, 96), "0")
        tensors = []
        for number in range(data.draw(st.integers(1, 5))):
            dtype = DTYPES[data.draw(st.sampled_from(["U8", "F16", "F32", "F64", "complex128"]))]
            room = storage.extent.length // dtype.itemsize
            offset = data.draw(st.integers(0, room))
            tensors.append(
                Tensor(
                    str(number), dtype, (data.draw(st.integers(0, room - offset)),), storage, offset
                )
            )
        used = used_extent(tensors)
        for tensor in tensors:
            if tensor.elements:
                assert used.offset <= tensor.span.offset
                assert tensor.span.end <= used.end
                assert (tensor.span.offset - used.offset) % tensor.dtype.itemsize == 0


def best_maximum(sizes: Sequence[int], count: int) -> int:
    """By trying every division: the least size that the largest of `count` shards in order can
    have.
    """
    cuts = itertools.combinations(range(1, len(sizes)), count - 1)
    bounds = ((0, *cut, len(sizes)) for cut in cuts)
    return min(max(sum(sizes[a:b]) for a, b in itertools.pairwise(bound)) for bound in bounds)


class TestBalance:
    """Packing by count."""

    @given(st.lists(st.integers(0, 30), min_size=1, max_size=9), st.data())
    def test_is_as_even_as_can_be(self, sizes: list[int], data: st.DataObject) -> None:
        """There are as many shards as asked for, none empty, in order, and the largest is as small
        as can be.
        """
        count = data.draw(st.integers(1, len(sizes)))
        shards = balanced(sizes, count)
        assert len(shards) == count
        assert all(shards)
        assert [size for shard in shards for size in shard] == sizes
        assert max(map(sum, shards)) == best_maximum(sizes, count)

    @given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=200), st.data())
    def test_holds_for_large_sizes(self, sizes: list[int], data: st.DataObject) -> None:
        """Counts and order are right for sizes beyond what a float can tell apart from its
        neighbours.
        """
        count = data.draw(st.integers(1, len(sizes)))
        shards = balanced(sizes, count)
        assert len(shards) == count
        assert all(shards)
        assert [size for shard in shards for size in shard] == sizes

    def test_equal_tensors_are_spread_evenly(self) -> None:
        """The shards of equal tensors differ by one tensor at most."""
        counts = [len(shard) for shard in balanced([7] * 100, 8)]
        assert max(counts) - min(counts) <= 1

    def test_fewer_tensors_than_shards_is_a_usage_error(self) -> None:
        """A number of shards that cannot be filled is refused, with the number that can."""
        with pytest.raises(UsageError, match="2 tensors") as caught:
            balance([1, 1], 3)
        assert "`num_shards` 2" in caught.value.hint


HEADER = 16


def measure(tensors: Sequence[Tensor]) -> int:
    """A file's size, with a header that grows with the number of tensors in steps."""
    names = sum(4 + len(tensor.name) for tensor in tensors)
    return HEADER + names + -names % 8 + sum(tensor.nbytes for tensor in tensors)


class TestPackStrict:
    """Packing by the size of whole files."""

    @given(sizes_lists, st.integers(64, 200))
    def test_no_file_is_over_the_limit_and_none_could_take_more(
        self, sizes: list[int], limit: int
    ) -> None:
        """Every file stays within the limit, in order, and would go over it with the
        next tensor.
        """
        units = units_of(sizes)
        shards = pack_strict(units, limit, measure)
        assert [number for shard in shards for some in shard for number in some] == list(
            range(len(sizes))
        )
        for shard, following in itertools.zip_longest(shards, shards[1:]):
            assert measure(units.held(shard)) <= limit
            if following:
                assert measure(units.held([*shard, following[0][:1]])) > limit

    def test_a_tensor_fits_with_its_header_or_not_at_all(self) -> None:
        """A file may be as large as the limit; a tensor that fits without its header only is
        refused.
        """
        units = units_of([10])
        exact = measure(units[0].tensors)
        assert pack_strict(units, exact, measure) == [[range(1)]]
        for limit in (exact - 1, 10):
            with pytest.raises(UsageError, match="'t0'"):
                pack_strict(units, limit, measure)

    @given(sizes_lists, st.integers(64, 200))
    def test_a_larger_limit_never_gives_more_files(self, sizes: list[int], limit: int) -> None:
        """The number of files falls, or stays, as the limit rises."""
        counts = [len(pack_strict(units_of(sizes), limit + more, measure)) for more in (0, 1, 50)]
        assert counts == sorted(counts, reverse=True)

    def test_measures_seldom(self) -> None:
        """The number of measurements grows with the logarithm of a shard's length, not with the
        length.
        """
        calls = 0

        def counted(tensors: Sequence[Tensor]) -> int:
            nonlocal calls
            calls += 1
            return measure(tensors)

        shards = pack_strict(units_of([1] * 5000), 1 << 15, counted)
        assert calls <= 30 * len(shards)

    def test_a_tensor_that_cannot_fit_is_named(self) -> None:
        """A tensor whose file alone is over the limit is an error that names it and the limit that
        would do.
        """
        units = units_of([10, 500])
        with pytest.raises(UsageError, match="'t1'") as caught:
            pack_strict(units, 100, measure)
        assert caught.value.tensor == "t1"
        assert str(measure(units[1].tensors)) in caught.value.hint

    def test_what_stays_with_a_tensor_is_counted(self) -> None:
        """A unit of several tensors that cannot fit is named by its largest, with the number of the
        others.
        """
        units = units_of([10, 500])
        tensors = units.held([range(2)])
        joined = Units(tensors, [Unit(tuple(tensors), 510)])
        with pytest.raises(UsageError, match=r"'t1', with what cannot .* \(1 tensor\), needs"):
            pack_strict(joined, 100, measure)


class TestDivide:
    """The limits choose the rule."""

    def test_no_limit_is_one_shard(self) -> None:
        """Without a limit everything is in one shard."""
        assert divided(units_of([1, 2, 3]), Limits()) == [[1, 2, 3]]

    def test_no_tensors_are_one_empty_shard(self) -> None:
        """A checkpoint without tensors is still one file."""
        assert divided(units_of([]), Limits(max_shard_bytes=5)) == [[]]

    def test_each_limit_has_its_rule(self) -> None:
        """A size packs as the hub does, a strict size by whole files, a count evenly."""
        units = units_of([40, 40, 40, 40])
        assert divided(units, Limits(max_shard_bytes=80)) == [[40, 40], [40, 40]]
        assert divided(units, Limits(max_shard_bytes=80, strict=True)) == [[40]] * 4
        assert divided(units, Limits(num_shards=3)) == [[40], [40], [40, 40]]
        assert divided(units, Limits(each_group=True)) == [[40]] * 4

    @pytest.mark.parametrize(("sizes", "shards"), [([], 1), ([5], 1), ([5, 5], 2), ([5] * 9, 3)])
    def test_a_count_may_be_fewer(self, sizes: list[int], shards: int) -> None:
        """Where fewer are allowed, there are as many shards as tensors, and at least one."""
        limits = Limits(num_shards=3, or_fewer=True)
        assert len(divide(units_of(sizes), limits, measure)) == shards
