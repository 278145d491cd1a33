"""Sum up a checkpoint for `inspect`: its files and tensors, from the headers alone."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shardctl.columns import Tensors, forms_of, names_of
from shardctl.engine.found import beside_run
from shardctl.errors import MissingError
from shardctl.findings import Finding, as_error, in_one_line
from shardctl.model import Checkpoint, NonTensor, Tensor
from shardctl.source.locate import Located, find_source
from shardctl.source.misnamed import misnamed_notes
from shardctl.source.opened import Opened, unseen
from shardctl.source.read import read_checkpoint
from shardctl.storages import sources_of, tensors_by_path, tied_names, used_bytes
from shardctl.stores.base import Store
from shardctl.text import escape, plural

if TYPE_CHECKING:
    from shardctl.streams.statistics import Statistics

#: Kinds of names that are compared with a filter that matches nothing, to guess what was meant.
_MOST_COMPARED = 2_000
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class FileSums:
    """One file: its size, and the bytes that its tensors take in it (tied ones counted once).

    Of a distributed checkpoint, `tensors` is how many slices are in the file.
    """

    name: str
    size: int
    tensors: int
    data_size: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """A checkpoint to be shown.

    `tensors` includes recorded aliases; `tied_to` names the tensor that each tied one repeats.
    `unread` are tensors of classes that shardctl does not read, and objects that hold such.
    `warnings` say what of the checkpoint is missing or damaged. `statistics` has, where they were
    asked for, those of each tensor that was read, by name: None of one that is not of a
    floating-point type.
    """

    source: str
    checkpoint: Checkpoint
    index_name: str | None
    files: tuple[FileSums, ...]
    tensors: Sequence[Tensor]
    tied_to: Mapping[str, str]
    file_names: Mapping[str, str]
    notes: tuple[str, ...]
    non_tensors: tuple[NonTensor, ...] = ()
    warnings: tuple[str, ...] = ()
    statistics: Mapping[str, Statistics | None] | None = None

    @property
    def unread(self) -> tuple[NonTensor, ...]:
        """The entries among `non_tensors` that are, or hold, tensors which are not read."""
        return tuple(value for value in self.non_tensors if value.unread)

    @property
    def total_size(self) -> int:
        """Bytes of all tensors, tied ones counted once."""
        return sum(file.data_size for file in self.files)

    @property
    def total_parameters(self) -> int:
        """Elements of all tensors, tied ones counted once."""
        forms = zip(names_of(self.tensors), forms_of(self.tensors), strict=True)
        return sum(math.prod(form.shape) for name, form in forms if name not in self.tied_to)


def inspect(
    store: Store,
    source: str,
    *,
    key: str | None,
    globs: Sequence[str] = (),
    variant: str | None = None,
    opened: Opened = unseen,
) -> Inspection:
    """Return what a checkpoint holds, from its headers; `opened` is called for each file.

    Without a key, everything nested is shown with dotted names. `variant` chooses one of several
    checkpoints in a directory. Of a set that is incomplete or damaged what can be read is shown,
    with warnings; raises FormatError where that is nothing, and InputError where a replacement was
    interrupted.
    """
    findings: list[Finding] = []
    with beside_run(store, source) as unfinished:
        located = find_source(store, source, whole_set=False, variant=variant)
    checkpoint = read_checkpoint(store, located, findings.append, key, nested=True, opened=opened)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors and not checkpoint.tensors:
        raise as_error(errors[0])
    notes = [in_one_line(finding) for finding in findings if finding not in errors]
    if unfinished is not None:
        notes.append(f"the directory also holds {unfinished.message}; {unfinished.hint}")
    notes.extend(misnamed_notes(checkpoint.files))
    located = located.completed(checkpoint)
    if located.distributed is not None:
        notes.append(_slices(checkpoint))
    found = inspect_checkpoint(store, source, located, checkpoint, globs, (*located.notes, *notes))
    return replace(found, warnings=tuple(map(in_one_line, errors)))


def _slices(checkpoint: Checkpoint) -> str:
    from shardctl.source.distributed.assemble import slices_of  # noqa: PLC0415 - few are such

    slices = slices_of(checkpoint.tensors)
    return (
        f"{plural(slices.tensors, 'tensor')} in {plural(slices.number, 'slice')} in "
        f"{plural(slices.files, 'file')}, as several processes saved them"
    )


def inspect_checkpoint(
    store: Store,
    source: str,
    located: Located,
    checkpoint: Checkpoint,
    globs: Sequence[str],
    notes: tuple[str, ...],
) -> Inspection:
    """Sum up a checkpoint; with `globs` only the entries whose names match one of them.

    Raises MissingError where one matches nothing, with the most similar names.
    """
    if globs:
        checkpoint = _matching(checkpoint, globs)
    names = located.names(store)
    aliases = tuple(_aliases(checkpoint)) if checkpoint.aliases else ()
    return Inspection(
        source=source,
        checkpoint=checkpoint,
        index_name=None if located.index_path is None else store.split(located.index_path)[1],
        files=_files(checkpoint, names),
        tensors=(*checkpoint.tensors, *aliases) if aliases else checkpoint.tensors,
        tied_to=_tied(checkpoint),
        file_names=names,
        notes=notes,
        non_tensors=checkpoint.non_tensors,
    )


def _aliases(checkpoint: Checkpoint) -> Iterator[Tensor]:
    kept = frozenset(checkpoint.aliases.values())
    by_name = {tensor.name: tensor for tensor in checkpoint.tensors if tensor.name in kept}
    for alias, name in checkpoint.aliases.items():
        if name in by_name:
            yield replace(by_name[name], name=alias)


def _matching(checkpoint: Checkpoint, globs: Sequence[str]) -> Checkpoint:
    """Return the checkpoint with only the entries that match a GLOB.

    What is recorded as tied to one of them comes along.
    """
    names = [
        *names_of(checkpoint.tensors),
        *checkpoint.aliases,
        *(value.name for value in checkpoint.non_tensors if value.unread),
    ]
    matched: set[str] = set()
    for glob in globs:
        pattern = re.compile(fnmatch.translate(glob))
        kept = [name for name in names if pattern.match(name)]
        if not kept:
            raise _no_match(glob, names)
        matched.update(kept)
    shown = {tensor.name: tensor for tensor in checkpoint.tensors if tensor.name in matched}
    by_name = {tensor.name: tensor for tensor in checkpoint.tensors}
    for name, first in checkpoint.aliases.items():
        # Without the tensor that it repeats, a tied name is shown as one with these bytes.
        if name in matched and first not in matched and first in by_name:
            shown[name] = replace(by_name[first], name=name)
    return replace(
        checkpoint,
        tensors=tuple(shown.values()),
        aliases={name: first for name, first in checkpoint.aliases.items() if name not in shown},
        non_tensors=tuple(value for value in checkpoint.non_tensors if value.name in matched),
    )


def _no_match(glob: str, names: Sequence[str]) -> MissingError:
    near = _nearest(glob.strip("*"), names)
    did_you_mean = f"did you mean {', '.join(map(escape, near))}? " if near else ""
    return MissingError(
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
    by_path = _by_path(checkpoint)
    return tuple(
        FileSums(
            name=names[file.path],
            size=file.version.size,
            tensors=len(by_path[file.path]),
            data_size=used_bytes(by_path[file.path]),
        )
        for file in checkpoint.files
    )


def _by_path(checkpoint: Checkpoint) -> dict[str, Sequence[Tensor]]:
    """Return what each file holds of the tensors, by its path."""
    held = checkpoint.tensors
    if not isinstance(held, Tensors):  # nothing of which is made
        # Most are their own source.
        sources = ((t,) if t.storage.made is None else sources_of(t) for t in held)
        held = [source for some in sources for source in some]
    return tensors_by_path(held, (file.path for file in checkpoint.files))


def _tied(checkpoint: Checkpoint) -> dict[str, str]:
    tied = {name: first for first, *others in tied_names(checkpoint.tensors) for name in others}
    return {**checkpoint.aliases, **tied}
