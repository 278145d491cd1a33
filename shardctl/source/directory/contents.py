"""Say what is there instead of a checkpoint: in a directory without one, and at a missing path.

Names tell the layouts of whole directories, contents the kinds of single files; every hint is a
command or a step that is safe to take.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from shardctl.errors import MissingError
from shardctl.formats.detection import recognise_file
from shardctl.formats.foreign import Kind
from shardctl.formats.registry import all_suffixes, standalone
from shardctl.formats.unclaimed import kind_of
from shardctl.naming import is_training_state
from shardctl.stores.base import Entry, Store
from shardctl.stores.elsewhere import hub_id
from shardctl.text import escape, plural

_SHOWN = 5
#: Files that are opened to say what they are.
_MOST_OPENED = 50
#: Names that a name which does not exist is compared with.
_MOST_COMPARED = 1000
#: Suffixes of the texts and the code beside a model.
_TEXTS = (".json", ".txt", ".md", ".py", ".yaml", ".yml", ".jinja", ".toml", ".cfg", ".log", ".sh")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a directory holds, to follow "holds no checkpoint", and what to do."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Layout:
    """A kind of directory, by a name in it; `hint` has a place for the directory, quoted."""

    name: re.Pattern[str]
    what: str
    hint: str


_LAYOUTS = (
    _Layout(
        re.compile(r".*\.distcp"),
        "it has slices of a distributed checkpoint of torch (DCP), and no .metadata, which says "
        "where they belong",
        "copy the whole directory {}, with the hidden file .metadata",
    ),
    _Layout(
        re.compile(r"zero_to_fp32\.py|global_step\d+"),
        "it is a checkpoint of DeepSpeed, without the file `latest` that names a step",
        "name the directory of one step in {}, for example global_step100",
    ),
    _Layout(
        re.compile(r"(?:.*_)?mp_rank_\d+_model_states\.pt"),
        "it is one step of a checkpoint of DeepSpeed, without the files of ZeRO's ranks",
        "copy the whole directory {} again, or name the file of the model, with `key`",
    ),
    _Layout(
        re.compile(r"mp_rank_\d+(?:_\d+)?|latest_checkpointed_iteration\.txt"),
        "it is a checkpoint of Megatron, divided by ranks",
        "convert it with the tools of Megatron first",
    ),
    _Layout(
        re.compile(r"saved_model\.pb"),
        "it is a SavedModel of TensorFlow",
        "load it with TensorFlow, and save its variables as safetensors",
    ),
    _Layout(
        re.compile(r".*\.data-\d{5}-of-\d{5}|.*\.ckpt.*\.index"),
        "it is a checkpoint of TensorFlow",
        "load it with TensorFlow, and save its variables as safetensors",
    ),
    _Layout(
        re.compile(r"model_index\.json"),
        "it is a pipeline, whose models are in directories",
        "name the directory of one of its models in {}",
    ),
)


def missing(store: Store, source: str) -> MissingError:
    """Return the error for a path that does not exist; it may be meant as an id of the hub."""
    hub = None if source.endswith((*all_suffixes(), ".json")) else hub_id(source)
    parent = store.split(source.rstrip("/"))[0]
    if hub is not None and (store.kind(parent) is None or "/" not in source.rstrip("/")):
        hint = f"for a model of the Hugging Face hub, download it first: {hub.command}"
    else:
        hint = f"check the path; {_near(store, source, parent)}a link may be dangling"
    return MissingError(f"'{escape(source)}' does not exist", hint=hint, file=source)


def _near(store: Store, source: str, parent: str) -> str:
    """Return what to say about the directory that a path would be in, or about a name like its."""
    if store.kind(parent) != "directory":
        return f"the directory '{escape(parent)}' does not exist either; "
    name = source.rstrip("/").rpartition("/")[2]
    names = [entry.name for entry in store.list(parent)][:_MOST_COMPARED]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f"did you mean '{escape(store.join(parent, near[0]))}'? " if near else ""


def contents(store: Store, directory: str) -> Contents:
    """Return what a directory holds that has no checkpoint."""
    entries = sorted(store.list(directory), key=lambda entry: entry.name)
    names = [entry.name for entry in entries]
    for layout in _LAYOUTS:
        if any(layout.name.fullmatch(name) for name in names):
            return Contents(layout.what, layout.hint.format(_quoted(directory)))
    if not names:
        return Contents("it is empty", "check the path, or fetch the model again")
    return _counted(store, directory, entries)


def _quoted(directory: str) -> str:
    """Return a path to paste into a shell; the backquotes of the command stay the only ones."""
    return shlex.quote(escape(directory).replace("`", "?") or ".")


def _counted(store: Store, directory: str, entries: Sequence[Entry]) -> Contents:
    """Return the kinds of the files, the most frequent first, and the directories."""
    files = [entry.name for entry in entries if "directory" not in (entry.kind, entry.target)]
    directories = [entry.name for entry in entries if "directory" in (entry.kind, entry.target)]
    inner = [name for name in directories if not name.startswith(".")]
    training = [name for name in files if is_training_state(name)]
    looked_at = [name for name in files if _worth_a_look(name) and name not in training]
    kinds: dict[Kind, list[str]] = {}
    for name in looked_at[:_MOST_OPENED]:
        kinds.setdefault(_kind_of(store, store.join(directory, name)), []).append(name)
    by_number = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    listed = [_several(kind, kinds[kind]) for kind in by_number]
    if training:
        listed.append(f"training state ({_some(training)})")
    others = len(files) - len(training) - sum(map(len, kinds.values()))
    if others:
        listed.append(plural(others, "other file"))
    if inner:
        noun = "directory" if len(inner) == 1 else "directories"
        listed.append(f"{len(inner):,} {noun}")
    if not listed:
        listed.append("nothing but hidden directories")
    hint = by_number[0].hint if by_number else _where_to_look(inner)
    return Contents(f"it has {', '.join(listed)}", hint)


def _where_to_look(inner: Sequence[str]) -> str:
    usual = ", ".join(f"{known.default_stem}{known.suffix}" for known in standalone())
    one_of = f"one of its directories ({_some(inner)}), " if inner else ""
    return f"name {one_of}a directory with {usual} or an index, or the weights file itself"


def _worth_a_look(name: str) -> bool:
    """Whether a file may be weights: the texts and the code beside a model are not."""
    return not name.endswith(_TEXTS) and not name.startswith(".")


def _kind_of(store: Store, path: str) -> Kind:
    if store.kind(path) != "file":
        hint = "fetch the model again, or fix the link"
        return Kind("a name without a file", "names without files", hint)
    with store.open(path) as reader:
        if recognise_file(reader) is not None:
            return Kind("a weights file", "weights files", "name the weights file itself")
        return kind_of(reader)


def _several(kind: Kind, names: Sequence[str]) -> str:
    what = kind.what if len(names) == 1 else f"{len(names):,} {kind.many}"
    return f"{what} ({_some(names)})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(escape, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
