"""Read the headers of a checkpoint's files, and make one checkpoint of what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

from shardctl.findings import Capped, Finding, Report, folded, report_all
from shardctl.formats.detection import read_file
from shardctl.formats.registry import all_suffixes
from shardctl.model import Checkpoint, File, Tensor
from shardctl.naming import parse_weights_name
from shardctl.source.absent import absent
from shardctl.source.distributed.slices import slice_findings
from shardctl.source.locate import Located
from shardctl.source.metadata import FilePairs, NamesOf, United, unite
from shardctl.source.opened import Opened, unseen
from shardctl.source.placement import misplaced, recorded_aliases
from shardctl.source.state_dict import Selection, look, select
from shardctl.stores.base import Store
from shardctl.stores.optional import at_once
from shardctl.text import escape, plural


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
    report_all(located.findings, report)
    incomplete: set[str] = set()
    data: list[File] = []
    files = (
        _read_distributed(store, located, report, opened, incomplete, data)
        if located.distributed
        else _read_files(store, located, report, opened, incomplete)
    )
    parts = [_Part(path, file, choose(file, path)) for path, file in files]
    report_all(_without_tensors(parts, incomplete), report)
    report_all(_mixed_formats(parts), report)
    if located.distributed is None:
        report_all(slice_findings(part.file for part in parts), report)
    tensors: dict[str, Tensor] = {}
    report_all(folded(_unite(parts, tensors, _decider(store, located))), report)
    united = United()
    pairs = [
        FilePairs(part.path, part.file.metadata, NamesOf(part.chosen.tensors)) for part in parts
    ]
    report_all(unite(pairs, united), report)
    metadata = united.pairs
    aliases = recorded_aliases(located.index, pairs, tensors)
    if located.index is not None:
        shards = located.names(store)
        held = {shards[part.path]: part.chosen.tensors for part in parts}
        broken = {shards[path] for path in incomplete}
        report_all(folded(misplaced(located.index, held, broken, aliases)), report)
    return Checkpoint(
        format=parts[0].file.format if parts else located.format,
        files=(*(part.file for part in parts), *data),
        tensors=tuple(tensors.values()),
        metadata={name: value for name, value in metadata.items() if name not in aliases},
        tensor_metadata=united.of_tensors,
        aliases=aliases,
        index=located.index,
        non_tensors=tuple(opaque for part in parts for opaque in part.chosen.non_tensors),
        beside=tuple(other for part in parts for other in part.chosen.beside),
        incomplete=frozenset(incomplete),
    )


def _read_distributed(
    store: Store,
    located: Located,
    report: Report,
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
    if any(finding.severity == "error" for finding in found):
        incomplete.update(located.files)
    report_all(found, report)
    for file in files[:1]:
        data.extend(files[1:])
        yield file.path, file


def _read_files(
    store: Store, located: Located, report: Report, opened: Opened, incomplete: set[str]
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
        if any(finding.severity == "error" and not finding.whole for finding in each.findings):
            incomplete.add(each.path)
        for finding in each.findings:
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
        tensors = self._listed[self._names[path]] if finding.severity == "error" else 0
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
        return Counter(() if index is None else index.weight_map.values())


def _without_tensors(parts: Sequence[_Part], incomplete: Container[str]) -> Iterator[Finding]:
    """Files that were read whole and have no tensor, not even of a kind that is not read."""
    for part in parts:
        unread = any(value.unread for value in part.chosen.non_tensors)
        if not part.chosen.tensors and not unread and part.path not in incomplete:
            message = "the file contains no tensors"
            hint = "the file is incomplete, or not the weights: fetch it again"
            yield Finding("no-tensors", "warning", message, hint, part.path)


def _choose(
    file: File, path: str, key: str | None, *, drop_non_tensors: bool, nested: bool
) -> Selection:
    if nested:
        return look(file.tree, path, key)
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


def _decider(store: Store, located: Located) -> Callable[[str], str | None]:
    """Return what gives the path of the file in which the index places a tensor, if it does."""
    if located.index is None:
        return lambda _: None
    paths = {name: path for path, name in located.names(store).items()}
    listed = located.index.weight_map
    return lambda tensor: paths.get(listed.get(tensor, ""))


def _unite(
    parts: Sequence[_Part], tensors: dict[str, Tensor], home: Callable[[str], str | None]
) -> Iterator[Finding]:
    """Fill `tensors` by name, in source order.

    Of several with one name the one counts that is in its `home`, else the first.
    """
    for part in parts:
        for tensor in part.chosen.tensors:
            first = tensors.setdefault(tensor.name, tensor)
            if first is tensor:
                continue
            other, listed = first.storage.extent.path, home(tensor.name)
            if listed not in (part.path, other):
                yield _twice(part.path, tensor.name, other)
            elif listed == part.path:
                tensors[tensor.name] = tensor
                yield _overlaid(other, tensor.name, part.path, last=part.path)
            else:
                yield _overlaid(part.path, tensor.name, listed, last=part.path)


def _overlaid(path: str, name: str, kept: str, *, last: str) -> Finding:
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


def _twice(path: str, name: str, other: str) -> Finding:
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
