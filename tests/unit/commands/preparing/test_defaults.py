"""The complete request: what was not asked for follows from the source and the target."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from shardctl.commands.preparing.defaults import complete, measure_of
from shardctl.commands.target.resolve import resolve_target
from shardctl.errors import UsageError
from shardctl.findings import strict
from shardctl.planning.plan import make_plan
from shardctl.planning.request import Limits, Request, WriteOptions, options_of
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.testing.memory import MemoryStore
from tests.support.dcp_files import Slice, Whole, put_dcp
from tests.support.memory_checkpoints import put, sample, weights


def request_for(target: str, options: WriteOptions) -> Request:
    """The request for a small checkpoint of one safetensors file."""
    store = MemoryStore()
    sample(store)
    located = find_source(store, "m")
    place = resolve_target(store, target, one_file=options.limits is not None)
    return complete(options, located, read_checkpoint(store, located, strict), place, None)


def test_what_was_not_asked_for_follows_from_the_source() -> None:
    """Container, names and the number of shards are those of the source."""
    request = request_for("out", WriteOptions(limits=None))
    assert (request.format, request.suffix, request.stem) == (
        "safetensors",
        ".safetensors",
        "model",
    )
    assert request.limits == Limits(num_shards=1, or_fewer=True)
    assert (request.variant, request.filename) == (None, None)


@pytest.mark.parametrize(
    ("name", "first"),
    [("model.fp16.safetensors.index.json", True), ("model.safetensors.index.fp16.json", False)],
)
def test_an_index_keeps_the_form_of_its_name(name: str, first: bool) -> None:
    """Where the source's index has its variant, that of the target has it too."""
    store = MemoryStore()
    shard = "model.fp16-00001-of-00001.safetensors"
    put(store, f"m/{shard}", weights({"a": b"1", "b": b"2"}))
    put(
        store,
        f"m/{name}",
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys("ab", shard)}).encode(),
    )
    located = find_source(store, "m")
    place = resolve_target(store, "out", one_file=False)
    checkpoint = read_checkpoint(store, located, strict)
    options = WriteOptions(limits=Limits(num_shards=2))
    request = complete(options, located, checkpoint, place, None)
    assert request.variant_first is first
    assert make_plan(checkpoint, request, measure_of(request)).index_filename == name


@pytest.mark.parametrize(
    ("index", "variant", "expected"),
    [
        ("model.fp16.safetensors.index.json", None, True),
        ("model.fp16.safetensors.index.json", "bf16", True),
        ("model.fp16.safetensors.index.json", "", False),
        ("model.safetensors.index.fp16.json", None, False),
        ("model.safetensors.index.json", "fp16", False),
    ],
)
def test_the_variant_of_an_index_keeps_its_place(
    index: str, variant: str | None, expected: bool
) -> None:
    """A source with an index that the hub's library named is written under the name it finds."""
    store = MemoryStore()
    name = "model.fp16" if "fp16" in index else "model"
    listed = {}
    for number, tensor in enumerate("ab", start=1):
        shard = f"{name}-0000{number}-of-00002.safetensors"
        listed[tensor] = shard
        put(store, f"m/{shard}", weights({tensor: b"x"}))
    put(store, f"m/{index}", json.dumps({"weight_map": listed}).encode())
    located = find_source(store, "m")
    request = complete(
        WriteOptions(limits=None, variant=variant),
        located,
        read_checkpoint(store, located, strict),
        resolve_target(store, "out", one_file=False),
        None,
    )
    assert request.variant_first is expected
    assert ("variant_first" in options_of(request)) == expected


def test_the_suffix_of_the_target_says_the_format() -> None:
    """A target that ends in `.bin` is one, under the name that was given."""
    request = request_for("x.bin", WriteOptions(limits=Limits()))
    assert (request.format, request.filename) == ("bin", "x.bin")


def test_to_and_suffix_must_agree() -> None:
    """--to that contradicts the target's suffix is a usage error."""
    with pytest.raises(UsageError, match="contradicts"):
        request_for("x.bin", WriteOptions(limits=Limits(), format="safetensors"))


def test_a_format_of_several_files_needs_a_directory() -> None:
    """A target with a suffix is one file: the error names a directory as the way on."""
    with pytest.raises(UsageError, match=r"writes a directory, and 'x\.safetensors'") as caught:
        request_for("x.safetensors", WriteOptions(limits=Limits(), format="dcp"))
    assert "name a directory" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["a/b", "..", "a\0b"])
def test_names_must_be_parts_of_names(name: str) -> None:
    """--name and --variant that lead elsewhere, or that no file can have, are usage errors."""
    for options in (WriteOptions(limits=None, stem=name), WriteOptions(limits=None, variant=name)):
        with pytest.raises(UsageError, match="cannot be part of a file's name"):
            request_for("out", options)


def test_a_format_with_fixed_names_takes_no_others() -> None:
    """A name, or a variant that is not the source's, is of no use to it."""
    options = WriteOptions(limits=None, format="dcp")
    request = request_for("out", options)
    assert (request.format, request.stem, request.variant) == ("dcp", "model", None)
    for named in (replace(options, stem="x"), replace(options, variant="fp16")):
        with pytest.raises(UsageError, match="fixed names"):
            request_for("out", named)


def test_the_number_of_shards_is_that_of_the_files_with_tensors() -> None:
    """The file that lists the others is not counted, where the checkpoint has one."""
    store = MemoryStore()
    part = Slice((0,), torch.ones(2))
    put_dcp(store, "d", {"a": Whole((2,), (part,)), "b": Whole((2,), (replace(part, rank=1),))})
    located = find_source(store, "d")
    place = resolve_target(store, "out", one_file=False)
    checkpoint = read_checkpoint(store, located, strict)
    request = complete(WriteOptions(limits=None), located, checkpoint, place, None)
    assert (request.format, request.limits.num_shards) == ("safetensors", 2)


def test_a_file_cannot_be_a_piece() -> None:
    """A target with the suffix of files that mean nothing alone is refused, and not a directory."""
    with pytest.raises(UsageError, match="not written alone") as refused:
        request_for("x.distcp", WriteOptions(limits=Limits()))
    assert "name a directory" in str(refused.value.hint)


def test_a_request_is_measured_in_its_format() -> None:
    """The size without a tensor is that of the format's empty file."""
    assert measure_of(request_for("out", WriteOptions(limits=None)))([], {}) == 16
