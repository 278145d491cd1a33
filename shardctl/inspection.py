"""What `inspect` shows: a checkpoint's files, tensors and sums, taken from the headers alone."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shardctl.discover import Located
from shardctl.errors import MissingError
from shardctl.model import Checkpoint, Tensor
from shardctl.naming import escape
from shardctl.packing import storage_units
from shardctl.stores.base import Store


@dataclass(frozen=True, slots=True)
class FileSums:
    """One file: its size, and the bytes that its tensors take in it (tied ones counted once)."""

    name: str
    size: int
    tensors: int
    data_size: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """A checkpoint to be shown. `tensors` includes recorded aliases; `tied_to` names what each tied one repeats."""

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

    def dtypes(self) -> list[tuple[str, int, int]]:
        """For each dtype, largest first: its name, the number of tensors, and their bytes."""
        sums: dict[str, tuple[int, int]] = {}
        for tensor in self.tensors:
            count, nbytes = sums.get(tensor.dtype.name, (0, 0))
            tied = tensor.name in self.tied_to
            sums[tensor.dtype.name] = (count + 1, nbytes + (0 if tied else tensor.nbytes))
        return sorted(((name, *both) for name, both in sums.items()), key=lambda row: -row[2])


def inspect_checkpoint(
    store: Store, source: str, located: Located, checkpoint: Checkpoint, glob: str | None, notes: tuple[str, ...]
) -> Inspection:
    """Sum up a checkpoint; `glob` keeps only the tensors whose names match.

    Raises MissingError where it matches none, with the names that come near.
    """
    if glob is not None:
        checkpoint = replace(checkpoint, tensors=_matching(checkpoint, glob))
    names = located.names(store)
    by_name = {tensor.name: tensor for tensor in checkpoint.tensors}
    aliases = tuple(replace(by_name[kept], name=alias) for alias, kept in checkpoint.aliases.items() if kept in by_name)
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
    import difflib  # noqa: PLC0415 - only needed for the hint

    near = difflib.get_close_matches(glob.strip("*"), [tensor.name for tensor in checkpoint.tensors], n=3, cutoff=0.4)
    did_you_mean = f"did you mean {', '.join(map(escape, near))}? " if near else ""
    raise MissingError(
        f"no tensor's name matches '{escape(glob)}'",
        hint=f"{did_you_mean}a GLOB matches whole names: try '*{escape(glob.strip('*'))}*'",
    )


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
    first: dict[object, str] = {}
    tied: dict[str, str] = dict(checkpoint.aliases)
    for tensor in checkpoint.tensors:
        identity = tensor.identity
        if identity is not None and first.setdefault(identity, tensor.name) != tensor.name:
            tied[tensor.name] = first[identity]
    return tied
