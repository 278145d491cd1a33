"""Where tensors are: what index and shards say of it, and which names are only recorded as tied."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from shardctl.columns import names_of
from shardctl.findings import Finding
from shardctl.formats.registry import all_suffixes, reserved_metadata
from shardctl.model import Index, Tensor
from shardctl.naming import parse_weights_name
from shardctl.source.metadata import FilePairs
from shardctl.text import escape, plural
from shardctl.weight_map import names_by_shard

_REPAIR = "write the index again from the shards' headers with `reindex`"
#: What to do with an index whose tensors are gone: it is not replaced by one without them.
MAKE_NEW = (
    "if nothing is missing, move the index to another directory, and make a new one with `reindex`"
)


def recorded_aliases(
    index: Index | None, files: Sequence[FilePairs], tensors: Container[str]
) -> dict[str, str]:
    """Return the names recorded as tied to a tensor, as the hub records them: `dropped: kept`.

    They are recorded in the index, or in the file that holds the tensor: a pair of texts in any
    other file's metadata is not such a record. `tensors` are the names of all tensors.
    """
    reserved = reserved_metadata()
    recorded: list[tuple[Mapping[str, object], Container[str]]] = [
        (file.pairs, file.tensors) for file in files
    ]
    if index is not None:
        recorded.append((index.metadata, tensors))
    return {
        name: kept
        for metadata, held in reversed(recorded)
        for name, kept in metadata.items()
        if isinstance(kept, str) and name not in reserved and name not in tensors and kept in held
    }


def as_listed(index: Index, held: Mapping[str, Sequence[Tensor]]) -> bool:
    """Whether an index lists the tensors that its shards hold, each once, and no others.

    `held` are the tensors of each shard. No map of every tensor is made for that.
    """
    if sum(map(len, held.values())) != len(index.weight_map):
        return False
    listed = names_by_shard(index.weight_map)
    return all(_same(listed.get(shard, ()), tensors) for shard, tensors in held.items())


def _same(listed: Sequence[str], tensors: Sequence[Tensor]) -> bool:
    names = set(names_of(tensors))
    return len(names) == len(tensors) == len(listed) and names.issuperset(listed)


def misplaced(
    index: Index,
    held: Mapping[str, Sequence[Tensor]],
    incomplete: Container[str],
    aliases: Mapping[str, str],
) -> Iterator[Finding]:
    """Yield where the index and the shards that it lists differ; `held` are the tensors of each.

    Tensors are missing only from shards that were read whole: of those in `incomplete`, what is
    wrong with them is the cause.
    """
    listed = index.weight_map
    holds = {shard: set(names_of(tensors)) for shard, tensors in held.items()}
    homes = {tensor: shard for shard, names in reversed(holds.items()) for tensor in names}
    if homes and not any(
        tensor in homes or tensor in aliases or shard not in holds or shard in incomplete
        for tensor, shard in listed.items()
    ):
        yield _of_another(index, len(homes))
        return
    for tensor, shard in listed.items():
        if shard not in holds or shard in incomplete or tensor in holds[shard]:
            continue
        if tensor in aliases:
            yield _listed_alias(index, tensor, aliases[tensor], homes[aliases[tensor]])
        elif tensor in homes:
            message = (
                f"the index places the tensor in '{escape(shard)}', and it is in "
                f"'{escape(homes[tensor])}'"
            )
            yield Finding("index-tensor-misplaced", "error", message, _REPAIR, index.path, tensor)
        else:
            message = f"the index places the tensor in '{escape(shard)}', and no shard holds it"
            hint = f"fetch that shard again; {MAKE_NEW}"
            yield Finding("index-tensor-missing", "error", message, hint, index.path, tensor)
    for tensor, shard in homes.items():
        if tensor not in listed:
            message = f"the tensor is in '{escape(shard)}', and the index does not list it"
            yield Finding("index-tensor-unlisted", "error", message, _REPAIR, index.path, tensor)


def _of_another(index: Index, held: int) -> Finding:
    """Return the finding for an index that has no tensor in common with the files that it lists."""
    listed = index.weight_map
    first = next(iter(listed))
    message = (
        f"the index is of another checkpoint: its files hold {plural(held, 'tensor')}, and none of "
        f"the {len(listed):,} that it lists, of which the first is '{escape(first)}'"
    )
    hint = f"fetch the index again; {MAKE_NEW}"
    return Finding("index-tensor-missing", "error", message, hint, index.path, first)


def _listed_alias(index: Index, alias: str, kept: str, home: str) -> Finding:
    """The finding for a name that the index lists and that is only recorded as tied to `kept`."""
    shard = index.weight_map[alias]
    if shard == home:
        message = f"no shard holds the tensor, which is only recorded as tied to '{escape(kept)}'"
        hint = f"loaders that do not tie the two miss it; {_REPAIR}"
        return Finding("index-tensor-missing", "warning", message, hint, index.path, alias)
    message = (
        f"the index places the tensor in '{escape(shard)}', and '{escape(kept)}', to which it is "
        f"tied, is in '{escape(home)}'"
    )
    return Finding("index-tensor-misplaced", "error", message, _REPAIR, index.path, alias)


def overlaid(path: str, name: str, kept: str, *, last: str) -> Finding:
    """Return the finding for a tensor that the index places in `kept`, and `path` has as well.

    transformers takes the tensor of the `last` file, whatever the index says.
    """
    message = f"the tensor is also in '{escape(kept)}', where the index places it: that one is read"
    if last == kept:
        hint = "this one is not used; writing the checkpoint again leaves it out"
        return Finding("tensor-in-several-shards", "note", message, hint, path, name)
    message += ", and transformers takes this one, because its file is the last in order"
    hint = "write the checkpoint again, so that each tensor is in one file only"
    return Finding("tensor-in-several-shards", "warning", message, hint, path, name)


def twice(path: str, name: str, other: str) -> Finding:
    """Return the finding for a tensor in two files between which no index decides."""
    parsed = parse_weights_name(other.replace("\\", "/").rsplit("/", 1)[-1], all_suffixes())
    if parsed is not None and parsed.style == "rank":
        hint = (
            "these are slices for several devices, not shards: join them with the model's "
            "conversion script"
        )
    else:
        hint = (
            "the files are from different saves, or one is left over: remove it, or name one file "
            "to use it alone"
        )
    return Finding(
        "tensor-in-several-shards",
        "error",
        f"the tensor is also in '{escape(other)}'",
        hint,
        path,
        name,
    )
