"""Read the headers of a checkpoint's files, and make one checkpoint of what they hold."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

from shardctl.columns import joined, names_of
from shardctl.findings import Capped, Finding, Report, folded, report_all
from shardctl.formats.detection import read_file
from shardctl.model import Checkpoint, File, Tensor
from shardctl.source.directory.absent import absent
from shardctl.source.distributed.slices import slice_findings
from shardctl.source.locate import Located
from shardctl.source.metadata import FilePairs, NamesOf, United, unite
from shardctl.source.opened import Opened, unseen
from shardctl.source.placement import as_listed, misplaced, overlaid, recorded_aliases, twice
from shardctl.source.state_dict import Selection
from shardctl.source.wanted import Wanted
from shardctl.stores.base import Store
from shardctl.stores.optional import at_once
from shardctl.text import escape, plural
from shardctl.weight_map import names_by_shard, weight_map_of


@dataclass(frozen=True, slots=True)
class _Part:
    """A file whose header was read, and what of it belongs to the checkpoint.

    `path` is as the set names it.
    """

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
    taken, with dotted names. What is wrong with a tensor beside the key is a warning where not
    `nested`, and the tensor is among what lies there. Raises as `select` does for what was asked
    for.
    """
    capped = Capped(report)
    wanted = Wanted(key, drop_non_tensors, nested)
    checkpoint = _read(store, located, capped, wanted, opened)
    capped.close()
    return checkpoint


def _read(
    store: Store,
    located: Located,
    report: Report,
    wanted: Wanted,
    opened: Opened,
) -> Checkpoint:
    report_all(located.findings, report)
    incomplete: set[str] = set()
    data: list[File] = []
    files = (
        _read_distributed(store, located, report, wanted, opened, incomplete, data)
        if located.distributed
        else _read_files(store, located, report, wanted, opened, incomplete)
    )
    parts = [_Part(path, file, wanted.choose(file, path)) for path, file in files]
    report_all(_without_tensors(parts, incomplete), report)
    report_all(_mixed_formats(parts), report)
    if located.distributed is None:
        report_all(slice_findings(part.file for part in parts), report)
    shards = {} if located.index is None else located.names(store)
    held = {shards.get(part.path, part.path): part.chosen.tensors for part in parts}
    index = located.index
    placed = index is not None and as_listed(index, held)
    if index is not None and placed:
        tensors: Sequence[Tensor] = joined(held.values())
        # The index then has the very names of the tensors, which take as much memory as all else.
        own = weight_map_of({shard: names_of(some) for shard, some in held.items()})
        index = replace(index, weight_map=own)
        names: Container[str] = index.weight_map
    else:
        tensors, names, found = _unite(parts, _decider(store, located))
        report_all(folded(found), report)
    united = United()
    pairs = [
        FilePairs(part.path, part.file.metadata, NamesOf(part.chosen.tensors)) for part in parts
    ]
    report_all(unite(pairs, united), report)
    metadata = united.pairs
    aliases = recorded_aliases(index, pairs, names)
    if index is not None and not placed:
        broken = {shards[path] for path in incomplete}
        report_all(folded(misplaced(index, held, broken, aliases)), report)
    return Checkpoint(
        format=parts[0].file.format if parts else located.format,
        files=(*(part.file for part in parts), *data),
        tensors=tensors,
        metadata={name: value for name, value in metadata.items() if name not in aliases},
        tensor_metadata=united.of_tensors,
        aliases=aliases,
        index=index,
        non_tensors=tuple(opaque for part in parts for opaque in part.chosen.non_tensors),
        beside=(
            *(other for part in parts for other in part.chosen.beside),
            *wanted.damaged.values(),
        ),
        incomplete=frozenset(incomplete),
    )


def _read_distributed(
    store: Store,
    located: Located,
    report: Report,
    wanted: Wanted,
    opened: Opened,
    incomplete: set[str],
    data: list[File],
) -> Iterator[tuple[str, File]]:
    """Yield the file that has all the tensors of a distributed checkpoint.

    `data` gets the files that hold the bytes; `incomplete` as `_read_files` says.
    """
    from shardctl.source.distributed.read import read_divided  # noqa: PLC0415 - few sources are such

    found: list[Finding] = []
    files = read_divided(store, located, found.append, opened)
    found = list(map(wanted.seen, found))
    if any(finding.severity == "error" for finding in found):
        incomplete.update(located.files)
    report_all(found, report)
    for file in files[:1]:
        data.extend(files[1:])
        yield file.path, file


def _read_files(
    store: Store,
    located: Located,
    report: Report,
    wanted: Wanted,
    opened: Opened,
    incomplete: set[str],
) -> Iterator[tuple[str, File]]:
    """Yield the files with a usable header; add to `incomplete` those that cannot be read whole.

    The errors of a file without one say how many tensors are lost with it, where an index knows.
    """
    losses, one_by_one = _Losses(store, located), Lock()

    def look(numbered: tuple[int, str]) -> _Look:
        number, path = numbered
        missing = absent(store, path, listed=located.index is not None)
        if missing is not None:
            return _Look(path, None, [missing])
        found: list[Finding] = []
        with store.open(path) as reader:
            with one_by_one:
                opened(path, reader.version.size, number, len(located.files))
            return _Look(path, read_file(reader, found.append), found)

    for each in _in_order(at_once(store), look, enumerate(located.files, start=1)):
        findings = list(map(wanted.seen, each.findings))
        if any(finding.severity == "error" and not finding.whole for finding in findings):
            incomplete.add(each.path)
        for finding in findings:
            report(finding if each.file is not None else losses.added_to(finding, each.path))
        if each.file is not None:
            yield each.path, each.file


def _in_order(
    width: int, look: Callable[[tuple[int, str]], _Look], files: Iterable[tuple[int, str]]
) -> Iterator[_Look]:
    if width == 1:
        return map(look, files)
    from shardctl.streams.pool import in_order  # noqa: PLC0415 - across a network only

    return in_order(width, look, files)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one file holds, None for one without a usable header, and what is wrong with it."""

    path: str
    file: File | None
    findings: list[Finding]


@dataclass(frozen=True)  # without slots: what is counted on first use needs a place
class _Losses:
    """How many tensors the index lists in each file, counted once a file has none to give."""

    store: Store
    located: Located

    def added_to(self, finding: Finding, path: str) -> Finding:
        """Return an error of a file with the number of tensors that are lost with it."""
        tensors = self._listed.get(self._names[path], 0) if finding.severity == "error" else 0
        if not tensors:
            return finding
        lost = f"the index lists {plural(tensors, 'tensor')} in it"
        return replace(finding, message=f"{finding.message}; {lost}")

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return self.located.names(self.store)

    @cached_property
    def _listed(self) -> Mapping[str, int]:
        index = self.located.index
        listed = {} if index is None else names_by_shard(index.weight_map)
        return {shard: len(names) for shard, names in listed.items()}


def _without_tensors(parts: Sequence[_Part], incomplete: Container[str]) -> Iterator[Finding]:
    """Files that were read whole and have no tensor, not even of a kind that is not read."""
    for part in parts:
        unread = any(value.unread for value in part.chosen.non_tensors)
        if not part.chosen.tensors and not unread and part.path not in incomplete:
            message = "the file contains no tensors"
            hint = "the file is incomplete, or not the weights: fetch it again"
            yield Finding("no-tensors", "warning", message, hint, part.path)


def _mixed_formats(parts: Sequence[_Part]) -> Iterator[Finding]:
    for part in parts:
        first = parts[0]
        if part.file.format != first.file.format:
            message = (
                f"the file is {part.file.format}, and '{escape(first.path)}' of the same set is not"
            )
            hint = "the files are of different checkpoints; fetch the set again"
            yield Finding("header-invalid", "error", message, hint, part.path)


def _decider(store: Store, located: Located) -> Callable[[str], str | None]:
    """Return what gives the path of the file in which the index places a tensor, if it does."""
    if located.index is None:
        return lambda _: None
    paths = {name: path for path, name in located.names(store).items()}
    listed = located.index.weight_map
    return lambda tensor: paths.get(listed.get(tensor, ""))


def _unite(
    parts: Sequence[_Part], home: Callable[[str], str | None]
) -> tuple[Sequence[Tensor], Container[str], Iterable[Finding]]:
    """Return the tensors in source order, their names, and what is wrong with them.

    Of several with one name the one counts that is in its `home`, else the first.
    """
    names: set[str] = set()
    for part in parts:
        names.update(names_of(part.chosen.tensors))
    every = joined(part.chosen.tensors for part in parts)
    if len(names) == len(every):
        return every, names, ()
    tensors: dict[str, Tensor] = {}
    found = list(_overlaid(parts, tensors, home))
    return tuple(tensors.values()), names, found


def _overlaid(
    parts: Sequence[_Part], tensors: dict[str, Tensor], home: Callable[[str], str | None]
) -> Iterator[Finding]:
    """Fill `tensors` by name, where several have one name."""
    for part in parts:
        for tensor in part.chosen.tensors:
            first = tensors.setdefault(tensor.name, tensor)
            if first is tensor:
                continue
            other, listed = first.storage.extent.path, home(tensor.name)
            if listed not in (part.path, other):
                yield twice(part.path, tensor.name, other)
            elif listed == part.path:
                tensors[tensor.name] = tensor
                yield overlaid(other, tensor.name, part.path, last=part.path)
            else:
                yield overlaid(part.path, tensor.name, listed, last=part.path)
