"""Save a model or a state dict in shards, from the tensors' memory."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast

import torch

from shardctl.api.settings import Location, run_options
from shardctl.api.writing import noted
from shardctl.commands.preparing.prepare import prepare_held
from shardctl.commands.write import write
from shardctl.errors import UsageError
from shardctl.formats.registry import DEFAULT
from shardctl.planning.keywords import SelectionKeywords, WriteKeywords, options_from
from shardctl.planning.plan import Plan
from shardctl.planning.request import (
    Companions,
    Experts,
    ExpertsAction,
    Order,
    Replace,
    Tied,
)
from shardctl.stores.registry import open_store
from shardctl.streams.progress import Observer, Silent
from shardctl.torch.saving.held import held_checkpoint
from shardctl.torch.saving.memory import MemoryOfModel, Storages

#: What is written beside the weights of a model that has a config.
CONFIG = "config.json"
_DEFAULT_SIZE = "5GB"


class SaveKeywords(SelectionKeywords, total=False):
    """What else `save_sharded` takes: the settings of `shardctl.write` that make sense here."""

    num_shards: int | None
    single: bool
    strict_size: bool
    order: Order
    name: str | None
    variant: str | None
    key: str | None
    group_by: str | None
    experts: Experts | ExpertsAction | None
    dtype: str | None
    keep_dtype: str | Sequence[str]
    drop_non_tensors: bool
    tied: Tied
    companions: Companions
    replace: Replace
    replace_companions: bool
    read_back: bool
    checksums: bool


def save_sharded(
    model_or_state_dict: torch.nn.Module | Mapping[str, object],
    folder: Location,
    *,
    max_shard_size: int | str | None = _DEFAULT_SIZE,
    format: str = DEFAULT.name,  # noqa: A002 - the name of the setting everywhere
    metadata: Mapping[str, str] | None = None,
    restart: bool = False,
    jobs: int | None = None,
    observer: Observer | None = None,
    **options: Unpack[SaveKeywords],
) -> Plan:
    """Write the weights of a model into a directory, and return the plan of what was written.

    `max_shard_size` limits the tensors of a shard, in bytes or as text; `num_shards` or `single`
    among the `options` take its place, and `key` chooses a nested state dict. `metadata` are string
    pairs for files that have room for them. The bytes are written from the tensors' own memory,
    `jobs` files at once; they must not change meanwhile. Tied tensors and views are kept where the
    format can, else recorded, as `tied` says. The `config.json` of a model that has a config is
    written too, unless `companions` is "none", and replaces an older one together with the weights
    (unless `replace_companions` is false).

    A directory that holds a checkpoint is refused, unless `replace` is given; the old files are
    removed when the new ones are complete. A save that was interrupted is resumed by the same call:
    finished files are kept where they hold these very bytes. Nothing is written where the
    directory has it all already.

    Raises InputError, which names them, for tensors that are not plain data; UsageError,
    TargetError and StorageError as `shardctl.write` does, and TypeError for an argument that does
    not exist.
    """
    unknown = options.keys() - SaveKeywords.__optional_keys__
    if unknown:
        raise TypeError(f"save_sharded() got an unexpected keyword argument '{min(unknown)}'")
    pairs = dict(metadata or {})
    if not all(isinstance(text, str) for pair in pairs.items() for text in pair):
        raise UsageError(
            "`metadata` has other than text", hint="give texts, such as those of `json.dumps`"
        )
    model = model_or_state_dict if isinstance(model_or_state_dict, torch.nn.Module) else None
    state = model.state_dict() if model is not None else model_or_state_dict
    if not isinstance(state, Mapping):
        raise UsageError(
            f"cannot save a {type(state).__qualname__}", hint="give a model or a state dict"
        )
    sized = max_shard_size == _DEFAULT_SIZE and ("num_shards" in options or "single" in options)
    asked = {"replace_companions": True, **options, "format": format}
    asked["max_shard_size"] = None if sized else max_shard_size
    write_options = options_from(cast("WriteKeywords", asked))
    run = run_options(jobs, restart=restart)
    storages = Storages()
    held = dict(state)  # a lazy one is read once
    located, checkpoint = held_checkpoint(
        held,
        storages,
        pairs,
        key=write_options.key,
        drop_non_tensors=write_options.drop_non_tensors,
    )
    config = None if model is None else config_json(model)
    source = MemoryOfModel(storages, {} if config is None else {CONFIG: config.encode()})
    target, directory = open_store(os.fspath(folder))
    prepared = prepare_held(
        source, located, checkpoint, target, directory, write_options, finish=True
    )
    if prepared.receipts is None:
        write(source, target, prepared, run, observer or Silent())
    return noted(prepared)


def config_json(model: torch.nn.Module) -> str | None:
    """Return the text of a model's `config.json`, None where it has no config.

    Configs of transformers have `to_json_string`, as have models of diffusers.
    """
    config: Any = getattr(model, "config", None)
    if hasattr(config, "to_json_string"):
        # As transformers writes it, with the class to load; the model's own config is left alone.
        config = copy.deepcopy(config)
        config.architectures = [type(model).__name__]
        return _text(config.to_json_string())
    if config is not None and hasattr(model, "to_json_string"):
        return _text(model.to_json_string())
    return None


def _text(made: object) -> str | None:
    """Return JSON text; None for what is not that, from a method that only has the name."""
    try:
        json.loads(made if isinstance(made, str) else "")
    except ValueError:
        return None
    return str(made)
