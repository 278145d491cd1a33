"""Tied tensors: which are, and what becomes of them in each format."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.formats.registry import by_name
from shardctl.model import Extent, Index, Storage, Tensor
from shardctl.planning.grouping.ties import resolve_ties
from shardctl.storages import tied_names
from tests.support.tensors import F32, checkpoint_of, floats

SHARED = Storage(Extent("models/f", 0, 16), "0", crc32=7)
HEAD, EMBED, OTHER = (
    floats("lm_head", 4, storage=SHARED),
    floats("embed", 4, storage=SHARED),
    floats("x", 2, 16),
)


def test_names_of_one_tensor() -> None:
    """Each set of tied tensors is reported with its names in order; other views of the storage and
    other files are not.
    """
    view = Tensor("v", F32, (2,), SHARED, offset=1)
    elsewhere = floats("lm_head", 4, storage=Storage(Extent("models/g", 0, 16), "0"))
    assert list(tied_names([HEAD, OTHER, view, EMBED, elsewhere])) == [["lm_head", "embed"]]
    assert list(tied_names([HEAD, OTHER])) == []


def test_safetensors_writes_one_name_and_records_the_others() -> None:
    """The input embedding is written at its place; the other is recorded with its name."""
    tensors, aliases = resolve_ties(
        checkpoint_of(HEAD, OTHER, EMBED), by_name("safetensors"), "share"
    )
    assert [tensor.name for tensor in tensors] == ["x", "embed"]
    assert aliases == {"lm_head": "embed"}


@pytest.mark.parametrize("name", ["bin", "safetensors"])
def test_expand_gives_every_name_its_own_bytes(name: str) -> None:
    """With `expand` nothing is tied any more, and each copy carries the checksum of the whole
    storage.
    """
    tensors, aliases = resolve_ties(checkpoint_of(HEAD, EMBED), by_name(name), "expand")
    assert [tensor.name for tensor in tensors] == ["lm_head", "embed"]
    assert aliases == {}
    assert len({tensor.storage.identity for tensor in tensors}) == 2
    assert {tensor.storage.crc32 for tensor in tensors} == {7}


def test_expand_writes_only_the_own_bytes_of_a_view() -> None:
    """A view that is expanded has a storage of just its span, cut from the one whose checksum is
    known.
    """
    view = Tensor("v", F32, (2,), SHARED, offset=1)
    (tensor,), _ = resolve_ties(checkpoint_of(view), by_name("bin"), "expand")
    assert tensor.storage.extent == Extent("models/f", 4, 8)
    assert tensor.storage.crc32 is None
    assert tensor.storage.recorded == SHARED
    assert tensor.span == view.span


def test_a_transposed_view_is_not_tied() -> None:
    """A tensor with the same bytes but other strides keeps separate bytes in safetensors."""
    square = Tensor("a", F32, (2, 2), SHARED)
    transposed = Tensor("b", F32, (2, 2), SHARED, strides=(1, 2))
    tensors, aliases = resolve_ties(
        checkpoint_of(square, transposed), by_name("safetensors"), "share"
    )
    assert [tensor.name for tensor in tensors] == ["a", "b"]
    assert aliases == {}


def test_empty_tensors_are_not_tied() -> None:
    """Two empty tensors of one storage are both written."""
    empty = Storage(Extent("models/f", 0, 0), "0")
    tensors, aliases = resolve_ties(
        checkpoint_of(floats("a", 0, storage=empty), floats("b", 0, storage=empty)),
        by_name("safetensors"),
        "share",
    )
    assert [tensor.name for tensor in tensors] == ["a", "b"]
    assert aliases == {}


def test_recorded_aliases_come_back_in_bin() -> None:
    """A name that a safetensors source only recorded gets its storage back in a `.bin`."""
    source = checkpoint_of(EMBED, OTHER, format_name="safetensors", aliases={"lm_head": "embed"})
    tensors, aliases = resolve_ties(source, by_name("bin"), "share")
    assert [tensor.name for tensor in tensors] == ["embed", "lm_head", "x"]
    assert tensors[0].identity == tensors[1].identity
    assert aliases == {}


def test_an_alias_of_an_alias_names_the_tensor_with_bytes() -> None:
    """Where a recorded alias names a tensor that becomes an alias itself, both name the one that is
    written.
    """
    source = checkpoint_of(HEAD, EMBED, aliases={"old": "lm_head"})
    _, aliases = resolve_ties(source, by_name("safetensors"), "share")
    assert aliases == {"old": "embed", "lm_head": "embed"}


@pytest.mark.parametrize("name", ["format", "total_size", "author", "total_parameters"])
def test_a_name_that_the_metadata_needs_is_written_in_full(name: str) -> None:
    """A tied tensor whose name is a key of the metadata is not recorded there over what is
    there.
    """
    twin = replace(EMBED, name=name)
    first = replace(EMBED, name="a")
    index = Index("models/i", {"total_size": 1, "total_parameters": 2}, {})
    source = checkpoint_of(first, twin, metadata={"format": "pt", "author": "x"}, index=index)
    tensors, aliases = resolve_ties(source, by_name("safetensors"), "share")
    assert [tensor.name for tensor in tensors] == ["a", name]
    assert aliases == {}


#: Tied names, the one first that the model's own save keeps.
OWN_SAVES = (
    ("model.embed_tokens.weight", "lm_head.weight"),
    ("model.language_model.embed_tokens.weight", "lm_head.weight"),
    (
        "shared.weight",
        "decoder.embed_tokens.weight",
        "encoder.embed_tokens.weight",
        "lm_head.weight",
    ),
    (
        "model.shared.weight",
        "model.decoder.embed_tokens.weight",
        "model.encoder.embed_tokens.weight",
    ),
    ("model.decoder.embed_tokens.weight", "lm_head.weight"),
    ("model.decoder.embed_tokens.weight", "proj_out.weight"),
    ("transformer.wte.weight", "lm_head.weight"),
    ("transformer.word_embeddings.weight", "lm_head.weight"),
    ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    ("tok_embeddings.weight", "output.weight"),
    ("gpt_neox.embed_in.weight", "embed_out.weight"),
    ("backbone.embeddings.weight", "lm_head.weight"),
    ("shared.weight", "text_encoder.embed_tokens.weight", "text_decoder.embed_tokens.weight"),
    ("encoder.text_model.embed_tokens.weight", "decoder.embed_tokens.weight"),
    ("model.embed_tokens.weight", "model.layers.61.embed_tokens.weight"),
    ("model.embed_tokens.weight", "draft.layers.0.embed_tokens.weight", "draft.lm_head.weight"),
    ("transformer.w.weight", "lm_head.weight"),
)


@pytest.mark.parametrize("names", OWN_SAVES, ids=lambda names: names[0])
def test_the_name_of_the_own_save_is_kept_whatever_the_order(names: tuple[str, ...]) -> None:
    """Of tied tensors the input embedding is written before its copies and the output head."""
    for order in (names, sorted(names), sorted(names, reverse=True)):
        source = checkpoint_of(*(replace(EMBED, name=name) for name in order))
        tensors, aliases = resolve_ties(source, by_name("safetensors"), "share")
        assert [tensor.name for tensor in tensors] == [names[0]]
        assert aliases == dict.fromkeys(names[1:], names[0])


def test_other_tied_tensors_keep_the_first_name() -> None:
    """Where no name is that of an embedding or a head, the first in the source's order is kept."""
    source = checkpoint_of(replace(EMBED, name="z.block"), OTHER, replace(EMBED, name="a.block"))
    tensors, aliases = resolve_ties(source, by_name("safetensors"), "share")
    assert [tensor.name for tensor in tensors] == ["z.block", "x"]
    assert aliases == {"a.block": "z.block"}


def test_an_embedding_that_was_only_recorded_gets_its_name_back() -> None:
    """A file that keeps the output head is written with the embedding, and the head recorded."""
    held, recorded = "lm_head.weight", "model.embed_tokens.weight"
    source = checkpoint_of(
        replace(EMBED, name=held), OTHER, format_name="safetensors", aliases={recorded: held}
    )
    tensors, aliases = resolve_ties(source, by_name("safetensors"), "share")
    assert [tensor.name for tensor in tensors] == [recorded, "x"]
    assert aliases == {held: recorded}


def test_a_tensor_with_metadata_of_its_name_keeps_it() -> None:
    """A tensor is not renamed where metadata describes it by the name that it has."""
    held, recorded = "lm_head.weight", "model.embed_tokens.weight"
    source = checkpoint_of(
        replace(EMBED, name=held),
        format_name="safetensors",
        aliases={recorded: held},
        tensor_metadata={"INFO": {held: "{}"}},
    )
    tensors, aliases = resolve_ties(source, by_name("safetensors"), "share")
    assert [tensor.name for tensor in tensors] == [held]
    assert aliases == {recorded: held}
