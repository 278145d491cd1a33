"""Look at checkpoints: `inspect`, `diff`, `verify`, and what a pipeline consists of."""

from __future__ import annotations

import os
from typing import Unpack

from shardctl.api.settings import Location, jobs_of
from shardctl.commands import diff as comparison
from shardctl.commands import inspect as inspection
from shardctl.commands.numbers import with_statistics
from shardctl.planning.keywords import TransformKeywords, transform_from
from shardctl.source.pipeline.components import find_pipeline
from shardctl.stores.registry import open_store
from shardctl.streams.progress import Observer
from shardctl.verify import run as verifying
from shardctl.verify.pipeline import asking


def components(source: Location) -> dict[str, str]:
    """Return the paths of the checkpoints that `source` means, by name.

    Of a pipeline (a directory with a `model_index.json`) these are its components that hold
    weights; anything else is one checkpoint, whose name is "". Nothing is read but names.
    """
    store, path = open_store(os.fspath(source))
    pipeline = find_pipeline(store, path)
    if pipeline is None:
        return {"": path}
    return {each.name: pipeline.path_of(store, each.name) for each in pipeline.components}


def inspect(
    source: Location,
    *,
    key: str | None = None,
    variant: str | None = None,
    pattern: str | None = None,
    stats: bool = False,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> inspection.Inspection:
    """Return what a checkpoint holds, from its headers.

    `key` chooses a nested state dict; without it everything nested has dotted names. `variant`
    chooses one of several checkpoints in a directory, "" those without one. `pattern`, such as
    `*.bias`, keeps the tensors whose whole names match. `stats` also reads these tensors, `jobs` at
    once, for the result's `statistics`; `observer` gets the bytes. Raises InputError for what
    cannot be read (a pipeline is several checkpoints: see `components`), MissingError where nothing
    matches, UsageError where a directory has several checkpoints, or where `stats` needs what is
    not installed.
    """
    store, path = open_store(os.fspath(source))
    globs = () if pattern is None else (pattern,)
    found = inspection.inspect(store, path, key=key, globs=globs, variant=variant)
    if not stats:
        return found
    return with_statistics(found, store, found.tensors, jobs=jobs_of(jobs), observe=observer)


def diff(
    a: Location,
    b: Location,
    *,
    key: str | None = None,
    stats: bool = False,
    jobs: int | None = None,
    observer: Observer | None = None,
    **transform: Unpack[TransformKeywords],
) -> comparison.Difference:
    """Compare all names, types, shapes and bytes of two checkpoints, whatever their formats.

    The result's `changes` are the tensors that differ; `same` says that there are none. `stats`
    also says how far apart their numbers are. The `transform` makes of B what `write` would, to
    compare a copy with what it was made from. `jobs` tensors are compared in parallel, and
    `observer` gets the bytes. Raises MissingError where there is no checkpoint, InputError for what
    cannot be read, and UsageError where a directory has several checkpoints, for a transform that
    cannot be, or where `stats` or `dtype` needs what is not installed.
    """
    _refuse_unknown("diff", transform)
    return comparison.diff(
        comparison.Side(*open_store(os.fspath(a))),
        comparison.Side(*open_store(os.fspath(b))),
        key=key,
        transform=transform_from(transform),
        stats=stats,
        jobs=jobs_of(jobs),
        observe=observer,
    )


def verify(
    source: Location,
    *,
    deep: bool = False,
    load: bool = False,
    against: Location | None = None,
    strict: bool = False,
    key: str | None = None,
    variant: str | None = None,
    jobs: int | None = None,
    observer: Observer | None = None,
    **transform: Unpack[TransformKeywords],
) -> verifying.Verdict:
    """Find everything that is wrong with a checkpoint; the verdict's `ok` says whether it is sound.

    Headers and the index are always checked. `deep` reads all bytes and compares checksums, `load`
    also loads every tensor with torch and safetensors, `against` compares with another checkpoint,
    of which the `transform` makes what `write` would; `strict` lets warnings count as errors.
    `variant` chooses one of several checkpoints in a directory. `jobs` files are read in parallel,
    and `observer` gets the bytes. Of a pipeline all components are verified, one after another,
    each with its start for the observer; the verdict's `components` has them by name. Raises
    MissingError where there is no checkpoint, and UsageError for a key with two meanings or
    settings that cannot be.
    """
    _refuse_unknown("verify", transform)
    store, path = open_store(os.fspath(source))
    other_store, other = (None, None) if against is None else open_store(os.fspath(against))
    how = verifying.Thoroughness(
        deep=deep,
        load=load,
        against=other,
        transform=transform_from(transform),
        strict=strict,
        key=key,
        variant=variant,
        jobs=jobs_of(jobs),
        digests=deep and against is not None,
    )
    asked = asking(store, path, how, other_store)
    return asked.verdict(
        [
            verifying.verify(store, part.source, part.how, observer, other_store)
            for part in asked.parts
        ]
    )


def _refuse_unknown(function: str, transform: TransformKeywords) -> None:
    """Raise TypeError for an argument that does not exist."""
    unknown = transform.keys() - TransformKeywords.__optional_keys__
    if unknown:
        raise TypeError(f"{function}() got an unexpected keyword argument '{min(unknown)}'")
