"""The works that rewrite a checkpoint, or read all of it: their sources, commands and peers."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from benchmarks.contenders import Contender, bare_loop, copy, peer, quiet, sha256sum
from benchmarks.measure import Scene
from benchmarks.sources import FEWER_SHARDS, SHARDS, Sources
from benchmarks.stages import Request

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
#: Rewritings that are measured with a cold cache too.
COLD_REWRITINGS = ("split-safetensors", "merge-safetensors")
#: The works of the cold cache: these, and every reading.
COLD = (*COLD_REWRITINGS, *READINGS)


def sizes(request: Request) -> Iterator[Scene]:
    """Yield a split of each part of the full size."""
    for name, part in SIZE_PARTS.items():
        work = replace(REWRITINGS[0], name=f"split-{name}", peers=())
        sources = Sources(os.path.join(request.directory, name), request.size // part)
        yield from _rewritten("size", (work,), sources, request)
        sources.remove()


def disk(request: Request) -> Iterator[Scene]:
    """Yield every rewriting, and then every reading, of sources in the page cache."""
    sources = Sources(os.path.join(request.directory, "sources"), request.size)
    yield from _rewritten("disk", REWRITINGS, sources, request)
    yield from _read("disk", sources, request)


def cold(request: Request) -> Iterator[Scene]:
    """Yield some of the same works, of sources that are dropped from the page cache each time."""
    sources = Sources(os.path.join(request.directory, "sources"), request.size)
    works = tuple(work for work in REWRITINGS if work.name in COLD_REWRITINGS)
    for scene in itertools.chain(
        _rewritten("cold", works, sources, request), _read("cold", sources, request)
    ):
        yield replace(
            scene,
            contenders=tuple(replace(each, cold=scene.source) for each in scene.contenders),
            yardstick=scene.yardstick and replace(scene.yardstick, cold=scene.source),
        )


def xfs(request: Request) -> Iterator[Scene]:
    """Yield the rewritings that can share blocks, on a filesystem where they do."""
    sources = Sources(os.path.join(request.directory, "sources"), request.size)
    same = tuple(replace(work, peers=()) for work in REWRITINGS if not work.converts)
    for found in _rewritten("xfs", same, sources, request):
        # A plain `cp` shares blocks here as well: it would be no measure of writing.
        yield replace(found, yardstick=copy(found.source, "--reflink=never"))


def _read(stage: str, sources: Sources, request: Request) -> Iterator[Scene]:
    """Yield a scene for each of the chosen works that read every byte."""
    for name, source in READINGS.items():
        if (work := f"{stage}/{name}") in request.works:
            path = sources.path(source)
            contender = Contender(work, "shardctl", quiet("verify", path, "--deep"), writes=False)
            files = sorted(glob.glob(os.path.join(path, "*-of-*")))
            yield Scene((contender,), sha256sum(files), path, sources.nbytes, sources.tensors)


def _rewritten(
    stage: str, todo: tuple[Rewriting, ...], sources: Sources, request: Request
) -> Iterator[Scene]:
    """Yield a scene for each source of the chosen works, which are in the order of their sources.

    The bare loop is timed beside them.
    """
    chosen = [work for work in todo if f"{stage}/{work.name}" in request.works]
    for name, group in itertools.groupby(chosen, key=lambda work: work.source):
        contenders = tuple(
            each for work in group for each in work.contenders(stage, sources, request.peers)
        )
        path = sources.path(name)
        yield Scene(
            (bare_loop(path), *contenders), copy(path), path, sources.nbytes, sources.tensors
        )
