"""Planning: which names are written, in which order, in which files, and when two plans are the
same plan.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import split_state_dict_into_shards_factory
from hypothesis import given
from hypothesis import strategies as st

from shardctl.errors import UsageError
from shardctl.model import Checkpoint, Extent, Index, Storage, Tensor
from shardctl.planning.plan import Plan, make_plan, natural_key
from shardctl.planning.request import Limits, Request, Selection
from tests.support.tensors import F32, checkpoint_of, floats


def request_for(written: str = "bin", **fields: Any) -> Request:
    """A request with the names that are usual for the format."""
    stem = "pytorch_model" if written == "bin" else "model"
    return Request(
        **{
            "limits": Limits(),
            "format": written,
            "suffix": f".{written}",
            "stem": stem,
            **fields,
        }
    )


def measure(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> int:
    """A file's size in a format that costs ten bytes a tensor and as many as there are for the
    metadata.
    """
    words = sum(len(key) + len(value) for key, value in metadata.items())
    return 8 + words + sum(10 + tensor.nbytes for tensor in tensors)


def plan(checkpoint: Checkpoint, request: Request) -> Plan:
    """The plan, measured with the made-up format."""
    return make_plan(checkpoint, request, measure)


def names_of(made: Plan) -> list[list[str]]:
    """The names in each shard."""
    return [[tensor.name for tensor in shard.tensors] for shard in made.shards]


def index_of(made: Plan) -> dict[str, Any]:
    """The index, read back."""
    assert made.index is not None
    document: dict[str, Any] = json.loads(made.index)
    return document


@st.composite
def tied_tensors(draw: st.DrawFn) -> list[Tensor]:
    """Tensors with shuffled names, some of which are the same tensor under several names."""
    counts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=10))
    storages = [
        Storage(Extent("models/f", 4 * start, 4 * count), str(key))
        for key, (start, count) in enumerate(
            zip([0, *itertools.accumulate(counts)], counts, strict=False)
        )
    ]
    owners = draw(st.lists(st.sampled_from(storages), min_size=1, max_size=20))
    names = draw(st.permutations([f"t{number}" for number in range(len(owners))]))
    return [
        Tensor(name, F32, (s.extent.length // 4,), s) for name, s in zip(names, owners, strict=True)
    ]


class TestHub:
    """The plan is the hub's plan."""

    @given(tied_tensors(), st.integers(4, 80))
    def test_bin_equals_the_hubs_plan(self, tensors: list[Tensor], limit: int) -> None:
        """File names, contents and total size of `.bin` shards are those of huggingface_hub, ties
        included.
        """
        made = plan(
            checkpoint_of(*tensors), request_for("bin", limits=Limits(max_shard_bytes=limit))
        )
        split = split_state_dict_into_shards_factory(
            {tensor.name: tensor for tensor in tensors},
            get_storage_size=lambda tensor: tensor.storage.extent.length,
            get_storage_id=lambda tensor: tensor.storage.identity,
            filename_pattern="pytorch_model{suffix}.bin",
            max_shard_size=limit,
        )
        ours = {shard.filename: {tensor.name for tensor in shard.tensors} for shard in made.shards}
        assert ours == {
            filename: set(names) for filename, names in split.filename_to_tensors.items()
        }
        assert made.total_size == split.metadata["total_size"]
        if split.is_sharded:
            assert index_of(made) == {
                "metadata": split.metadata,
                "weight_map": split.tensor_to_filename,
            }
            assert made.loads_from == "pytorch_model.bin.index.json"
        else:
            assert made.index is None
            assert made.loads_from == "pytorch_model.bin"

    @given(tied_tensors(), st.integers(4, 80))
    def test_safetensors_equals_the_hubs_plan(self, tensors: list[Tensor], limit: int) -> None:
        """With one name of tied tensors, the first, the plan is the hub's of these tensors, and the
        metadata names the others.
        """
        first: dict[str, str] = {}
        for tensor in tensors:
            first.setdefault(tensor.storage.key, tensor.name)
        dropped = {t.name: first[t.storage.key] for t in tensors if first[t.storage.key] != t.name}
        split = split_state_dict_into_shards_factory(
            {tensor.name: tensor for tensor in tensors if tensor.name not in dropped},
            get_storage_size=lambda tensor: tensor.nbytes,
            filename_pattern="model{suffix}.safetensors",
            max_shard_size=limit,
        )
        made = plan(
            checkpoint_of(*tensors),
            request_for("safetensors", limits=Limits(max_shard_bytes=limit)),
        )
        ours = {shard.filename: [tensor.name for tensor in shard.tensors] for shard in made.shards}
        assert ours == split.filename_to_tensors
        if split.is_sharded:
            assert index_of(made)["metadata"] == {**split.metadata, **dropped}
        for shard in made.shards:
            held = {tensor.name for tensor in shard.tensors}
            own = {alias: kept for alias, kept in dropped.items() if kept in held}
            assert shard.metadata == {"format": "pt", **own}


class TestTies:
    """Tied tensors: shared, recorded, or each with its bytes."""

    shared = Storage(Extent("models/f", 0, 16), "0", crc32=7)
    head, embed, other = (
        floats("lm_head", 4, storage=shared),
        floats("embed", 4, storage=shared),
        floats("x", 2, 16),
    )

    def test_bin_keeps_both_names_on_one_storage(self) -> None:
        """In a `.bin` tied tensors stay one storage, counted once."""
        made = plan(checkpoint_of(self.head, self.embed, self.other), request_for("bin"))
        assert names_of(made) == [["lm_head", "embed", "x"]]
        assert made.total_size == 16 + 8

    def test_recorded_aliases_stay_recorded_in_safetensors(self) -> None:
        """From safetensors to safetensors an alias is recorded in the kept tensor's file and in the
        index.
        """
        source = checkpoint_of(
            self.embed, self.other, format_name="safetensors", aliases={"lm_head": "embed"}
        )
        single = plan(source, request_for("safetensors"))
        assert single.shards[0].metadata == {"format": "pt", "lm_head": "embed"}
        sharded = plan(source, request_for("safetensors", limits=Limits(num_shards=2)))
        assert [shard.metadata for shard in sharded.shards] == [
            {"format": "pt", "lm_head": "embed"},
            {"format": "pt"},
        ]
        assert index_of(sharded)["metadata"] == {"lm_head": "embed", "total_size": 24}

    def test_aliases_count_in_a_strict_single_file(self) -> None:
        """A file that only fits without the metadata of its aliases is divided."""
        source = checkpoint_of(self.head, self.embed, self.other)
        fits = plan(source, request_for("safetensors")).shards[0].size
        for limit, files in ((fits, 1), (fits - 1, 2)):
            made = plan(
                source,
                request_for("safetensors", limits=Limits(max_shard_bytes=limit, strict=True)),
            )
            assert len(made.shards) == files
            assert all(shard.size <= limit for shard in made.shards)


class TestOrder:
    """The order in which tensors are packed."""

    def test_natural_order_counts_numbers(self) -> None:
        """`layers.2` is before `layers.10`, in the shard's tensors as well."""
        tensors = [floats(f"layers.{number}.w", 1, 4 * number) for number in (10, 1, 9, 2)]
        made = plan(checkpoint_of(*tensors), request_for("bin", order="natural"))
        assert names_of(made) == [["layers.1.w", "layers.2.w", "layers.9.w", "layers.10.w"]]

    def test_source_order_is_kept(self) -> None:
        """Without a wish the tensors stay in the order of the source."""
        tensors = [floats(f"layers.{number}.w", 1, 4 * number) for number in (10, 1, 9, 2)]
        assert names_of(plan(checkpoint_of(*tensors), request_for("bin"))) == [
            [tensor.name for tensor in tensors]
        ]

    def test_numbers_of_any_length_are_in_order(self) -> None:
        """Numbers count as numbers, whatever zeros they begin with."""
        names = ["w1", "w02", "w9", "w10", "w" + "9" * 5000, "w1" + "0" * 5000]
        backwards = names[::-1]
        assert sorted(backwards, key=natural_key) == names
        assert natural_key("a007") == natural_key("a7")

    @given(st.lists(st.text(st.sampled_from("a.0123\u0663\u00b2")), min_size=2, max_size=8))
    def test_any_names_can_be_compared(self, names: list[str]) -> None:
        """The natural order is one order for every set of names, digits of other scripts among
        them.
        """
        keys = [natural_key(name) for name in sorted(names, key=natural_key)]
        assert all(one <= other for one, other in itertools.combinations(keys, 2))


class TestNames:
    """The files' names."""

    tensors = tuple(floats(f"t{number}", 1, 4 * number) for number in range(4))

    def test_shards_and_index(self) -> None:
        """Shards are numbered from 1 with five digits, and the index is named after them."""
        made = plan(
            checkpoint_of(*self.tensors), request_for("safetensors", limits=Limits(num_shards=2))
        )
        assert [shard.filename for shard in made.shards] == [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ]
        assert made.loads_from == made.index_filename == "model.safetensors.index.json"

    def test_a_variant_is_where_loaders_look_for_it(self) -> None:
        """A variant is before the shard's number, and before `.json` in the index's name."""
        request = request_for("safetensors", limits=Limits(num_shards=2), variant="fp16")
        made = plan(checkpoint_of(*self.tensors), request)
        assert made.shards[0].filename == "model.fp16-00001-of-00002.safetensors"
        assert made.index_filename == "model.safetensors.index.fp16.json"

    def test_one_file_may_have_any_name(self) -> None:
        """The name that the user gave is used for a single file."""
        made = plan(checkpoint_of(*self.tensors), request_for("bin", filename="weights.bin"))
        assert made.loads_from == "weights.bin"

    def test_more_shards_than_names_is_a_usage_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A plan of more shards than five digits can number is refused; one of just as
        many is not.
        """
        request = request_for("bin", limits=Limits(num_shards=4))
        monkeypatch.setattr("shardctl.planning.plan.MAX_SHARDS", 4)
        assert len(plan(checkpoint_of(*self.tensors), request).shards) == 4
        monkeypatch.setattr("shardctl.planning.plan.MAX_SHARDS", 3)
        with pytest.raises(UsageError, match="4 shards"):
            plan(checkpoint_of(*self.tensors), request)


class TestIndex:
    """What the index keeps of the source's."""

    def test_unknown_metadata_is_kept_and_the_size_is_computed_again(self) -> None:
        """Other keys of the source's index metadata are carried over; `total_size` is what is
        written.
        """
        tensors = [floats("a", 1), floats("b", 1, 4)]
        index = Index("models/i", {"total_size": 1, "total_parameters": 2, "lm": "b"}, {})
        source = checkpoint_of(
            *tensors, format_name="safetensors", index=index, aliases={"lm": "b"}
        )
        made = plan(source, request_for("bin", limits=Limits(num_shards=2)))
        assert index_of(made)["metadata"] == {"total_size": 8, "total_parameters": 2}
        assert index_of(made)["weight_map"]["lm"] == index_of(made)["weight_map"]["b"]


class TestOversizeAndNotes:
    """What the user should know before the work."""

    def test_oversize_tensors_are_named(self) -> None:
        """Tensors that alone are larger than the limit are listed."""
        source = checkpoint_of(floats("big", 10), floats("small", 1, 40))
        assert plan(source, request_for("bin", limits=Limits(max_shard_bytes=20))).oversize == (
            "big",
        )
        assert plan(source, request_for("bin", limits=Limits(max_shard_bytes=40))).oversize == ()
        assert plan(source, request_for("bin", limits=Limits(num_shards=2))).oversize == ()

    def test_great_growth_needs_a_yes(self) -> None:
        """Views that take more than 16 times the bytes that they share are written in full only
        where that was asked for.
        """
        shared = Storage(Extent("models/f", 0, 2**20), "0")
        for size, refused in ((16, False), (17, True)):
            expanded = Tensor("e", F32, (size, 2**18), shared, strides=(0, 1))
            source = checkpoint_of(expanded)
            assert plan(source, request_for("safetensors", tied="expand")).total_size == size << 20
            assert plan(source, request_for("bin")).total_size == 1 << 20
            if not refused:
                assert plan(source, request_for("safetensors")).notes
                continue
            with pytest.raises(
                UsageError, match="'e' alone is a view of 1,048,576 bytes"
            ) as caught:
                plan(source, request_for("safetensors"))
            assert "17,825,792" in caught.value.message
            assert caught.value.tensor == "e"

    def test_views_of_one_storage_grow_together(self) -> None:
        """Many views that are no more than their storage each count as one growth."""
        shared = Storage(Extent("models/f", 0, 2**20), "0")
        views = [Tensor(f"v{at}", F32, (2**17,), shared, offset=at) for at in range(33)]
        with pytest.raises(UsageError, match="the source has 1,048,576 bytes of them"):
            plan(checkpoint_of(*views), request_for("safetensors"))
        assert len(plan(checkpoint_of(*views[:32]), request_for("safetensors")).shards) == 1

    def test_growth_of_an_expanded_tensor_is_said(self) -> None:
        """A tensor that repeats one element and is written a thousandfold is reported, with the
        bytes.
        """
        one = Storage(Extent("models/f", 0, 4), "0")
        expanded = Tensor("e", F32, (1000,), one, strides=(0,))
        notes = plan(checkpoint_of(expanded), request_for("safetensors")).notes
        assert any("3,996" in note and "'e'" in note for note in notes)

    def test_lost_metadata_is_said(self) -> None:
        """What a `.bin` cannot hold of a safetensors file's metadata is named."""
        source = checkpoint_of(
            floats("a", 1), format_name="safetensors", metadata={"format": "pt", "author": "x"}
        )
        (left,) = plan(source, request_for("bin")).left
        assert (left.name, left.kind, left.size) == ("author", "metadata", 1)
        assert left.reason == "a .bin file has no room for metadata"
        (shard,) = plan(source, request_for("safetensors")).shards
        assert shard.metadata == {"format": "pt", "author": "x"}

    def test_renamed_ties_are_not_left_out(self) -> None:
        """What files record of ties under the old names is recorded under the new ones."""
        source = checkpoint_of(floats("a", 1), format_name="safetensors", aliases={"b": "a"})
        (file,) = source.files
        source = replace(source, files=(replace(file, metadata={"b": "a"}),))
        made = plan(source, request_for("safetensors", selection=Selection(add_prefix="x.")))
        assert made.shards[0].metadata["x.b"] == "x.a"
        assert made.left == ()

    def test_metadata_of_tensors_goes_with_them(self) -> None:
        """A key with a value for each tensor is divided like them, or left out with a note."""
        texts = {"a": '{"n": 1}', "b": '{"n": 2}'}
        source = checkpoint_of(
            floats("b", 1), floats("a", 1, 4), format_name="safetensors",
            metadata={"format": "pt", "info": "any"}, tensor_metadata={"info": texts},
        )  # fmt: skip
        request = request_for("safetensors")
        (single,) = plan(source, request).shards
        assert single.metadata == {"format": "pt", "info": '{"b": {"n": 2}, "a": {"n": 1}}'}
        made = plan(source, replace(request, limits=Limits(num_shards=2)))
        assert [shard.metadata["info"] for shard in made.shards] == [
            '{"b": {"n": 2}}',
            '{"a": {"n": 1}}',
        ]
        partial = plan(replace(source, tensor_metadata={"info": {"a": "1"}}), request)
        assert partial.shards[0].metadata == {"format": "pt"}
        assert [(left.name, left.reason) for left in partial.left] == [
            ("info", "not of all tensors that are written")
        ]

    def test_metadata_of_an_index_that_a_single_file_lacks(self) -> None:
        """What an index says beside its sums is named where the result has no index."""
        index = Index("i", {"total_size": 4, "total_parameters": 1, "made": "by"}, {"a": "f"})
        source = replace(checkpoint_of(floats("a", 1), floats("b", 1, 4)), index=index)
        single = plan(source, request_for("bin"))
        assert [(left.name, left.kind) for left in single.left] == [("made", "metadata")]
        two = plan(source, replace(request_for("bin"), limits=Limits(num_shards=2)))
        assert two.left == ()
