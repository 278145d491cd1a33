"""The works that change more than files: distributed checkpoints, another dtype, a selection."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from benchmarks.contenders import Contender, bare_loop, copy, quiet, reshaper
from benchmarks.measure import Scene, run
from benchmarks.sources import Sources, hidden_for, shapes
from benchmarks.stages import Request

#: Processes that save the distributed checkpoints.
RANKS = 8
#: By work: the peer that does the same.
PEERS = {
    "dcp-to-safetensors": "dcp_to_torch_save",
    "slices-to-safetensors": "consolidate_safetensors_files",
    "f32-to-bf16": "load, cast, save",
    "half-of-the-layers": "load, select, save",
}
#: The first sixteen of the thirty-two layers.
_HALF = ("--include", "model.layers.?.*", "--include", "model.layers.1[0-5].*")


def scenes(request: Request) -> Iterator[Scene]:
    """Yield a scene for each of the chosen works, beside a copy of the bytes that it reads."""
    chosen = [name for name in PEERS if f"reshape/{name}" in request.works]
    yield from _distributed(request, chosen)
    if "f32-to-bf16" in chosen:
        half = Sources(os.path.join(request.directory, "half"), request.size // 2)
        wide = os.path.join(request.directory, "wide")
        run(quiet("merge", half.path("safetensors"), wide, "--dtype", "f32", "--no-record"))
        half.remove()
        yield _scene(request, "f32-to-bf16", wide, wide, ("--dtype", "bf16"), proof=None)
    if "half-of-the-layers" in chosen:
        whole = Sources(os.path.join(request.directory, "whole"), request.size)
        source, part = whole.path("safetensors"), os.path.join(request.directory, "part")
        run(quiet("merge", source, part, *_HALF, "--no-record"))
        yield _scene(request, "half-of-the-layers", source, part, _HALF, proof=_HALF)


def _distributed(request: Request, chosen: list[str]) -> Iterator[Scene]:
    """Yield the works on what several processes saved."""
    names = ("dcp-to-safetensors", "slices-to-safetensors")
    if not set(names) & set(chosen):
        return
    hidden = max(hidden_for(request.size) // 128 * 128, 128)  # all rows are divided by RANKS
    paths = [os.path.join(request.directory, name) for name in names]
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS))
    run((sys.executable, "-m", *launch, "-m", "benchmarks.ranks", str(hidden), *paths))
    for name, path in zip(names, paths, strict=True):
        if name in chosen:
            yield _scene(request, name, path, path, (), proof=())


def _scene(
    request: Request,
    name: str,
    source: str,
    copied: str,
    options: tuple[str, ...],
    *,
    proof: tuple[str, ...] | None,
) -> Scene:
    """Return a scene whose yardsticks copy the directory `copied`."""
    work, peer = f"reshape/{name}", PEERS[name]
    command = quiet("merge", source, "{target}", "--to", "safetensors", *options)
    contenders = [bare_loop(copied), Contender(work, "shardctl", command, syncs=True)]
    if peer in request.peers:
        contenders.append(reshaper(work, peer, source))
    nbytes = sum(entry.stat().st_size for entry in os.scandir(copied))
    return Scene(tuple(contenders), copy(copied), source, nbytes, sum(1 for _ in shapes(1)), proof)
