"""Which files SOURCE means: a file, an index, or the checkpoint in a directory.

Of several checkpoints the one that loaders take is meant (`choice`); where nothing decides it, that
is an error with the choices. Names decide what belongs together (`candidates`); indexes are read
for what they list; no weights file is opened but those of unknown names, to see whether they are
weights at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from shardctl.errors import InputError, MissingError, UsageError
from shardctl.findings import Finding, report_some
from shardctl.formats.registry import all_suffixes, promised_by
from shardctl.model import Checkpoint, Index
from shardctl.naming import parse_index_name, parse_weights_name
from shardctl.source.directory.candidates import Candidate
from shardctl.source.directory.choice import Choice, choose, is_looked_for_first
from shardctl.source.directory.directories import nothing_in, real_directory
from shardctl.source.directory.rank_names import lone_slice, slices
from shardctl.source.directory.sets import incomplete, set_findings
from shardctl.source.directory.survey import IndexFile, Survey, look_at
from shardctl.source.distributed.find import Divided, Layout, divided_in, divided_with
from shardctl.source.pipeline.components import refuse_index
from shardctl.stores.base import Store
from shardctl.stores.paths import below
from shardctl.text import escape
from shardctl.weight_map import shards_of

_SHOWN_CHOICES = 10


@dataclass(frozen=True, slots=True)
class Located:
    """The files that SOURCE means, before any header was read.

    `root` is SOURCE as given, `directories` those of the files where several were given; `files`
    are the paths of the weights, in order, also of those that are missing; `unlisted` are paths
    that look like shards of the set and are not listed by its index. `stale` has the paths of
    indexes of which no file is there, with whether some loader looks for it first; the set's own is
    `index_path` too, and was not read. `distributed` is how several processes saved the files, None
    where one did. `choice` was made in a directory. `findings` came up on the way and are reported
    when the checkpoint is read; `notes` are for the user to know before that.
    """

    root: str
    directory: str
    files: tuple[str, ...]
    stem: str
    variant: str | None = None
    suffix: str = ""
    is_set: bool = False
    is_directory: bool = False
    directories: tuple[str, ...] = ()
    index_path: str | None = None
    index: Index | None = None
    unlisted: tuple[str, ...] = ()
    stale: Mapping[str, bool] = field(default_factory=dict)
    choice: Choice | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    distributed: Layout | None = None

    @property
    def format(self) -> str:
        """The name of the format that the files' suffix promises; empty where it promises none."""
        promised = promised_by(self.suffix)
        return "" if promised is None else promised.name

    @property
    def variant_first(self) -> bool:
        """Whether the index's name has its variant where the hub's library puts it."""
        if self.index_path is None:
            return False
        name = self.index_path.replace("\\", "/").rpartition("/")[2]
        parsed = parse_index_name(name, all_suffixes())
        return parsed is not None and parsed.variant_first

    def names(self, store: Store) -> dict[str, str]:
        """Return by path the names of the files, as the index lists them (also `sub/a`).

        Files of several directories are named by their paths.
        """
        if len(self.directories) > 1:
            return {path: path for path in self.files}
        listed = () if self.index is None else shards_of(self.index.weight_map)
        return {path: store.split(path)[1] for path in (*self.files, *self.unlisted)} | {
            below(store, self.directory, name): name for name in listed
        }

    def completed(self, checkpoint: Checkpoint) -> Located:
        """Return this with what the headers say.

        That is the index as it was found to be, and the files that only the metadata of a
        distributed checkpoint names.
        """
        if self.distributed is None:
            return replace(self, index=checkpoint.index or self.index)
        paths = (*self.files, *(file.path for file in checkpoint.files))
        return replace(self, files=tuple(dict.fromkeys(paths)))


def find_source(
    store: Store,
    source: str,
    *,
    whole_set: bool = True,
    variant: str | None = None,
    or_any: bool = False,
) -> Located:
    """Return the files that `source` means.

    A file of a set means the whole set, unless `whole_set` is false. In a directory, `variant`
    chooses among several checkpoints, "" those without a variant; where none has it, `or_any`
    ignores it. Raises UsageError where a directory has several checkpoints and nothing decides,
    MissingError where the path or a checkpoint does not exist, and InputError
    (`shard-set-incomplete`, `shard-unlisted`) where the set of a named file cannot be taken whole.
    """
    kind = store.kind(source)
    if kind is None:
        # Names and contents of other programs' files are known only to say what is there instead.
        from shardctl.source.directory.contents import missing  # noqa: PLC0415 - see above

        raise missing(store, source)
    if kind == "directory":
        return _in_directory(store, source, variant, or_any=or_any)
    directory, name = store.split(source)
    divided = divided_with(store, directory, name, whole_set=whole_set)
    if divided is not None:
        return _of_divided(source, directory, divided)
    if name.endswith(".json"):
        refuse_index(store, source)
        return _of_index(store, source, directory, name)
    return (
        _of_file(store, source, directory, name) if whole_set else _alone(source, directory, name)
    )


def directory_checkpoints(store: Store, directory: str) -> list[Candidate]:
    """Return the checkpoints that a directory holds; none where it does not exist.

    Files that loaders know by name, and indexes; only without these, whatever else has weights
    in it.
    """
    if store.kind(directory) != "directory":
        return []
    return look_at(store, directory).checkpoints(to_read=False)


def each_checkpoint(store: Store, source: str, variant: str | None = None) -> Iterator[Located]:
    """Yield the files of each checkpoint that a directory could mean, taken by its own name.

    The directory is listed once, however many there are. What a set lacks is among the findings.
    """
    directory = real_directory(store, source).path
    survey = look_at(store, directory)
    for candidate in survey.readable():
        if variant is None or candidate.variant == (variant or None):
            yield _of_candidate(survey, store.join(directory, candidate.choice), candidate)


def _in_directory(store: Store, source: str, variant: str | None, *, or_any: bool) -> Located:
    place = real_directory(store, source)
    divided = divided_in(store, place.path)
    if divided is not None:
        located = _of_divided(source, place.path, divided, is_directory=True)
        return replace(located, notes=tuple(filter(None, (place.note, *located.notes))))
    survey = look_at(store, place.path)
    found = survey.readable()
    if not found:
        raise nothing_in(store, place.path)
    if variant is not None and all(each.variant != (variant or None) for each in found):
        if not or_any:
            raise _no_variant(place.path, variant, found)
        variant = None
    choice = choose(found, variant)
    if choice.taken is None:
        raise slices(place.path, found) or _ambiguous(store, place.path, found)
    located = _of_candidate(survey, source, choice.taken, is_directory=True)
    return replace(
        located,
        choice=choice,
        notes=tuple(filter(None, (place.note, choice.note(place.path), *located.notes))),
    )


def _of_divided(
    source: str, directory: str, divided: Divided, *, is_directory: bool = False
) -> Located:
    return Located(
        source,
        directory,
        divided.files,
        "model",
        suffix=divided.suffix,
        is_set=True,
        is_directory=is_directory,
        findings=divided.findings,
        notes=divided.notes,
        distributed=divided.layout,
    )


def _of_index(store: Store, source: str, directory: str, name: str) -> Located:
    survey = look_at(store, directory)
    candidate = next((candidate for candidate in survey.every if candidate.index == name), None)
    # No loader would take an unknown name for that of an index, so only what it lists counts.
    return _of_candidate(survey, source, candidate or Candidate("model", None, "", (), name))


def _of_file(store: Store, source: str, directory: str, name: str) -> Located:
    survey = look_at(store, directory)
    homes = [
        candidate
        for candidate in survey.every
        if candidate.is_set and name in candidate.names and survey.is_one(candidate)
    ]
    if not homes:
        return _alone(source, directory, name)
    if len(homes) > 1:
        raise _ambiguous(store, directory, homes)
    home = homes[0]
    if name in home.unlisted:
        raise InputError(
            f"'{escape(name)}' is numbered like the shards of '{escape(home.choice)}', which does "
            "not list it",
            hint="repair the index with `reindex`, or copy the file to another directory to use it "
            "alone",
            code="shard-unlisted",
            file=source,
        )
    located = _of_candidate(survey, source, home)
    if home.missing:
        finding = incomplete(home, source)
        raise InputError(finding.message, hint=finding.hint, code=finding.code, file=source)
    if len(located.files) == 1:
        return located
    note = (
        f"'{escape(name)}' is one of {len(located.files):,} files that belong together; all of "
        "them are read"
    )
    return replace(located, notes=(note,))


def _alone(source: str, directory: str, name: str) -> Located:
    parsed = parse_weights_name(name, all_suffixes())
    if parsed is None:
        return Located(source, directory, (source,), name)
    return Located(
        source,
        directory,
        (source,),
        parsed.stem,
        parsed.variant,
        parsed.suffix,
        findings=tuple(lone_slice(parsed.stem, source)),
    )


def _of_candidate(
    survey: Survey, source: str, candidate: Candidate, *, is_directory: bool = False
) -> Located:
    store, directory = survey.store, survey.directory
    read = IndexFile(None, ()) if candidate.stale else survey.index_of(candidate)
    names: Sequence[str] = (
        candidate.files if read.index is None else sorted(shards_of(read.index.weight_map))
    )
    unlisted = tuple(store.join(directory, name) for name in candidate.unlisted)
    findings = list(read.findings)
    path = store.join(directory, candidate.choice)
    report_some(set_findings(candidate, path, unlisted), findings.append)
    if not candidate.is_set:
        findings.extend(lone_slice(candidate.stem, path))
    gone = {each.index: each for each in survey.every if each.gone and each.index}
    stale = {
        store.join(directory, name): is_looked_for_first(each, candidate)
        for name, each in gone.items()
    }
    return Located(
        root=source,
        directory=directory,
        files=tuple(below(store, directory, name) for name in names),
        stem=candidate.stem,
        variant=candidate.variant,
        suffix=candidate.suffix,
        is_set=candidate.is_set,
        is_directory=is_directory,
        index_path=None if candidate.index is None else store.join(directory, candidate.index),
        index=read.index,
        unlisted=unlisted,
        stale=stale if candidate.stale or not candidate.gone else {},
        findings=tuple(findings),
        notes=tuple(
            f"'{escape(name)}' lists files of which none is there; it is ignored"
            for name in islice(gone, _SHOWN_CHOICES)
            if candidate.stale or name != candidate.index
        ),
    )


def _ambiguous(store: Store, directory: str, found: Sequence[Candidate]) -> UsageError:
    choices = "; ".join(
        escape(store.join(directory, candidate.choice)) for candidate in found[:_SHOWN_CHOICES]
    )
    more = "; …" if len(found) > _SHOWN_CHOICES else ""
    titles = ", ".join(candidate.title for candidate in found[:_SHOWN_CHOICES])
    return UsageError(
        f"'{escape(directory)}' holds {len(found):,} checkpoints, and nothing says which one is "
        f"meant: {titles}",
        hint=f"name one of them: {choices}{more}{_variants_hint(found)}",
        code="folder-ambiguous",
        file=directory,
    )


def _variants_hint(found: Sequence[Candidate]) -> str:
    variants = dict.fromkeys(each.variant for each in found if each.variant is not None)
    return f"; or choose a `variant`: {', '.join(map(escape, variants))}" if variants else ""


def _no_variant(directory: str, variant: str, found: Sequence[Candidate]) -> MissingError:
    what = f"no variant '{escape(variant)}'" if variant else "no checkpoint without a variant"
    return MissingError(
        f"'{escape(directory)}' holds {what}: {', '.join(each.title for each in found)}",
        hint="name the file" + _variants_hint(found),
        file=directory,
    )
