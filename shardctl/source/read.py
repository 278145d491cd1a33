"""From files to a checkpoint: their headers are read, and what the index says is compared with what they hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardctl.findings import Capped, Finding, Report
from shardctl.formats.detection import read_file
from shardctl.formats.registry import all_suffixes, reserved_metadata
from shardctl.model import Checkpoint, File, Index, Tensor
from shardctl.naming import parse_weights_name
from shardctl.source.locate import Located
from shardctl.source.state_dict import Selection, flatten, select
from shardctl.stores.base import Store
from shardctl.text import escape

_REPAIR = "write the index again from the shards' headers with `reindex`"


#: Called for each file that is opened: its path, its size in bytes, and the number of files.
Opened = Callable[[str, int, int], None]


def unseen(path: str, size: int, files: int) -> None:
    """Do nothing with a file that is opened."""


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
    opened: Opened = unseen,
) -> Checkpoint:
    """Read the headers of the located files, and nothing else. `opened` is called for each.

    Everything wrong with the files, with the set, and with what its index says goes to `report`: of
    each code and severity the first hundred, and how many more there are. Files without a usable
    header are left out. `key` chooses a nested state dict; with `nested`, and no key, everything is
    taken, with dotted names. Raises as `select` does for what was asked for.
    """
    capped = Capped(report)
    checkpoint = _read(
        store,
        located,
        capped,
        lambda file, path: _choose(
            file, path, key, drop_non_tensors=drop_non_tensors, nested=nested
        ),
        opened,
    )
    capped.close()
    return checkpoint


def _read(
    store: Store,
    located: Located,
    report: Report,
    choose: Callable[[File, str], Selection],
    opened: Opened,
) -> Checkpoint:
    for finding in located.findings:
        report(finding)
    parts = [
        _Part(path, file, choose(file, path))
        for path, file in _read_files(store, located, report, opened)
    ]
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for finding in itertools.chain(
        _mixed_formats(parts), _unite(parts, tensors), _united_metadata(parts, metadata)
    ):
        report(finding)
    recorded: Mapping[str, object] = {} if located.index is None else located.index.metadata
    aliases = _aliases({**recorded, **metadata}, tensors)
    if located.index is not None:
        for finding in _misplaced(store, located, located.index, parts, aliases):
            report(finding)
    return Checkpoint(
        format=parts[0].file.format if parts else located.format,
        files=tuple(part.file for part in parts),
        tensors=tuple(tensors.values()),
        metadata={name: value for name, value in metadata.items() if name not in aliases},
        aliases=aliases,
        index=located.index,
        non_tensors=tuple(opaque for part in parts for opaque in part.chosen.non_tensors),
    )


def _read_files(
    store: Store, located: Located, report: Report, opened: Opened
) -> Iterator[tuple[str, File]]:
    for path in located.files:
        absent = _absent(store, located, path)
        if absent is not None:
            report(absent)
            continue
        with store.open(path) as reader:
            opened(path, reader.version.size, len(located.files))
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
    if nested and key is None:
        return flatten(file.tree)
    return select(file.tree, path, key, drop_non_tensors=drop_non_tensors)


def _mixed_formats(parts: Sequence[_Part]) -> Iterator[Finding]:
    for part in parts:
        first = parts[0]
        if part.file.format != first.file.format:
            message = (
                f"the file is {part.file.format}, and '{escape(first.path)}' of the same set is not"
            )
            hint = "the files are of different checkpoints; fetch the set again"
            yield Finding("header-invalid", "error", message, hint, part.path)


def _unite(parts: Sequence[_Part], tensors: dict[str, Tensor]) -> Iterator[Finding]:
    """Fill `tensors` by name, in source order; of one that several files hold, the first file's counts."""
    for part in parts:
        for tensor in part.chosen.tensors:
            first = tensors.setdefault(tensor.name, tensor)
            if first is not tensor:
                yield _twice(part.path, tensor.name, first.storage.extent.path)


def _twice(path: str, name: str, other: str) -> Finding:
    parsed = parse_weights_name(other.replace("\\", "/").rsplit("/", 1)[-1], all_suffixes())
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
    reserved = reserved_metadata()
    return {
        name: kept
        for name, kept in metadata.items()
        if name not in reserved
        and name not in tensors
        and isinstance(kept, str)
        and kept in tensors
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
