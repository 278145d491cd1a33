"""From files to a checkpoint: their headers are read, and what the index says is compared with what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardctl.findings import Finding, Report, report_some
from shardctl.formats import read_file
from shardctl.model import Checkpoint, File, Index, Tensor
from shardctl.naming import parse_weights_name
from shardctl.source.candidates import Candidate
from shardctl.source.locate import Located
from shardctl.source.state_dict import Selection, look, select
from shardctl.stores.base import Store
from shardctl.text import escape

_REPAIR = "write the index anew from the shards' headers: `shardctl index`"


@dataclass(frozen=True, slots=True)
class _Part:
    """A file whose header was read, and what of it belongs to the checkpoint. `path` is as the set names it."""

    path: str
    file: File
    chosen: Selection


def read_checkpoint(
    store: Store,
    located: Located,
    report: Report,
    key: str | None = None,
    *,
    drop_non_tensors: bool = False,
    nested: bool = False,
) -> Checkpoint:
    """Read the headers of the located files, and nothing else.

    Everything wrong with the files, with the set, and with what its index says goes to `report`;
    files without a usable header are left out. `key` chooses a nested state dict; with `nested`,
    and no key, everything is taken, with dotted names. Raises as `select` does for what was asked
    for.
    """
    for finding in located.findings:
        report(finding)
    parts = [
        _Part(
            path, file, _choose(file, path, key, drop_non_tensors=drop_non_tensors, nested=nested)
        )
        for path, file in _read_files(store, located, report)
    ]
    report_some(_mixed_containers(parts), report)
    tensors: dict[str, Tensor] = {}
    report_some(_unite(parts, tensors), report)
    metadata: dict[str, str] = {}
    report_some(_united_metadata(parts, metadata), report)
    recorded: Mapping[str, object] = {} if located.index is None else located.index.metadata
    aliases = _aliases({**recorded, **metadata}, tensors)
    if located.index is not None:
        report_some(_misplaced(store, located, located.index, parts, aliases), report)
    return Checkpoint(
        container=parts[0].file.container if parts else _promised_container(located),
        files=tuple(part.file for part in parts),
        tensors=tuple(tensors.values()),
        metadata={name: value for name, value in metadata.items() if name not in aliases},
        aliases=aliases,
        index=located.index,
        non_tensors=tuple(opaque for part in parts for opaque in part.chosen.non_tensors),
    )


def _read_files(store: Store, located: Located, report: Report) -> Iterator[tuple[str, File]]:
    for path in located.files:
        absent = _absent(store, located, path)
        if absent is not None:
            report(absent)
            continue
        with store.open(path) as reader:
            file = read_file(reader, report)
        if file is not None:
            yield path, file


def _absent(store: Store, located: Located, path: str) -> Finding | None:
    """The finding for a path that has no regular file, links followed."""
    kind = store.kind(path)
    if kind == "file":
        return None
    if kind is not None:
        message = "the name belongs to a folder or a device, not to a file that can be read"
        return Finding(
            "file-not-regular", "error", message, "put the weights file in its place", path
        )
    if located.index is not None:
        message = "the index lists this shard, and it is not there"
        return Finding(
            "index-shard-missing",
            "error",
            message,
            "incomplete download; fetch the missing shard",
            path,
        )
    message = "the name is a link to a file that is not there"
    return Finding(
        "file-not-regular", "error", message, "fetch the model again, or mend the link", path
    )


def _choose(
    file: File, path: str, key: str | None, *, drop_non_tensors: bool, nested: bool
) -> Selection:
    if nested:
        return look(file.tree, path, key)
    return select(file.tree, path, key, drop_non_tensors=drop_non_tensors)


def _mixed_containers(parts: Sequence[_Part]) -> Iterator[Finding]:
    for part in parts:
        first = parts[0]
        if part.file.container != first.file.container:
            message = f"the file is {part.file.container}, and '{escape(first.path)}' of the same set is not"
            hint = "the files are of different checkpoints; fetch the set again"
            yield Finding("header-invalid", "error", message, hint, part.path)


def _promised_container(located: Located) -> str:
    return "safetensors" if located.suffix == ".safetensors" else "bin"


def _unite(parts: Sequence[_Part], tensors: dict[str, Tensor]) -> Iterator[Finding]:
    """Fill `tensors` by name, in source order; of one that several files hold, the first file's counts."""
    for part in parts:
        for tensor in part.chosen.tensors:
            first = tensors.setdefault(tensor.name, tensor)
            if first is not tensor:
                yield _twice(part.path, tensor.name, first.storage.extent.path)


def _twice(path: str, name: str, other: str) -> Finding:
    parsed = parse_weights_name(other.replace("\\", "/").rsplit("/", 1)[-1])
    if parsed is not None and parsed.style == "rank":
        hint = "these are slices for several devices, not shards: join them with the model's own conversion script"
    else:
        hint = "the files are of different saves, or one is left over; remove it, or name one file to use it alone"
    return Finding(
        "tensor-in-several-shards",
        "error",
        f"the tensor is also in '{escape(other)}'",
        hint,
        path,
        name,
    )


def _united_metadata(parts: Sequence[_Part], united: dict[str, str]) -> Iterator[Finding]:
    """Fill `united` with the files' own pairs; of a key with several values, the first file's counts."""
    for part in parts:
        for key, value in part.file.metadata.items():
            if united.setdefault(key, value) != value:
                message = f"the metadata '{escape(key)}' has another value than in the files before"
                hint = "the first value is kept; make sure that it is the right one"
                yield Finding("metadata-conflict", "note", message, hint, part.path)


def _aliases(metadata: Mapping[str, object], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The names that are recorded as tied to a tensor, as the hub records them: `dropped: kept`."""
    return {
        name: kept
        for name, kept in metadata.items()
        if name != "format" and name not in tensors and isinstance(kept, str) and kept in tensors
    }


def _misplaced(
    store: Store, located: Located, index: Index, parts: Sequence[_Part], aliases: Mapping[str, str]
) -> Iterator[Finding]:
    """Where the index and the files that it lists differ. A shard that could not be read is not held against it."""
    shards = located.names(store)
    listed = index.weight_map
    # Where all is well, as it mostly is, that is seen without a second map of every tensor.
    placed = sum(
        listed.get(tensor.name) == shards[part.path]
        for part in parts
        for tensor in part.chosen.tensors
    )
    if placed == len(listed) == sum(len(part.chosen.tensors) for part in parts):
        return
    holds = {shards[part.path]: {tensor.name for tensor in part.chosen.tensors} for part in parts}
    homes = {tensor: shard for shard, held in reversed(holds.items()) for tensor in held}
    for tensor, shard in listed.items():
        if shard not in holds or tensor in holds[shard] or tensor in aliases:
            continue
        if tensor in homes:
            message = f"the index places the tensor in '{escape(shard)}', and it is in '{escape(homes[tensor])}'"
            yield Finding("index-tensor-misplaced", "error", message, _REPAIR, index.path, tensor)
        else:
            message = f"the index places the tensor in '{escape(shard)}', and no shard holds it"
            hint = f"fetch that shard again, or {_REPAIR}"
            yield Finding("index-tensor-missing", "error", message, hint, index.path, tensor)
    for tensor, shard in homes.items():
        if tensor not in listed:
            message = f"the tensor is in '{escape(shard)}', and the index does not list it"
            yield Finding("index-tensor-unlisted", "error", message, _REPAIR, index.path, tensor)


def loader_choices(choices: list[Candidate]) -> dict[str, str]:
    """Which file each loader would take of a folder with these checkpoints.

    Source: `_get_resolved_checkpoint_files` of transformers, `load_torch_model` of huggingface_hub,
    `load_checkpoint_in_model` of accelerate.
    """
    plain = [candidate for candidate in choices if candidate.variant is None]
    there = {candidate.choice for candidate in plain}
    indexes = sorted(candidate.choice for candidate in choices if candidate.index is not None)
    single, single_bin = "model.safetensors", "pytorch_model.bin"
    sharded, sharded_bin = f"{single}.index.json", f"{single_bin}.index.json"
    orders = {
        "transformers": (single, sharded, single_bin, sharded_bin),
        "huggingface_hub": (sharded, single, sharded_bin, single_bin),
        "accelerate": (single_bin, single, *(indexes if len(indexes) == 1 else ())),
    }
    return {
        loader: next((name for name in order if name in there), "none")
        for loader, order in orders.items()
    }
