"""Save or load a model in one of several ways, and print the seconds and the memory it took.

    python -m benchmarks.models WAY HIDDEN SOURCE TARGET [--cold]

Each runs in a new process. The model (a Llama in bfloat16, of 8 heads and HIDDEN), the imports and
whatever else comes first are not timed. The peak is that of the resident set above what was there
before, and above the new model where one is made; pages of memory maps count in it. `mapped` are
the bytes of files that are mapped in the end and were not before: a tensor that lies there has no
memory else. A save ends when the files are durable. With `--cold` the files of SOURCE are
dropped from the page cache first.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.measure import drop, sync_files

#: The limit of a shard, in bytes, for all that save.
SHARD_BYTES = 5 * 10**9
_SEED = 20181011


def config(hidden: int) -> Any:
    """Return a config of transformers with the sizes of `sources.shapes`."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=128_256 * hidden // 4096,
        hidden_size=hidden,
        intermediate_size=hidden * 7 // 2,
        num_hidden_layers=32,
        num_attention_heads=8,
        num_key_value_heads=2,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )


def bare(hidden: int) -> Any:
    """Return the model on the meta device."""
    import torch
    from accelerate import init_empty_weights
    from transformers import LlamaForCausalLM

    with init_empty_weights(include_buffers=False):
        return LlamaForCausalLM(config(hidden)).to(torch.bfloat16).eval()


def made(hidden: int) -> Any:
    """Return the model with random bytes, always the same."""
    import torch

    chunk = torch.randn(2**20, generator=torch.Generator().manual_seed(_SEED)).bfloat16()
    model = bare(hidden)
    for name, parameter in list(model.named_parameters()):
        owner = model.get_submodule(name.rpartition(".")[0])
        repeats = -(-parameter.numel() // len(chunk))
        # A copy, since a part of a larger storage is more than peers save.
        data = chunk.repeat(repeats)[: parameter.numel()].view(parameter.shape).clone()
        setattr(owner, name.rpartition(".")[2], torch.nn.Parameter(data, requires_grad=False))
    return model


def _save_shardctl(model: Any, _: str, target: str, name: str) -> None:
    from shardctl.torch import save_sharded

    save_sharded(model, target, max_shard_size=SHARD_BYTES, format=name)


def _save_transformers(model: Any, _: str, target: str) -> None:
    model.save_pretrained(target, max_shard_size=SHARD_BYTES)
    sync_files(target)


def _save_hub(model: Any, _: str, target: str, name: str) -> None:
    from huggingface_hub import save_torch_state_dict

    safe = name == "safetensors"
    state = model.state_dict()
    save_torch_state_dict(state, target, max_shard_size=SHARD_BYTES, safe_serialization=safe)
    sync_files(target)


def _save_torch(model: Any, _: str, target: str) -> None:
    import torch

    torch.save(model.state_dict(), os.path.join(target, "pytorch_model.bin"))
    sync_files(target)


def _fill_shardctl(model: Any, source: str, _: str) -> None:
    from shardctl.torch import load_sharded_checkpoint

    load_sharded_checkpoint(model, source)


def _fill_transformers(model: Any, source: str, _: str) -> None:
    from transformers.trainer_utils import load_sharded_checkpoint

    # It takes nothing without an index, and others no set of shards.
    name = "model.safetensors"
    with tempfile.TemporaryDirectory() as directory:
        os.symlink(os.path.join(source, name), os.path.join(directory, name))
        with open(os.path.join(directory, f"{name}.index.json"), "w", encoding="utf-8") as file:
            json.dump({"weight_map": dict.fromkeys(model.state_dict(), name)}, file)
        load_sharded_checkpoint(model, directory)


def _fill_accelerate(model: Any, source: str, _: str) -> None:
    from accelerate import load_checkpoint_in_model

    load_checkpoint_in_model(model, source)


def _fill_safetensors(model: Any, source: str, _: str) -> None:
    from safetensors.torch import load_model

    load_model(model, os.path.join(source, "model.safetensors"))


def _new_shardctl(model: Any, source: str, _: str) -> None:
    from shardctl.torch import load_sharded_checkpoint

    load_sharded_checkpoint(model, source, assign=True)
    _use(model)


def _new_mapped(model: Any, source: str, _: str) -> None:
    from shardctl.torch import load_sharded_checkpoint

    load_sharded_checkpoint(model, source, assign=True, mmap=True)
    _use(model)


def _new_transformers(_: Any, source: str, __: str) -> Any:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(source)
    _use(model)
    return model


def _new_torch(model: Any, source: str, _: str, *, mmap: bool = False) -> None:
    import torch

    (path,) = glob.glob(os.path.join(source, "*.bin"))
    model.load_state_dict(torch.load(path, mmap=mmap, weights_only=True), assign=True)
    _use(model)


def _new_safetensors(model: Any, source: str, _: str) -> None:
    from safetensors.torch import load_file

    model.load_state_dict(load_file(os.path.join(source, "model.safetensors")), assign=True)
    _use(model)


def _new_fastsafetensors(model: Any, source: str, _: str) -> Any:
    from fastsafetensors import SafeTensorsFileLoader, SingleGroup

    loader = SafeTensorsFileLoader(SingleGroup(), "cpu", nogds=True)
    loader.add_filenames({0: glob.glob(os.path.join(source, "*.safetensors"))})
    buffers = loader.copy_files_to_device()
    state = {name: buffers.get_tensor(name) for name in loader.get_keys()}
    model.load_state_dict(state, assign=True)
    _use(model)
    return buffers


def _use(model: Any) -> None:
    """Touch every page, so that what is only mapped is read too."""
    import torch

    for parameter in model.parameters():
        parameter.detach().view(-1).view(torch.uint8)[::4096].sum()


Work = Callable[[Any, str, str], object]
#: The ways, by name; those that begin with `new` get a model without data.
WAYS: dict[str, Work] = {
    "save-shardctl": lambda *given: _save_shardctl(*given, "safetensors"),
    "save-transformers": _save_transformers,
    "save-huggingface_hub": lambda *given: _save_hub(*given, "safetensors"),
    "save-bin-shardctl": lambda *given: _save_shardctl(*given, "bin"),
    "save-bin-huggingface_hub": lambda *given: _save_hub(*given, "bin"),
    "save-bin-torch.save": _save_torch,
    "fill-shardctl": _fill_shardctl,
    "fill-transformers": _fill_transformers,
    "fill-accelerate": _fill_accelerate,
    "fill-safetensors": _fill_safetensors,
    "new-shardctl": _new_shardctl,
    "new-transformers": _new_transformers,
    "new-shardctl, mmap": _new_mapped,
    "new-safetensors": _new_safetensors,
    "new-torch.load": _new_torch,
    "new-torch.load, mmap": lambda *given: _new_torch(*given, mmap=True),
    "new-fastsafetensors": _new_fastsafetensors,
}


def _status(field: str) -> int:
    """Return a size of /proc/self/status, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def main(way: str, hidden: str, source: str, target: str, *how: str) -> None:
    """Do the work, and print what it took."""
    import accelerate
    import huggingface_hub
    import safetensors.torch
    import torch
    import transformers

    import shardctl.torch

    transformers.utils.logging.disable_progress_bar()
    # Imported before the clock starts, whichever of them the way needs.
    del accelerate, huggingface_hub, safetensors, shardctl, torch
    model = bare(int(hidden)) if way.startswith("new") else made(int(hidden))
    nbytes = sum(each.nbytes for each in model.parameters()) if way.startswith("new") else 0
    if "--cold" in how:
        drop(source)
    before, files = _status("VmRSS"), _status("RssFile")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # VmHWM counts from here on: proc(5)
    begun = time.perf_counter()
    held = WAYS[way](model, source, target)
    seconds = time.perf_counter() - begun
    peak = max(_status("VmHWM") - before - nbytes, 0)
    mapped = max(_status("RssFile") - files, 0)
    print(json.dumps({"seconds": seconds, "peak": peak, "mapped": mapped}))
    del held


if __name__ == "__main__":
    main(*sys.argv[1:])
