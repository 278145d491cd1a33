"""Tied tensors, one under several names: what of them a format can keep. Pure functions.

A format without aliases keeps one of the names, and that choice leaves the hub's rule, which is the
alphabetically first. Base-model classes (`LlamaModel`, `T5EncoderModel`), the GGUF converter and
mergekit look for the input embedding, which is the one that the model's own save keeps; of a tied
Llama the hub's rule keeps `lm_head.weight`, and they make random embeddings or stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum

from shardctl.columns import Tensors
from shardctl.formats.base import Format
from shardctl.formats.registry import reserved_metadata
from shardctl.model import Checkpoint, Tensor
from shardctl.planning.request import Tied
from shardctl.storages import own_storage, tied_names

#: The key of an index's metadata that loaders read.
_TOTAL_SIZE = "total_size"

#: Modules that hold input embeddings, and modules that only use them for their output. Source: the
#: names on either side of `_tied_weights_keys` in the models of transformers 5.23, and those of
#: the original releases of Llama, Whisper and GPT-NeoX.
_EMBEDDINGS = frozenset(
    (
        "embed", "embed_in", "embed_tokens", "embedding", "embeddings", "shared", "tok_embeddings",
        "token_embedding", "token_embeddings", "tokens_embed", "word_embedding", "word_embeddings",
        "wte",
    )
)  # fmt: skip
_HEADS = frozenset(
    (
        "embed_out", "generator_lm_head", "head", "lm_head", "lm_loss", "output",
        "output_projection", "pred_layer", "proj_out", "vocab_projector",
    )
)  # fmt: skip


class _Rank(IntEnum):
    """What a tensor is by its name; of tied tensors, the least is kept."""

    EMBEDDING = 0
    OF_ENCODER = 1
    OF_DECODER = 2
    OTHER = 3
    HEAD = 4


def resolve_ties(
    checkpoint: Checkpoint, target: Format, tied: Tied
) -> tuple[Sequence[Tensor], dict[str, str]]:
    """Return the tensors to write, in source order, and the names that are only recorded.

    These are given as `alias: kept name`.

    With "share", a format whose tensors share storages keeps every name, and names that the source
    only recorded get their storage back. One that has metadata instead keeps one name of tied
    tensors, that of the input embedding or else the first in the source's order, and records the
    others. An embedding that the source only recorded gets its name back. With "expand", and in a
    format that has neither, every name gets a copy of the bytes.
    """
    if tied == "share" and not target.shares_storages and target.has_metadata:
        return _with_recorded_names(checkpoint)
    shared = tied == "share" and target.shares_storages
    # What is kept as columns shares no storage.
    if not checkpoint.aliases and (shared or isinstance(checkpoint.tensors, Tensors)):
        return checkpoint.tensors, {}
    by_kept = aliases_by_kept(checkpoint.aliases)
    every = [
        named
        for tensor in checkpoint.tensors
        for named in (
            tensor,
            *(replace(tensor, name=alias) for alias in by_kept.get(tensor.name, ())),
        )
    ]
    return (every if shared else [own_storage(tensor) for tensor in every]), {}


def _with_recorded_names(checkpoint: Checkpoint) -> tuple[Sequence[Tensor], dict[str, str]]:
    # A name that means something else in the metadata cannot be recorded there, so it gets a copy
    # of the bytes.
    reserved = {
        _TOTAL_SIZE,
        *reserved_metadata(),
        *checkpoint.metadata,
        *(checkpoint.index.metadata if checkpoint.index else ()),
    } - set(checkpoint.aliases)
    aliases = dict(checkpoint.aliases)
    renamed: dict[str, str] = {}
    for held, recorded in _tied(checkpoint):
        kept = min(held, key=_preference)
        embedding = min(recorded, key=_preference, default=kept)
        if _is_meant(checkpoint, kept, embedding) and kept not in reserved:
            renamed[kept] = embedding
        for name in (*held, *recorded):
            if name not in reserved:
                aliases[name] = renamed.get(kept, kept)
    dropped = {name for name, kept in aliases.items() if name != kept} - set(renamed)
    tensors = checkpoint.tensors
    if renamed or dropped:
        tensors = [
            replace(tensor, name=renamed[tensor.name]) if tensor.name in renamed else tensor
            for tensor in tensors
            if tensor.name not in dropped
        ]
    return tensors, {name: kept for name, kept in aliases.items() if name != kept}


def _tied(checkpoint: Checkpoint) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the names of each set of tied tensors: those that are held, and those only recorded."""
    recorded = aliases_by_kept(checkpoint.aliases)
    for held in tied_names(checkpoint.tensors):
        yield held, [alias for name in held for alias in recorded.pop(name, ())]
    for name, aliases in recorded.items():
        yield [name], aliases


def _is_meant(checkpoint: Checkpoint, kept: str, recorded: str) -> bool:
    """Whether a recorded name is the embedding, and the one that has the bytes is not.

    Metadata for each tensor goes by the name that it has.
    """
    return _rank(recorded) < min(_rank(kept), _Rank.OTHER) and not any(
        kept in texts for texts in checkpoint.tensor_metadata.values()
    )


def _preference(name: str) -> tuple[_Rank, int]:
    """Return what decides which of tied tensors is kept; of equal ones it is the first.

    An embedding is kept before its copies in sub-modules, whose names have more parts.
    """
    rank = _rank(name)
    return rank, name.count(".") if rank is _Rank.EMBEDDING else 0


def _rank(name: str) -> _Rank:
    *modules, last = name.removesuffix(".weight").split(".")
    if last not in _EMBEDDINGS:
        return _Rank.OTHER if _HEADS.isdisjoint((*modules, last)) else _Rank.HEAD
    if any(module.endswith("decoder") for module in modules):
        return _Rank.OF_DECODER
    if any(module.endswith("encoder") for module in modules):
        return _Rank.OF_ENCODER
    return _Rank.EMBEDDING


def aliases_by_kept(aliases: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the recorded names of each tensor, by the name that is kept."""
    by_kept: dict[str, list[str]] = {}
    for alias, kept in aliases.items():
        by_kept.setdefault(kept, []).append(alias)
    return by_kept
