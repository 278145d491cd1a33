"""Clients that read one weights file and no index, so that shards are not read whole or at all.

Source: `load_peft_weights` of PEFT 0.21 (`utils/save_and_load.py`), `_best_guess_weight_name` of
diffusers 0.42 (`loaders/lora_base.py`), `Module.load_torch_weights` of sentence-transformers 6.2
(`base/modules/module.py`), `load_state_dict_from_path` of timm 1.0 (`models/_hub.py`),
`constants.py` and `pretrained.py` of open_clip 3.3, `load_accelerator_state` of accelerate 1.15
(`checkpointing.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shardctl.source.small_json import read_json
from shardctl.stores.base import Store
from shardctl.text import plural


@dataclass(frozen=True, slots=True)
class Client:
    """A program that reads one weights file, and what it does where it finds shards."""

    name: str
    outcome: str

    def about(self, files: int) -> str:
        """Say what the client does with a checkpoint of that many numbered files."""
        return (
            f"{self.name} reads one weights file and no index: of {plural(files, 'numbered file')} "
            f"{self.outcome}"
        )


_FINDS_NONE = "it finds none"
_TAKES_ONE = "it loads one, and leaves out the others"

_PEFT = Client("PEFT", "it finds none, and asks the hub for the adapter")
_DIFFUSERS = Client("diffusers", _TAKES_ONE)
_OPEN_CLIP = Client("open_clip", _FINDS_NONE)
_TIMM = Client("timm", _TAKES_ONE)
_SENTENCES = Client("sentence-transformers", _FINDS_NONE)
_ACCELERATE = Client("Accelerate's load_state", _FINDS_NONE)

#: Stems that only these clients look for.
_BY_STEM: Mapping[str, Client] = {
    "adapter_model": _PEFT,
    "learned_embeds": Client("diffusers", _FINDS_NONE),
    "open_clip_model": _OPEN_CLIP,
    "open_clip_pytorch_model": _OPEN_CLIP,
    "pytorch_lora_weights": _DIFFUSERS,
    "pytorch_model_fsdp": _ACCELERATE,
}
#: Stems that transformers reads as shards too: the directory says whose they are.
_SHARED_STEMS = ("model", "pytorch_model")

_RANDOM_STATES = re.compile(r"random_states_[0-9]+\.pkl")
#: What `config.json` of a Dense module has.
_DENSE = {"in_features", "out_features", "activation_function"}
#: Modules of sentence-transformers that transformers loads, by the last part of their type.
_LOADED_BY_TRANSFORMERS = ("Transformer", "MLMTransformer", "CLIPModel")


def one_file_client(store: Store, directory: str, stem: str) -> Client | None:
    """Return the client that reads one file of this stem in a directory; None where there is none.

    The stem decides where only one client looks for it; else the files beside the weights do. The
    directory need not exist. Raises StorageError where one of these files cannot be read.
    """
    if stem in _BY_STEM:
        return _BY_STEM[stem]
    shared = stem in _SHARED_STEMS and store.kind(directory) == "directory"
    return _of_directory(store, directory) if shared else None


def _of_directory(store: Store, directory: str) -> Client | None:
    names = {entry.name for entry in store.list(directory)}
    if any(_RANDOM_STATES.fullmatch(name) for name in names):
        return _ACCELERATE
    if _is_module(store, directory):
        return _SENTENCES
    config = read_json(store, store.join(directory, "config.json"))
    config = config if isinstance(config, dict) else {}
    if "model_type" in config:  # of transformers, which loads shards
        return None
    if "open_clip_config.json" in names:
        return _OPEN_CLIP
    if config.keys() >= _DENSE:
        return _SENTENCES
    is_timm = isinstance(config.get("architecture"), str) and "pretrained_cfg" in config
    return _TIMM if is_timm else None


def _is_module(store: Store, directory: str) -> bool:
    """Whether `modules.json` here or above names the directory as a module with one weights file.

    The path of a module at the top is empty there.
    """
    above, name = store.split(directory)
    return any(
        entry.get("path") == path
        and str(entry.get("type")).rpartition(".")[2] not in _LOADED_BY_TRANSFORMERS
        for where, path in ((directory, ""), (above, name))
        for entry in _modules(read_json(store, store.join(where, "modules.json")))
    )


def _modules(document: object) -> list[Mapping[str, object]]:
    listed = document if isinstance(document, list) else []
    return [entry for entry in listed if isinstance(entry, dict)]
