"""Who is timed: shardctl, the yardsticks (`cp`, `sha256sum`, a bare Typer app), and the peers.

Left out, since they cannot read what the others do: torch's `consolidate_safetensors_files` raises
ValueError for files without the metadata of torch's distributed checkpoints (`DCP_SHARDING_INFO`),
and `accelerate merge-weights` reads the distributed checkpoints of FSDP only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from shardctl._version import __version__

#: What the peers' users do: load, and save again with the hub's writer.
#: Arguments: source, target, shard size in bytes, format.
_HUB = """
import glob, logging, os, sys
from huggingface_hub import save_torch_state_dict
source, target, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
logging.getLogger("huggingface_hub").setLevel("ERROR")
state = {}
for path in sorted(glob.glob(os.path.join(source, "*.safetensors"))):
    from safetensors.torch import load_file
    state.update(load_file(path))
for path in sorted(glob.glob(os.path.join(source, "*.bin"))):
    import torch
    state.update(torch.load(path, weights_only=True))
safe = sys.argv[4] == "safetensors"
save_torch_state_dict(state, target, max_shard_size=size, safe_serialization=safe)
"""

#: A torch file as one safetensors file, by the two libraries themselves. Arguments: source, target.
_LOAD_AND_SAVE = """
import glob, os, sys
import torch
from safetensors.torch import save_file
(path,) = glob.glob(os.path.join(sys.argv[1], "*.bin"))
target = os.path.join(sys.argv[2], "model.safetensors")
save_file(torch.load(path, weights_only=True), target, {"format": "pt"})
"""

#: What torch's users do with checkpoints that several processes saved, and with those that they
#: cast, or take a part of. Arguments: source, target.
_RESHAPERS = {
    "dcp_to_torch_save": """
import os, sys
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
dcp_to_torch_save(sys.argv[1], os.path.join(sys.argv[2], "pytorch_model.bin"))
""",
    "consolidate_safetensors_files": """
import sys
from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files
from safetensors import safe_open
import glob, os
names = [name for path in glob.glob(os.path.join(sys.argv[1], "*.safetensors"))
         for name in safe_open(path, "pt").keys()]
consolidate_safetensors_files(sys.argv[1], sys.argv[2], dict.fromkeys(names, 1), num_threads=2)
""",
    "load, cast, save": """
import os, sys
import torch
from safetensors.torch import load_file, save_file
state = load_file(os.path.join(sys.argv[1], "model.safetensors"))
for name in state:
    state[name] = state[name].to(torch.bfloat16)
save_file(state, os.path.join(sys.argv[2], "model.safetensors"), {"format": "pt"})
""",
    "load, select, save": """
import os, re, sys
from safetensors import safe_open
from safetensors.torch import save_file
with safe_open(os.path.join(sys.argv[1], "model.safetensors"), "pt") as file:
    wanted = re.compile(r"model[.]layers[.](.|1[0-5])[.]")
    state = {name: file.get_tensor(name) for name in file.keys() if wanted.match(name)}
save_file(state, os.path.join(sys.argv[2], "model.safetensors"), {"format": "pt"})
""",
}

#: The least that a program with a Typer command line does.
_BARE_TYPER = """
import typer
app = typer.Typer()
@app.command()
def greet(name: str = "world") -> None:
    print(name)
app()
"""

#: The packages that each peer needs.
PEERS: dict[str, tuple[str, ...]] = {
    "huggingface_hub": ("huggingface_hub", "safetensors", "torch"),
    "torch.load, save_file": ("safetensors", "torch"),
    "transformers": ("transformers", "torch"),
    "accelerate": ("accelerate", "torch"),
    "safetensors": ("safetensors", "torch"),
    "torch.save": ("torch",),
    "torch.load": ("torch",),
    "torch.load, mmap": ("torch",),
    "fastsafetensors": ("fastsafetensors", "torch"),
    "dcp_to_torch_save": ("torch",),
    "consolidate_safetensors_files": ("safetensors", "torch"),
    "load, cast, save": ("safetensors", "torch"),
    "load, select, save": ("safetensors", "torch"),
    "boto3": ("boto3", "huggingface_hub", "safetensors", "torch"),
}
#: Packages of the servers that are asked, and of shardctl's own ways to ask them.
_REMOTE = ("moto", "obstore")


class Meter(Protocol):
    """What counts a run from outside of its process, for example at the server that it asks."""

    def begin(self) -> None:
        """Count from here on."""

    def end(self) -> Mapping[str, int]:
        """Return what was counted, as fields of a sample."""


@dataclass(frozen=True)
class Contender:
    """One way to do a piece of work.

    `command` has `{target}` in the place of the directory that it `writes`. A contender that
    `syncs` makes its result durable by itself; for others that is done for it, within the time. One
    that `reports` prints its own seconds and memory, as JSON: those of the process would be mostly
    imports. `cold` is the directory whose files are dropped from the page cache before each run;
    none where it is empty. `result` is where the result is, if not in that directory itself: a path
    below `{target}`, or a URL. What a `meter` counts takes the place of what the system counts. One
    with no work is timed once in a round, for all works.
    """

    work: str
    name: str
    command: tuple[str, ...]
    writes: bool = True
    syncs: bool = False
    reports: bool = False
    cold: str = ""
    result: str = "{target}"
    meter: Meter | None = None

    def command_to(self, target: str) -> list[str]:
        """Return the command that writes into a directory."""
        return [part.replace("{target}", target) for part in self.command]


def shardctl(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs this checkout's shardctl."""
    return (sys.executable, "-m", "shardctl", *arguments)


def quiet(*arguments: str) -> tuple[str, ...]:
    """Return the same command, printing only errors."""
    return shardctl(*arguments, "--quiet")


def copy(source: str, *options: str) -> Contender:
    """Return the yardstick of works that write: a copy of the same directory."""
    return Contender("", " ".join(("cp -r", *options)), ("cp", "-r", *options, source, "{target}"))


def bare_loop(source: str) -> Contender:
    """Return the limit of works that copy: the kernel's own copy of a directory's files, synced."""
    command = (sys.executable, "-S", "-m", "benchmarks.loop", source, "{target}")
    return Contender("", "bare loop", command, syncs=True)


def sha256sum(paths: list[str]) -> Contender:
    """Return the yardstick of works that read every byte."""
    return Contender("", "sha256sum", ("sha256sum", *paths), writes=False)


def bare_typer() -> Contender:
    """Return the yardstick of starting."""
    return Contender("", "bare Typer app", (sys.executable, "-c", _BARE_TYPER), writes=False)


def peer(work: str, name: str, source: str, limit: int, container: str) -> Contender:
    """Return one of PEERS, for the tensors of a directory; `limit` is a shard's in bytes."""
    if name == "huggingface_hub":
        return Contender(
            work, name, (sys.executable, "-c", _HUB, source, "{target}", str(limit), container)
        )
    return Contender(work, name, (sys.executable, "-c", _LOAD_AND_SAVE, source, "{target}"))


def reshaper(work: str, name: str, source: str) -> Contender:
    """Return one of the peers that take a checkpoint apart, or put one together."""
    return Contender(work, name, (sys.executable, "-c", _RESHAPERS[name], source, "{target}"))


def model_way(work: str, way: str, hidden: int, source: str, *, cold: bool = False) -> Contender:
    """Return a way of `benchmarks.models` to save or load a model; its name ends in who does it."""
    kind, _, name = way.rpartition("-")
    saves = kind.startswith("save")
    command = (
        *(sys.executable, "-m", "benchmarks.models", way, str(hidden), source, "{target}"),
        *(("--cold",) if cold else ()),
    )
    return Contender(work, name, command, writes=saves, syncs=True, reports=True)


def missing(name: str) -> str | None:
    """Return the package that a peer lacks here; None where it can run."""
    return next(
        (package for package in PEERS[name] if importlib.util.find_spec(package) is None), None
    )


def versions() -> dict[str, str]:
    """Return the versions of what is compared, by package."""
    packages = sorted(
        {"typer", *_REMOTE, *(package for needed in PEERS.values() for package in needed)}
    )
    found = {"shardctl": __version__}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
