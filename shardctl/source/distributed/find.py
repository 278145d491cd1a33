"""Which files several processes saved together, by the names in a directory alone.

Source of the names: `filesystem.py` and `_hf_utils.py` of `torch/distributed/checkpoint`, torch
2.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shardctl.errors import InputError
from shardctl.findings import Finding
from shardctl.formats.dcp.format import DCP, METADATA
from shardctl.formats.registry import all_suffixes, promised_by
from shardctl.naming import is_training_state, parse_weights_name
from shardctl.source.distributed.assemble import missing_ranks
from shardctl.source.distributed.steps import (
    LATEST,
    latest_step,
    refuse_parts,
    step_files,
    without_ranks,
)
from shardctl.stores.base import Store
from shardctl.text import escape

#: How processes save: "metadata" is a file that says where every slice is; of "slices", each file
#: says where its slices begin; of "ranks", each file is the state dict of one process; of
#: "vectors", each file has flat vectors, and one says which parameters lie in them.
Layout = Literal["metadata", "slices", "ranks", "vectors"]

#: The name that `HuggingFaceStorageWriter` gives to the file of a process, counted from 1.
_SLICES = re.compile(r"shard-(?P<rank>[0-9]{5,9})-model-[0-9]{5,9}-of-[0-9]{5,9}(?P<suffix>\.\w+)")
#: The name that trainers with FSDP give to the state dict of a process, counted from 0.
_RANKS = re.compile(
    r"model_world_size_(?P<size>[0-9]{1,6})_rank_(?P<rank>[0-9]{1,6})(?P<suffix>\.\w+)"
)
_UNCOUNTED = (
    "nothing says how many processes saved these slices: without the last file tensors would be "
    "cut short"
)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Divided:
    """What several processes saved: `files` are the paths that the names tell, in order.

    `findings` say what the names alone show to be missing.
    """

    layout: Layout
    files: tuple[str, ...]
    suffix: str
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def is_piece(name: str) -> bool:
    """Whether a file of that name is of use only together with others, whatever is beside it."""
    promised = promised_by(name)
    return name == METADATA or (promised is not None and promised.is_in_pieces)


def is_slice(path: str) -> bool:
    """Whether the last part of a path is the name of the slices that one process saved."""
    return _SLICES.fullmatch(path.replace("\\", "/").rpartition("/")[2]) is not None


def divided_in(store: Store, directory: str) -> Divided | None:
    """Return what several processes saved in a directory; None where there is no such thing.

    Checkpoints beside it, which other programs would load, are named in a note. Raises InputError
    for the file of one process.
    """
    names = _names(store, directory)
    found = _divided(store, directory, names)
    if found is None:
        return None
    own = {store.split(path)[1] for path in found.files}
    others = [name for name in names if name not in own and _is_known(name)]
    return replace(found, notes=(*found.notes, *_beside(directory, sorted(others))))


def divided_with(
    store: Store, directory: str, name: str, *, whole_set: bool = True
) -> Divided | None:
    """Return the checkpoint that a file belongs to, where it means nothing alone; else None.

    A file that can be looked at alone is one of the whole only with `whole_set`. Raises InputError
    for a piece that says nothing of the others.
    """
    if name == METADATA:
        return _described(store, directory)
    if is_piece(name):
        raise _alone(store, directory, name)
    if whole_set and (_SLICES.fullmatch(name) or _RANKS.fullmatch(name)):
        names = _names(store, directory)
        found = (_of_slices if _SLICES.fullmatch(name) else _of_ranks)(store, directory, names)
        if found is not None:
            note = (
                f"'{escape(name)}' is one of {len(found.files):,} files that belong together; all "
                "of them are read"
            )
            return replace(found, notes=(note, *found.notes))
    return None


def _names(store: Store, directory: str) -> list[str]:
    return [
        entry.name
        for entry in store.list(directory)
        if "directory" not in (entry.kind, entry.target)
    ]


def _divided(store: Store, directory: str, names: Sequence[str]) -> Divided | None:
    if METADATA in names:
        kind = store.kind(store.join(directory, METADATA))
        # A link that leads nowhere is a fault of the checkpoint where its data files are there.
        if kind == "file" or any(is_piece(name) for name in names if name != METADATA):
            return _described(store, directory)
    for layout in (_of_slices, _of_ranks, _of_step):
        found = layout(store, directory, names)
        if found is not None:
            return found
    return None


def _described(store: Store, directory: str) -> Divided:
    return Divided("metadata", (store.join(directory, METADATA),), DCP.suffix)


def _of_slices(store: Store, directory: str, names: Sequence[str]) -> Divided | None:
    matches = _matching(_SLICES, names)
    if not matches:
        return None
    paths = tuple(store.join(directory, match[0]) for match in matches)
    if len(matches) == 1:
        raise InputError(
            f"'{escape(paths[0])}' holds what one of several processes saved: slices of tensors, "
            "and not a model",
            hint="copy the files of all processes into one directory, shard-00001-model-… and so "
            "on, and name it",
            code="tensor-slices",
            file=paths[0],
        )
    there = {int(match["rank"]) for match in matches}
    missing = missing_ranks((r for r in range(1, max(there)) if r not in there), paths[0])
    findings = () if missing is None else (missing,)
    return Divided("slices", paths, matches[0]["suffix"], (_UNCOUNTED,), findings)


def _of_ranks(store: Store, directory: str, names: Sequence[str]) -> Divided | None:
    matches = _matching(_RANKS, names)
    if not matches:
        return None
    sizes = sorted({int(match["size"]) for match in matches})
    if len(sizes) > 1:
        raise _several_saves(directory, f"by {' and '.join(map(str, sizes))} processes")
    if len(matches) == 1 and sizes[0] > 1:
        return None  # one file alone is looked at as it is, with a warning (`contents.lone_slice`)
    by_rank = dict[int, str]()
    for match in matches:
        other = by_rank.setdefault(int(match["rank"]), match[0])
        if other != match[0]:
            both = f"'{escape(other)}' and '{escape(match[0])}'"
            raise _several_saves(
                directory, f"with two files of rank {int(match['rank']):,}: {both}"
            )
    paths = tuple(store.join(directory, by_rank[rank]) for rank in sorted(by_rank))
    missing = missing_ranks((r for r in range(sizes[0]) if r not in by_rank), paths[0])
    findings = () if missing is None else (missing,)
    return Divided("ranks", paths, matches[0]["suffix"], findings=findings)


def _several_saves(directory: str, which: str) -> InputError:
    return InputError(
        f"'{escape(directory)}' holds the files of several saves, {which}",
        hint="move one of them to another directory",
        code="tensor-in-several-shards",
        file=directory,
    )


def _of_step(store: Store, directory: str, names: Sequence[str]) -> Divided | None:
    """Return a step of ZeRO: the one in the directory, or the one that is named as the latest.

    Weights in the directory itself are taken before the latest step.
    """
    paths = step_files(store, directory, names)
    notes: tuple[str, ...] = ()
    weights = (name.endswith(all_suffixes()) and not is_training_state(name) for name in names)
    named = LATEST in names and store.kind(store.join(directory, LATEST)) == "file"
    if not paths and named and not any(weights):
        step = latest_step(store, directory)
        inner = _names(store, step)
        paths = step_files(store, step, inner)
        if not paths:
            refuse_parts(step, inner)
            raise without_ranks(store, step, inner)
        notes = (f"'{escape(step)}' is read, the latest step of '{escape(directory)}'",)
    if not paths:
        if not any(map(_is_known, names)):
            refuse_parts(directory, names)
        return None
    suffix = "." + paths[0].rpartition(".")[2]
    return Divided("vectors", tuple(paths), suffix, notes)


def _matching(pattern: re.Pattern[str], names: Sequence[str]) -> list[re.Match[str]]:
    found = [match for match in map(pattern.fullmatch, sorted(names)) if match is not None]
    return [each for each in found if each["suffix"] in all_suffixes() and not is_piece(each[0])]


def _is_known(name: str) -> bool:
    parsed = parse_weights_name(name, all_suffixes())
    return parsed is not None and parsed.known and not is_piece(name)


def _beside(directory: str, others: Sequence[str]) -> Iterator[str]:
    if others:
        some = ", ".join(map(escape, others[:_SHOWN])) + (", …" if len(others) > _SHOWN else "")
        yield (
            f"the distributed checkpoint in '{escape(directory)}' is read; beside it "
            f"{'is' if len(others) == 1 else 'are'} {some}, to be read by name"
        )


def _alone(store: Store, directory: str, name: str) -> InputError:
    path = store.join(directory, name)
    if store.kind(store.join(directory, METADATA)) == "file":
        hint = f"name the directory, which has the {METADATA}: '{escape(directory or '.')}'"
    else:
        hint = (
            f"copy the whole directory, with the hidden file {METADATA}: only that says where in "
            "the tensors the slices belong"
        )
    return InputError(
        f"'{escape(path)}' holds what one process saved of a distributed checkpoint (DCP): slices "
        "of tensors, and not a model",
        hint=hint,
        code="tensor-slices",
        file=path,
    )
