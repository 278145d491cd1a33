"""How the files of a plan are called, and the one that lists the tensors of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shardctl.columns import names_of
from shardctl.formats.index import build_index
from shardctl.formats.registry import by_name
from shardctl.model import Checkpoint, Tensor
from shardctl.naming import index_filename, shard_filename
from shardctl.planning.carried import NotCarried, left_pair
from shardctl.planning.request import Request

#: What an index records of its shards, and is computed for each set.
_SUMS = ("total_size", "total_parameters")


def filename(request: Request, number: int, count: int) -> str:
    """Return the name of a file of tensors by its number, from 1."""
    load = by_name(request.format).load_listing
    if load is not None:
        return load().name(number)
    if count == 1 and request.filename is not None:
        return request.filename
    return shard_filename(request.stem, request.suffix, request.variant, number, count)


def listing(
    checkpoint: Checkpoint,
    request: Request,
    files: Mapping[str, Sequence[Tensor]],
    total_size: int,
    aliases: Mapping[str, str],
) -> tuple[str, bytes] | None:
    """Return the name and the bytes of what lists the tensors of each file; None if nothing does.

    `total_size` are the bytes of all tensors, `aliases` the names that are only recorded, with
    those that are kept.
    """
    written = by_name(request.format)
    if written.listed_by is not None and written.load_listing is not None:
        return written.listed_by, written.load_listing().listed(files, request.block)
    if len(files) == 1:
        return None
    metadata = {**_kept(checkpoint), **aliases, "total_size": total_size}
    name = index_filename(
        request.stem, request.suffix, request.variant, variant_first=request.variant_first
    )
    return name, build_index(metadata, {name: names_of(some) for name, some in files.items()})


def _kept(checkpoint: Checkpoint) -> dict[str, object]:
    """Return what the source's index records, but for the names of tied tensors."""
    recorded = {} if checkpoint.index is None else checkpoint.index.metadata
    return {key: value for key, value in recorded.items() if key not in checkpoint.aliases}


def left_of_index(checkpoint: Checkpoint, request: Request, count: int) -> Iterator[NotCarried]:
    """Yield the metadata of the source's index that so many files do not have."""
    has_own = by_name(request.format).listed_by is not None
    if count > 1 and not has_own:
        return
    reason = "metadata of the index, which a single file does not need"
    if has_own:
        reason = f"metadata of the index, which files of the format '{request.format}' do not have"
    for key, value in _kept(checkpoint).items():
        if key not in _SUMS and checkpoint.metadata.get(key) != value:
            yield left_pair(key, value, reason)
