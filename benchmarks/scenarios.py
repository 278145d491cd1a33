"""The works that are measured, in stages that share a directory and its sources.

A work's name is `STAGE/WORK`. What shares a source is one scene: it is timed in the same rounds,
beside one yardstick.
"""

from __future__ import annotations

import glob
import itertools
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from benchmarks.contenders import (
    Contender,
    bare_typer,
    copy,
    model_way,
    peer,
    quiet,
    sha256sum,
    shardctl,
)
from benchmarks.measure import Scene, run
from benchmarks.sources import FEWER_SHARDS, SHARDS, Sources, hidden_for, nbytes_of, sparse

#: Parts of the full size that are split too, for the line of time against size.
SIZE_PARTS = {"sixteenth": 16, "eighth": 8, "quarter": 4, "half": 2}


@dataclass(frozen=True)
class Rewriting:
    """A work that rewrites a checkpoint: its source, command, result and peers."""

    name: str
    source: str
    verb: str
    shards: int
    container: str
    peers: tuple[str, ...] = ()

    @property
    def converts(self) -> bool:
        """Whether the format changes."""
        return self.container != self.source.removesuffix("-shards")

    def contenders(
        self, stage: str, sources: Sources, peers: Collection[str]
    ) -> Iterator[Contender]:
        """Yield shardctl, and those peers that are installed."""
        work, source, limit = (
            f"{stage}/{self.name}",
            sources.path(self.source),
            sources.limit(self.shards),
        )
        sized = () if self.verb == "merge" else ("--max-shard-size", str(limit))
        command = quiet(self.verb, source, "{target}", *sized, "--to", self.container)
        yield Contender(work, "shardctl", command, syncs=True)
        # A limit far above all the tensors, where one file is wanted.
        for name in self.peers:
            if name in peers:
                yield peer(
                    work, name, source, limit if self.shards > 1 else 2 * limit, self.container
                )


_HUB = ("huggingface_hub",)
REWRITINGS = (
    Rewriting("split-safetensors", "safetensors", "split", SHARDS, "safetensors", _HUB),
    Rewriting("merge-safetensors", "safetensors-shards", "merge", 1, "safetensors", _HUB),
    Rewriting(
        "reshard-safetensors", "safetensors-shards", "reshard", FEWER_SHARDS, "safetensors", _HUB
    ),
    Rewriting("safetensors-to-bin", "safetensors-shards", "reshard", SHARDS, "bin", _HUB),
    Rewriting("split-bin", "bin", "split", SHARDS, "bin", _HUB),
    Rewriting(
        "one-bin-to-safetensors", "bin", "merge", 1, "safetensors", ("torch.load, save_file",)
    ),
    Rewriting("merge-bin", "bin-shards", "merge", 1, "bin", _HUB),
    Rewriting("reshard-bin", "bin-shards", "reshard", FEWER_SHARDS, "bin", _HUB),
    Rewriting("bin-to-safetensors", "bin-shards", "reshard", SHARDS, "safetensors", _HUB),
)
#: Works that read every byte, and their sources.
READINGS = {"verify-deep-safetensors": "safetensors-shards", "verify-deep-bin": "bin-shards"}


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
#: Works from Python: what is read, and the ways of `benchmarks.models`. `save` writes the model,
#: `fill` reads into one that is there, `new` makes one; from the page cache, or from the disk.
PYTHON = {
    "save-safetensors": ("safetensors", "save", ("shardctl", "transformers", "huggingface_hub")),
    "save-bin": ("bin", "save-bin", ("shardctl", "huggingface_hub", "torch.save")),
    "fill-warm": ("safetensors", "fill", ("shardctl", "accelerate", "safetensors")),
    "fill-cold": ("safetensors", "fill", ("shardctl", "accelerate", "safetensors")),
    "new-warm": ("safetensors", "new", ("shardctl", "transformers", "fastsafetensors")),
    "new-cold": ("safetensors", "new", ("shardctl", "transformers", "fastsafetensors")),
    "new-bin-warm": ("bin", "new", ("shardctl", "torch.load")),
    "new-bin-cold": ("bin", "new", ("shardctl", "torch.load")),
}


@dataclass(frozen=True)
class Request:
    """What was asked for: where, the bytes of tensors, which works, and which peers there are."""

    directory: str
    size: int
    works: Collection[str]
    peers: Collection[str]


@dataclass(frozen=True)
class Stage:
    """Works that are measured in one directory.

    It must have room for `copies` of the size and `extra` bytes. `scenes` makes one scene after
    another; `rounds_of` says how many rounds it takes where N are asked for.
    """

    name: str
    works: tuple[str, ...]
    scenes: Callable[[Request], Iterator[Scene]]
    copies: float = 0
    extra: int = 64 * 1024 * 1024
    rounds_of: Callable[[int], int] = lambda rounds: rounds


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


def _sizes(request: Request) -> Iterator[Scene]:
    for name, part in SIZE_PARTS.items():
        work = replace(REWRITINGS[0], name=f"split-{name}", peers=())
        sources = Sources(os.path.join(request.directory, name), request.size // part)
        yield from _rewritten("size", (work,), sources, request)
        sources.remove()


def _disk(request: Request) -> Iterator[Scene]:
    sources = Sources(os.path.join(request.directory, "sources"), request.size)
    yield from _rewritten("disk", REWRITINGS, sources, request)
    for name, source in READINGS.items():
        if (work := f"disk/{name}") in request.works:
            path = sources.path(source)
            contender = Contender(work, "shardctl", quiet("verify", path, "--deep"), writes=False)
            files = sorted(glob.glob(os.path.join(path, "*-of-*")))
            yield Scene((contender,), sha256sum(files), path, sources.nbytes, sources.tensors)


def _xfs(request: Request) -> Iterator[Scene]:
    sources = Sources(os.path.join(request.directory, "sources"), request.size)
    same = tuple(replace(work, peers=()) for work in REWRITINGS if not work.converts)
    for found in _rewritten("xfs", same, sources, request):
        # A plain `cp` shares blocks here as well: it would be no measure of writing.
        yield replace(found, yardstick=copy(found.source, "--reflink=never"))


def _rewritten(
    stage: str, todo: tuple[Rewriting, ...], sources: Sources, request: Request
) -> Iterator[Scene]:
    """A scene for each source of the chosen works, which are in the order of their sources."""
    chosen = [work for work in todo if f"{stage}/{work.name}" in request.works]
    for name, group in itertools.groupby(chosen, key=lambda work: work.source):
        contenders = tuple(
            each for work in group for each in work.contenders(stage, sources, request.peers)
        )
        path = sources.path(name)
        yield Scene(contenders, copy(path), path, sources.nbytes, sources.tensors)


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
                if each == "shardctl" or each in request.peers
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
        _sizes,
        copies=1.5,
        rounds_of=lambda rounds: min(rounds, 3),
    ),
    # Four sources, and what is written from one of them.
    Stage(
        "disk",
        tuple(f"disk/{name}" for name in (*(work.name for work in REWRITINGS), *READINGS)),
        _disk,
        5,
    ),
    # A model in two formats, and what is written.
    Stage("python", tuple(f"python/{name}" for name in PYTHON), _python, copies=3),
    # The sources' shards share their blocks; an image also takes room for its metadata.
    Stage(
        "xfs",
        tuple(f"xfs/{work.name}" for work in REWRITINGS if not work.converts),
        _xfs,
        4,
        extra=2**30,
    ),
)
WORKS = tuple(itertools.chain(*(stage.works for stage in STAGES)))
