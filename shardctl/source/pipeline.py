"""Pipelines: directories with a `model_index.json`, whose parts are in directories within them.

The layout is that of diffusers 0.42 (`DiffusionPipeline.save_pretrained`): each model of the
pipeline is saved as by its own library (`text_encoder/` by transformers, `unet/` and `vae/` by
diffusers), and `model_index.json` names the classes. Several models of one kind are numbered
(`controlnet`, `controlnet_1`) and not all named there, so the weights decide what is a component.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from shardctl.errors import MissingError
from shardctl.findings import Finding
from shardctl.formats.registry import all_suffixes
from shardctl.naming import STAGING, is_training_state, parse_weights_name
from shardctl.source.clients import read_json
from shardctl.source.directories import real_directory
from shardctl.source.survey import look_at
from shardctl.stores.base import Entry, Store
from shardctl.stores.paths import below
from shardctl.text import escape

#: The file that makes a directory a pipeline.
MODEL_INDEX = "model_index.json"
#: Every model of a pipeline has it; what Accelerate saves of a training run does not.
_CONFIG = "config.json"
_NAME_IT = "name that directory as well, or put it there itself"
_NAME_FILE = "name that file to look at it"
_FETCH = "fetch the whole pipeline again, with all its directories"
#: Classes that have a directory and no weights, some with a `config.json` nevertheless.
_NO_MODEL = re.compile("Tokenizer|Processor|FeatureExtractor|Scheduler")
#: Directories within each other that are looked into.
_DEEPEST = 32


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
class Pipeline:
    """A pipeline: its directory, and the components with weights, in the order of their names.

    `note` says where the directory is not the one that was named.
    """

    directory: str
    components: tuple[Component, ...]
    note: str | None = None

    def path_of(self, store: Store, name: str) -> str:
        """Return the path of a component."""
        return below(store, self.directory, name)

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

    None where SOURCE is anything else, also a directory in which no component has weights.
    Raises as `real_directory` does.
    """
    note = None
    if store.kind(source) == "directory":
        place = real_directory(store, source)
        directory, note = place.path, place.note
    else:
        directory, name = store.split(source)
        if name != MODEL_INDEX:
            return None
    if store.kind(store.join(directory, MODEL_INDEX)) != "file":
        return None
    components = tuple(sorted(_components(store, directory), key=lambda component: component.name))
    return Pipeline(directory, components, note) if components else None


def _components(store: Store, top: str) -> Iterator[Component]:
    """Yield the directories that hold a checkpoint, at any depth.

    Links to directories are not followed. What a training run keeps beside the pipeline
    (`checkpoint-500/`) is not part of it.
    """
    waiting = [("", top)]
    while waiting:
        above, path = waiting.pop()
        for entry in store.list(path):
            if entry.kind != "directory" or entry.name.startswith("."):
                continue
            name = f"{above}/{entry.name}" if above else entry.name
            own = store.join(path, entry.name)
            if name.count("/") == _DEEPEST:
                continue
            names = {inner.name: inner.kind for inner in store.list(own)}
            files = [each for each, kind in names.items() if kind != "directory"]
            if _CONFIG not in files and any(map(is_training_state, files)):
                continue
            variants = {each.variant for each in look_at(store, own).every if each.known}
            # A component that is half replaced has no weights for the moment.
            if variants or STAGING in names:
                yield Component(name, frozenset(variants))
            waiting.append((name, own))


def pipeline_findings(store: Store, pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what `model_index.json` names and is not there, or lacks its weights.

    A component is named with its library and class; both are null where the pipeline goes without.
    """
    path = store.join(pipeline.directory, MODEL_INDEX)
    document = read_json(store, path)
    if not isinstance(document, dict):
        yield Finding(
            "pipeline-index-invalid", "error", "not a JSON object", "fetch it again", path
        )
        return
    known = {component.name for component in pipeline.components}
    entries = {entry.name: entry for entry in store.list(pipeline.directory)}
    for name, value in document.items():
        # What begins with an underscore is about the pipeline: `_class_name` may be such a pair.
        named = isinstance(value, list) and len(value) == 2 and all(map(_is_text, value))
        if named and not name.startswith("_") and name not in known:
            yield from _not_read(store, pipeline, name, value[1], entries.get(name))
    for name, entry in entries.items():
        if entry.kind != "directory" and parse_weights_name(name, all_suffixes()):
            message = "these weights are in no component, and are not looked at"
            top = store.join(pipeline.directory, name)
            yield Finding("weights-unlisted", "note", message, _NAME_FILE, top)


def _not_read(
    store: Store, pipeline: Pipeline, name: str, kind: str, entry: Entry | None
) -> Iterator[Finding]:
    """Yield what is wrong with a component without weights that has a class of this name."""
    path = store.join(pipeline.directory, name)
    if entry is None or "directory" not in (entry.kind, entry.target):
        message = f"the component '{escape(name)}' has no directory"
        index = store.join(pipeline.directory, MODEL_INDEX)
        yield Finding("component-missing", "error", message, _FETCH, index)
        return
    if entry.kind == "link":
        message = f"the component '{escape(name)}' is a link to a directory, and is not read"
        yield Finding("component-unread", "error", message, _NAME_IT, path)
        return
    names = {each.name for each in store.list(path)}
    if any(each.name.startswith(f"{name}/") for each in pipeline.components):
        return
    if not names:
        message = f"the directory of the component '{escape(name)}' is empty"
        yield Finding("component-missing", "error", message, _FETCH, path)
    elif not _NO_MODEL.search(kind) and any(map(_is_of_a_model, names)):
        message = f"the component '{escape(name)}' has no weights of a name that loaders know"
        yield Finding("component-missing", "error", message, _FETCH, path)


def _is_of_a_model(name: str) -> bool:
    weights = is_training_state(name) or parse_weights_name(name, all_suffixes()) is not None
    return weights or name == _CONFIG


def _is_text(value: object) -> bool:
    return isinstance(value, str)
