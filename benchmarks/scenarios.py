"""The works that are measured, in stages that share a directory and its sources.

A work's name is `STAGE/WORK`. What shares a source is one scene: it is timed in the same rounds,
beside one yardstick.
"""

from __future__ import annotations

import glob
import itertools
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from benchmarks import remote, reshaping
from benchmarks.contenders import Contender, bare_typer, copy, model_way, quiet, shardctl
from benchmarks.measure import Scene, run
from benchmarks.rewriting import COLD, READINGS, REWRITINGS, SIZE_PARTS, cold, disk, sizes, xfs
from benchmarks.sources import hidden_for, nbytes_of, sparse
from benchmarks.stages import Request, Stage


@dataclass(frozen=True)
class Headers:
    """Works that read headers only, on sparse files, or on one `.bin` made from those."""

    label: str
    files: int
    tensors_each: int
    elements: int
    container: str = "safetensors"
    verbs: tuple[str, ...] = ("inspect", "plan", "verify")

    @property
    def works(self) -> tuple[str, ...]:
        """Their full names."""
        return tuple(f"headers/{verb}-{self.label}" for verb in self.verbs)

    def make(self, directory: str) -> str:
        """Make the set below a directory, and return the set's directory."""
        made = sparse(
            os.path.join(directory, "sparse"), self.files, self.tensors_each, self.elements
        )
        if self.container == "safetensors":
            return made
        target = os.path.join(directory, "single")
        run(quiet("merge", made, target, "--to", self.container, "--no-record"))
        return target

    def contenders(self, source: str, works: Collection[str]) -> Iterator[Contender]:
        """Yield shardctl, for each of the chosen works."""
        commands = {
            "inspect": quiet("inspect", source, "--json"),
            "plan": quiet("split", source, f"{source}-split", "--dry-run"),
            "verify": quiet("verify", source),
        }
        for verb, work in zip(self.verbs, self.works, strict=True):
            if work in works:
                yield Contender(work, "shardctl", commands[verb], writes=False)


#: A thousand to a million tensors of a mebibyte in a thousand a file (a tebibyte at most), with the
#: plan alone measured for the smaller ones; as many small ones as a `.bin` may have; and few that
#: are huge.
HEADERS = (
    Headers("1000", 1, 1_000, 524_288, verbs=("plan",)),
    Headers("10000", 10, 1_000, 524_288, verbs=("plan",)),
    Headers("100000", 100, 1_000, 524_288, verbs=("plan",)),
    Headers("1000000", 1_000, 1_000, 524_288),
    Headers("bin-100000", 100, 1_000, 64, "bin"),
    Headers("terabyte", 1, 100, 5_000_000_000),
)
#: Commands that do next to nothing, by work; `{source}` is a small safetensors file.
STARTS = {
    "start/version": ("--version",),
    "start/help": ("--help",),
    "start/inspect": ("inspect", "{source}"),
}


#: Bytes of the model that is saved and loaded from Python, at most.
MOST_MODEL_BYTES = 2 * 10**9
_FILL = ("shardctl", "transformers", "accelerate", "safetensors")
_NEW = ("shardctl", "shardctl, mmap", "transformers", "safetensors", "fastsafetensors")
_NEW_BIN = ("shardctl", "shardctl, mmap", "torch.load", "torch.load, mmap")
#: Works from Python: what is read, and the ways of `benchmarks.models`. `save` writes the model,
#: `fill` reads into one that is there, `new` makes one; from the page cache, or from the disk.
PYTHON = {
    "save-safetensors": ("safetensors", "save", ("shardctl", "transformers", "huggingface_hub")),
    "save-bin": ("bin", "save-bin", ("shardctl", "huggingface_hub", "torch.save")),
    "fill-warm": ("safetensors", "fill", _FILL),
    "fill-cold": ("safetensors", "fill", _FILL),
    "new-warm": ("safetensors", "new", _NEW),
    "new-cold": ("safetensors", "new", _NEW),
    "new-bin-warm": ("bin", "new", _NEW_BIN),
    "new-bin-cold": ("bin", "new", _NEW_BIN),
}


def _starts(request: Request) -> Iterator[Scene]:
    directory = sparse(os.path.join(request.directory, "small"), 1, 10, 64)
    (source,) = glob.glob(os.path.join(directory, "*.safetensors"))
    contenders = tuple(
        Contender(
            work,
            "shardctl",
            shardctl(*(part.replace("{source}", source) for part in command)),
            writes=False,
        )
        for work, command in STARTS.items()
        if work in request.works
    )
    yield Scene(contenders, bare_typer(), directory, os.path.getsize(source), 10)


def _headers(request: Request) -> Iterator[Scene]:
    for group in HEADERS:
        if set(group.works) & set(request.works):
            directory = os.path.join(request.directory, group.label)
            os.mkdir(directory)
            tensors = group.files * group.tensors_each
            source = group.make(directory)
            contenders = tuple(group.contenders(source, request.works))
            yield Scene(contenders, None, source, 2 * tensors * group.elements, tensors)
            shutil.rmtree(directory)


def _python(request: Request) -> Iterator[Scene]:
    size = min(request.size, MOST_MODEL_BYTES)
    hidden = max(hidden_for(size) // 16 * 16, 16)  # of 8 heads, each of an even size
    for container, works in itertools.groupby(PYTHON.items(), key=lambda item: item[1][0]):
        directory = os.path.join(request.directory, container)
        chosen = [(name, rest) for name, rest in works if f"python/{name}" in request.works]
        if chosen and not os.path.exists(directory):
            way = "save-shardctl" if container == "safetensors" else "save-bin-shardctl"
            run(model_way("", way, hidden, directory).command_to(directory))
        for name, (_, kind, ways) in chosen:
            contenders = tuple(
                model_way(
                    f"python/{name}", f"{kind}-{each}", hidden, directory, cold="cold" in name
                )
                for each in ways
                if each.startswith("shardctl") or each in request.peers
            )
            yardstick = copy(directory) if kind.startswith("save") else None
            yield Scene(contenders, yardstick, directory, nbytes_of(hidden), 32 * 9 + 3)


STAGES = (
    # Starting takes a tenth of a second: four times the rounds cost nothing.
    Stage("start", tuple(STARTS), _starts, rounds_of=lambda rounds: 4 * rounds),
    # The headers of a million tensors, with their index; half a minute each, and always much the
    # same.
    Stage(
        "headers",
        tuple(itertools.chain(*(each.works for each in HEADERS))),
        _headers,
        extra=512 * 2**20,
        rounds_of=lambda rounds: min(rounds, 2),
    ),
    # The largest part, its copy, and some room.
    Stage(
        "size",
        tuple(f"size/split-{part}" for part in SIZE_PARTS),
        sizes,
        copies=1.5,
        rounds_of=lambda rounds: min(rounds, 3),
    ),
    # Four sources, and what is written from one of them.
    Stage(
        "disk",
        tuple(f"disk/{name}" for name in (*(work.name for work in REWRITINGS), *READINGS)),
        disk,
        5,
    ),
    # The same sources and works, read from the disk.
    Stage("cold", tuple(f"cold/{name}" for name in COLD), cold, copies=3),
    # A checkpoint that several processes saved, in two forms; or one of each kind; and what is
    # written.
    Stage(
        "reshape", tuple(f"reshape/{name}" for name in reshaping.PEERS), reshaping.scenes, copies=6
    ),
    # What is served, what the server keeps of it, and of what is written; and what a client keeps.
    Stage(
        "remote",
        tuple(f"remote/{name}" for name in remote.WORKS),
        remote.scenes,
        extra=8 * remote.MOST_BYTES,
        rounds_of=lambda rounds: min(rounds, 2),
        needs=remote.NEEDED,
    ),
    # A model in two formats, and what is written.
    Stage("python", tuple(f"python/{name}" for name in PYTHON), _python, copies=3),
    # The sources' shards share their blocks; an image also takes room for its metadata.
    Stage(
        "xfs",
        tuple(f"xfs/{work.name}" for work in REWRITINGS if not work.converts),
        xfs,
        4,
        extra=2**30,
    ),
)
WORKS = tuple(itertools.chain(*(stage.works for stage in STAGES)))
