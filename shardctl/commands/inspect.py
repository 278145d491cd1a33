"""Sum up a checkpoint for `inspect`: its files and tensors, from the headers alone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shardctl.errors import MissingError
from shardctl.findings import noting
from shardctl.model import Checkpoint, Tensor
from shardctl.source.locate import Located, find_source
from shardctl.source.misnamed import misnamed_notes
from shardctl.source.read import Opened, read_checkpoint, unseen
from shardctl.storages import storage_units, tied_names
from shardctl.stores.base import Store
from shardctl.text import escape

#: Kinds of names that are compared with a filter that matches nothing, to guess what was meant.
_MOST_COMPARED = 2_000
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class FileSums:
    """One file: its size, and the bytes that its tensors take in it (tied ones counted once)."""

    name: str
    size: int
    tensors: int
    data_size: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """A checkpoint to be shown.

    `tensors` includes recorded aliases; `tied_to` names the tensor that each tied one repeats.
    """

    source: str
    checkpoint: Checkpoint
    index_name: str | None
    files: tuple[FileSums, ...]
    tensors: tuple[Tensor, ...]
    tied_to: Mapping[str, str]
    file_names: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def total_size(self) -> int:
        """Bytes of all tensors, tied ones counted once."""
        return sum(file.data_size for file in self.files)

    @property
    def total_parameters(self) -> int:
        """Elements of all tensors, tied ones counted once."""
        return sum(tensor.elements for tensor in self.tensors if tensor.name not in self.tied_to)


def inspect(
    store: Store,
    source: str,
    *,
    key: str | None,
    glob: str | None,
    variant: str | None = None,
    opened: Opened = unseen,
) -> Inspection:
    """Return what a checkpoint holds, from its headers; `opened` is called for each file.

    Without a key, everything nested is shown with dotted names. `variant` chooses one of several
    checkpoints in a directory.
    """
    notes: list[str] = []
    located = find_source(store, source, whole_set=False, variant=variant)
    checkpoint = read_checkpoint(
        store, located, noting(notes), key, drop_non_tensors=True, nested=True, opened=opened
    )
    notes.extend(misnamed_notes(checkpoint.files))
    return inspect_checkpoint(store, source, located, checkpoint, glob, (*located.notes, *notes))


def inspect_checkpoint(
    store: Store,
    source: str,
    located: Located,
    checkpoint: Checkpoint,
    glob: str | None,
    notes: tuple[str, ...],
) -> Inspection:
    """Sum up a checkpoint; `glob` keeps only the tensors whose names match.

    Raises MissingError where it matches none, with the most similar names.
    """
    if glob is not None:
        checkpoint = replace(checkpoint, tensors=_matching(checkpoint, glob))
    names = located.names(store)
    by_name = {tensor.name: tensor for tensor in checkpoint.tensors}
    aliases = tuple(
        replace(by_name[kept], name=alias)
        for alias, kept in checkpoint.aliases.items()
        if kept in by_name
    )
    return Inspection(
        source=source,
        checkpoint=checkpoint,
        index_name=None if located.index_path is None else store.split(located.index_path)[1],
        files=_files(checkpoint, names),
        tensors=checkpoint.tensors + aliases,
        tied_to=_tied(checkpoint),
        file_names=names,
        notes=notes,
    )


def _matching(checkpoint: Checkpoint, glob: str) -> tuple[Tensor, ...]:
    kept = tuple(tensor for tensor in checkpoint.tensors if fnmatch.fnmatchcase(tensor.name, glob))
    if kept:
        return kept
    near = _nearest(glob.strip("*"), [tensor.name for tensor in checkpoint.tensors])
    did_you_mean = f"did you mean {', '.join(map(escape, near))}? " if near else ""
    raise MissingError(
        f"no tensor's name matches '{escape(glob)}'",
        hint=f"{did_you_mean}a GLOB matches whole names: try '*{escape(glob.strip('*'))}*'",
    )


def _nearest(text: str, names: Sequence[str]) -> list[str]:
    """Return the names that are most similar to a text.

    Those that differ only in numbers are compared once: comparing is slow.
    """
    import difflib  # noqa: PLC0415 - only needed for the hint

    numbers = _NUMBERS.findall(text)
    kinds: dict[str, str] = {}
    for name in names:
        kind = _NUMBERS.sub("0", name)
        if kind not in kinds or _NUMBERS.findall(name) == numbers:
            kinds[kind] = name
    compared = list(kinds)[:_MOST_COMPARED]
    return [
        kinds[kind]
        for kind in difflib.get_close_matches(_NUMBERS.sub("0", text), compared, n=3, cutoff=0.4)
    ]


def _files(checkpoint: Checkpoint, names: Mapping[str, str]) -> tuple[FileSums, ...]:
    by_path: dict[str, list[Tensor]] = {file.path: [] for file in checkpoint.files}
    for tensor in checkpoint.tensors:
        by_path[tensor.storage.extent.path].append(tensor)
    return tuple(
        FileSums(
            name=names[file.path],
            size=file.version.size,
            tensors=len(by_path[file.path]),
            data_size=sum(unit.nbytes for unit in storage_units(by_path[file.path])),
        )
        for file in checkpoint.files
    )


def _tied(checkpoint: Checkpoint) -> dict[str, str]:
    tied = {name: first for first, *others in tied_names(checkpoint.tensors) for name in others}
    return {**checkpoint.aliases, **tied}
