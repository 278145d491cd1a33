"""What the `model_index.json` of a pipeline names, compared with what is there.

`DiffusionPipeline.save_pretrained` of diffusers 0.42 names each component with its library and
class; both are null where the pipeline goes without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from shardctl.errors import InputError
from shardctl.findings import Finding, as_finding, report_some
from shardctl.formats.registry import all_suffixes
from shardctl.naming import is_training_state, parse_weights_name
from shardctl.source.pipeline.components import CONFIG, DEEPEST, MODEL_INDEX, Passed, Pipeline
from shardctl.source.small_json import parsed
from shardctl.stores.base import Entry, Store
from shardctl.text import escape

#: Classes that have a directory and no weights, some with a `config.json` nevertheless.
_NO_MODEL = re.compile("Tokenizer|Processor|FeatureExtractor|Scheduler")
_INVALID = "pipeline-index-invalid"
_NAME_IT = "name that directory as well, or put it there itself"
_CONFIGURE = f"put the {CONFIG} of the model there, or name that directory as well"
_NAME_FILE = "name that file to look at it"
_FETCH = "fetch the whole pipeline again, with all its directories"


def pipeline_findings(store: Store, pipeline: Pipeline) -> tuple[Finding, ...]:
    """Return what is wrong with a pipeline as a whole, and with those within it.

    That is what an index names and is not there or lacks its weights, and what is not looked into:
    of each code and severity the first hundred, and how many more there are. Raises StorageError
    for an index that cannot be read.
    """
    found: list[Finding] = []
    report_some(_findings(store, pipeline), found.append)
    return tuple(found)


def _findings(store: Store, pipeline: Pipeline) -> Iterator[Finding]:
    named = set[str | None]()
    for name in pipeline.indexes:
        for finding in _compared(store, pipeline, name):
            named.add(finding.file)
            yield finding
    for passed in pipeline.passed:
        path = pipeline.path_of(store, passed.name)
        if path not in named:
            yield _not_looked_into(passed, path)


def _compared(store: Store, pipeline: Pipeline, home: str) -> Iterator[Finding]:
    """Yield what the index in one directory of the pipeline names and is not there."""
    directory = pipeline.path_of(store, home)
    path = store.join(directory, MODEL_INDEX)
    try:
        document = parsed(store, path, _INVALID)
    except InputError as error:
        yield replace(as_finding(error), code=_INVALID)
        return
    if not isinstance(document, dict):
        yield Finding(_INVALID, "error", "not a JSON object", "fetch it again", path)
        return
    known = {component.name for component in pipeline.components}
    entries = {entry.name: entry for entry in store.list(directory)}
    for name, value in document.items():
        # What begins with an underscore is about the pipeline: `_class_name` may be such a pair.
        is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_text, value))
        full = f"{home}/{name}" if home else name
        if is_pair and not name.startswith("_") and full not in known:
            yield from _not_read(store, pipeline, full, path, value[1], entries.get(name))
    for name, entry in entries.items():
        named = parse_weights_name(name, all_suffixes())
        if entry.kind != "directory" and named and home not in known:
            message = "these weights are in no component, and are not looked at"
            top = store.join(directory, name)
            yield Finding("weights-unlisted", "note", message, _NAME_FILE, top)


def _not_read(
    store: Store, pipeline: Pipeline, name: str, index: str, kind: str, entry: Entry | None
) -> Iterator[Finding]:
    """Yield what is wrong with a component without weights that has a class of this name."""
    path = pipeline.path_of(store, name)
    if entry is None or "directory" not in (entry.kind, entry.target):
        message = f"the component '{escape(name)}' has no directory"
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
    elif Passed(name, "training") in pipeline.passed and any(map(_is_weights, names)):
        message = (
            f"the component '{escape(name)}' has the state of a training run and no {CONFIG}: "
            "it is not looked into, and writers leave it as it is"
        )
        yield Finding("component-unread", "error", message, _CONFIGURE, path)
    elif not _NO_MODEL.search(kind) and any(map(_is_of_a_model, names)):
        message = f"the component '{escape(name)}' has no weights of a name that loaders know"
        yield Finding("component-missing", "error", message, _FETCH, path)


def _not_looked_into(passed: Passed, path: str) -> Finding:
    if passed.why == "training":
        message = (
            "the directory holds the state of a training run, and is not looked into: writers "
            "leave it as it is"
        )
        return Finding("weights-unlisted", "note", message, "name it to look at its weights", path)
    message = f"the directory is nested in more than {DEEPEST} others, and is not looked into"
    return Finding("component-unread", "error", message, "name it as well", path)


def _is_weights(name: str) -> bool:
    return parse_weights_name(name, all_suffixes()) is not None and not is_training_state(name)


def _is_of_a_model(name: str) -> bool:
    return _is_weights(name) or is_training_state(name) or name == CONFIG


def _is_text(value: object) -> bool:
    return isinstance(value, str)
