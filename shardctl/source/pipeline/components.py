"""Pipelines: directories with a `model_index.json`, whose parts are in directories within them.

The layout is that of diffusers 0.42 (`DiffusionPipeline.save_pretrained`): each model of the
pipeline is saved as by its own library (`text_encoder/` by transformers, `unet/` and `vae/` by
diffusers), and `model_index.json` names the classes. Several models of one kind are numbered
(`controlnet`, `controlnet_1`) and not all named there, so the weights decide what is a component.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from shardctl.errors import MissingError, StorageError
from shardctl.naming import STAGING, is_training_state
from shardctl.source.directory.directories import real_directory
from shardctl.source.directory.survey import look_at
from shardctl.stores.base import Store
from shardctl.stores.optional import followed, open_directory
from shardctl.stores.paths import below
from shardctl.text import escape

#: The file that makes a directory a pipeline.
MODEL_INDEX = "model_index.json"
#: Every model of a pipeline has it; what Accelerate saves of a training run does not.
CONFIG = "config.json"
#: Directories within each other that are looked into.
DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Component:
    """A directory of a pipeline that holds weights.

    `name` is relative to the pipeline, with slashes; `variants` are those of its checkpoints, None
    for one without a variant.
    """

    name: str
    variants: frozenset[str | None] = field(default_factory=frozenset)

    def variant_to_read(self, variant: str | None) -> str | None:
        """Return the variant to ask for: the one that is wanted, where the component has it."""
        return variant if (variant or None) in self.variants else None


@dataclass(frozen=True, slots=True)
class Passed:
    """A directory of a pipeline that is not looked into.

    `why`: it holds the state of a training run, or it is nested more deeply than `DEEPEST`.
    """

    name: str
    why: Literal["training", "depth"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline: its directory, and the components with weights, in the order of their names.

    `note` says where the directory is not the one that was named. `indexes` are the directories
    with a `model_index.json`, "" for its own: a pipeline may hold others. `passed` are those that
    were not looked into, hidden ones and links aside. Names are relative to the pipeline.
    """

    directory: str
    components: tuple[Component, ...]
    note: str | None = None
    indexes: tuple[str, ...] = ("",)
    passed: tuple[Passed, ...] = ()

    def path_of(self, store: Store, name: str) -> str:
        """Return the path of a directory in it, "" for its own."""
        return below(store, self.directory, name) if name else self.directory

    def check_variant(self, variant: str | None) -> None:
        """Raise MissingError where no component has the variant that is wanted, "" for none."""
        held = {each for component in self.components for each in component.variants}
        if variant is None or (variant or None) in held:
            return
        what = f"variant '{escape(variant)}'" if variant else "checkpoint without a variant"
        known = ", ".join(sorted(escape(each) for each in held if each is not None))
        raise MissingError(
            f"no component of the pipeline '{escape(self.directory)}' holds a {what}",
            hint=f"choose another `variant`: {known}" if known else "leave out `variant`",
            file=self.directory,
        )


def about(name: str, text: str) -> str:
    """Return a text with the component before it that it is about, "" for the whole."""
    return f"{escape(name)}: {text}" if name else text


def find_pipeline(store: Store, source: str) -> Pipeline | None:
    """Return the pipeline that SOURCE means: its directory, or the `model_index.json` in it.

    None where SOURCE is anything else, also a directory in which no component has weights. Raises
    MissingError for a `model_index.json` without components beside it, and as `real_directory`
    does.
    """
    note = None
    named = store.kind(source) != "directory"
    if named:
        directory = _directory_of(store, source)
        if directory is None:
            return None
    else:
        place = real_directory(store, source)
        directory, note = place.path, place.note
    if not _has_index(store, directory):
        return None
    found = _look_around(store, directory, note)
    if named and not found.components:
        raise _without_components(store, source)
    return found if found.components else None


def refuse_index(store: Store, source: str) -> None:
    """Raise MissingError for the `model_index.json` of a pipeline, which is not one checkpoint.

    SOURCE is a file; it may be a link to such a file.
    """
    for path in (followed(store, source), source):
        directory, name = store.split(path)
        if name == MODEL_INDEX:
            raise MissingError(
                f"'{escape(source)}' is the index of a pipeline, whose models are in directories",
                hint=f"name the directory of one of its models in '{escape(directory or '.')}'",
                file=source,
            )


def directories_around(store: Store, directory: str) -> Iterator[tuple[str, str]]:
    """Yield the directories that one is in, up to the outermost pipeline, the nearest first.

    Each comes with the name that the directory has in it, for example `prior/unet`. There are none
    around what is in no pipeline.
    """
    passed = list[tuple[str, str]]()
    path, inner = followed(store, directory), ""
    while (split := store.split(path))[0] != path:
        path, name = split
        inner = f"{name}/{inner}" if inner else name
        passed.append((path, inner))
        if _is_pipeline(store, path):
            yield from passed
            passed.clear()


def _is_pipeline(store: Store, directory: str) -> bool:
    """Whether a directory is known to be a pipeline: one above may be out of reach."""
    try:
        return store.kind(store.join(directory, MODEL_INDEX)) == "file"
    except StorageError:
        return False


def _directory_of(store: Store, source: str) -> str | None:
    """Return the directory whose `model_index.json` SOURCE names; None for any other file.

    Raises MissingError for a link of another name to such a file.
    """
    directory, name = store.split(source)
    if name == MODEL_INDEX:
        return directory if store.kind(directory) == "directory" else None
    if name.endswith(".json") and store.split(followed(store, source))[1] == MODEL_INDEX:
        raise _without_components(store, source)
    return None


def _has_index(store: Store, directory: str) -> bool:
    """Whether a directory is a pipeline, even one whose index is a link that leads nowhere."""
    kind = store.kind(store.join(directory, MODEL_INDEX))
    if kind is not None:
        return kind == "file"
    with open_directory(store, directory) as opened:
        there = opened.identity(MODEL_INDEX)
    return there is not None and there.kind == "link"


def _without_components(store: Store, source: str) -> MissingError:
    """Return the error for a `model_index.json` that was named where its pipeline is not."""
    real = followed(store, source)
    elsewhere, name = store.split(real)
    if real != source and name == MODEL_INDEX and not store.same(elsewhere, store.split(source)[0]):
        where = f"it is a link to the file of a pipeline in '{escape(elsewhere)}'"
        hint = f"name that directory: {escape(elsewhere)}"
    else:
        where = "no directory beside it holds weights of a name that loaders know"
        hint = "fetch the whole pipeline again, with all its directories"
    return MissingError(
        f"'{escape(source)}' names the components of a pipeline, and {where}",
        hint=hint,
        file=source,
    )


def _look_around(store: Store, top: str, note: str | None) -> Pipeline:
    """Return the pipeline with the directories that hold a checkpoint, at any depth.

    Links to directories are not followed. What a training run keeps beside the pipeline
    (`checkpoint-500/`) is not part of it.
    """
    components, indexes, passed = list[Component](), [""], list[Passed]()
    waiting = [("", top)]
    while waiting:
        above, path = waiting.pop()
        for entry in store.list(path):
            if entry.kind != "directory" or entry.name.startswith("."):
                continue
            name = f"{above}/{entry.name}" if above else entry.name
            if name.count("/") == DEEPEST:
                passed.append(Passed(name, "depth"))
                continue
            own = store.join(path, entry.name)
            names = {inner.name: inner.kind for inner in store.list(own)}
            files = [each for each, kind in names.items() if kind != "directory"]
            if CONFIG not in files and any(map(is_training_state, files)):
                passed.append(Passed(name, "training"))
                continue
            if MODEL_INDEX in files:
                indexes.append(name)
            held = [each for each in look_at(store, own).every if not each.is_in_pieces]
            variants = {each.variant for each in held if each.known}
            # A component that is half replaced has no weights for the moment.
            if variants or STAGING in names:
                components.append(Component(name, frozenset(variants)))
            waiting.append((name, own))
    return Pipeline(
        top,
        tuple(sorted(components, key=lambda component: component.name)),
        note,
        tuple(sorted(indexes)),
        tuple(sorted(passed, key=lambda each: each.name)),
    )
