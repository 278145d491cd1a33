"""Time split and merge against `cp`, and against the same by huggingface_hub, in one interleaved run.

    python benchmarks/run.py [--size 4.4GB] [--runs 5] [--dir FOLDER] [--peers | --no-peers]

Makes a bfloat16 checkpoint of random bytes with the names of an 8B Llama, as one safetensors file, one `.bin`, and
shards of each. In each round every contender does its work once, one after another, each into an empty folder, and
each until its files are durable: `cp` and the hub are followed by `sync` of what they wrote, which shardctl does by
itself. Ratios are those to the `cp` of the same round. Peak memory is that of the child process (`ru_maxrss`), which
counts this program's own 30 MB as the least. The sources are in the page cache where they fit; nothing is dropped in
between.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shardctl.sizes import parse_size

SHARDS = 5
# Small, because a child's `ru_maxrss` begins with what its parent has.
CHUNK_BYTES = 2 * 1024 * 1024

#: What the peers' users do: load, and save again with the hub's writer. Arguments: source folder, target, shard size.
HUB = """
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
save_torch_state_dict(state, target, max_shard_size=size, safe_serialization=sys.argv[4] == "safetensors")
"""


@dataclass(frozen=True)
class Contender:
    """One way to do a piece of work. `command` has `{target}` where its folder goes."""

    work: str
    name: str
    command: tuple[str, ...]
    syncs: bool


@dataclass
class Measured:
    """What was measured of one contender: seconds, the ratios to `cp`, and the highest peak of memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def shapes(hidden: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a Llama of 32 layers, in the proportions of the 8B one (whose `hidden` is 4096)."""
    vocabulary, inner, keys = 128_256 * hidden // 4096, hidden * 7 // 2, hidden // 4
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for number in range(32):
        layer = f"model.layers.{number}"
        yield f"{layer}.self_attn.q_proj.weight", (hidden, hidden)
        yield f"{layer}.self_attn.k_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.v_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{layer}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.up_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)


def nbytes_of(hidden: int) -> int:
    """Bytes of all tensors, in bfloat16."""
    return sum(2 * math.prod(shape) for _, shape in shapes(hidden))


def hidden_for(size: int) -> int:
    """The hidden size, in steps of 8, whose model comes nearest to `size` bytes."""
    return min(range(8, 16_384, 8), key=lambda hidden: abs(nbytes_of(hidden) - size))


def make_safetensors(path: str, hidden: int) -> None:
    """Write a safetensors file of random bytes (drawn once and turned round, so that no two chunks are equal)."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in sorted(shapes(hidden)):
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    chunk = os.urandom(min(CHUNK_BYTES, max(offset, 1)))
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, start in enumerate(range(0, offset, len(chunk))):
            turn = number * 4099 % len(chunk)
            file.write((chunk[turn:] + chunk[:turn])[: offset - start])


def make_sources(folder: str, size: int) -> tuple[dict[str, str], int]:
    """The sources, each in a folder of its own by name (`bin`, `bin-shards`, …), and the bytes of their tensors."""
    hidden = hidden_for(size)
    total = nbytes_of(hidden)
    kinds = ("safetensors", "bin")
    sources = {name: os.path.join(folder, name) for kind in kinds for name in (kind, f"{kind}-shards")}
    os.makedirs(sources["safetensors"])
    make_safetensors(os.path.join(sources["safetensors"], "model.safetensors"), hidden)
    run(shardctl("reshard", sources["safetensors"], sources["bin"], "--to", "bin", "--no-record"))
    for kind in kinds:
        split = ("split", sources[kind], sources[f"{kind}-shards"], "--max-shard-size", str(shard_size(total)))
        run(shardctl(*split, "--no-record"))
    os.sync()
    return sources, total


def shard_size(total: int) -> int:
    """The limit that gives about `SHARDS` shards."""
    return -(-total // (SHARDS - 1))


def shardctl(*arguments: str) -> tuple[str, ...]:
    """The command that runs this checkout's shardctl."""
    return (sys.executable, "-m", "shardctl", *arguments, "--quiet")


def contenders(sources: dict[str, str], total: int, *, peers: bool) -> list[Contender]:
    """All that is timed, `cp` first for each piece of work."""
    found = []
    for kind in ("safetensors", "bin"):
        for verb, source, size in (
            ("split", sources[kind], shard_size(total)),
            ("merge", sources[f"{kind}-shards"], 2 * total),
        ):
            work = f"{verb} {kind}"
            limit = ("--max-shard-size", str(size)) if verb == "split" else ()
            found.append(Contender(work, "cp", ("cp", "-r", source, "{target}"), syncs=False))
            found.append(Contender(work, "shardctl", shardctl(verb, source, "{target}", *limit), syncs=True))
            if peers:
                hub = (sys.executable, "-c", HUB, source, "{target}", str(size), kind)
                found.append(Contender(work, "huggingface_hub", hub, syncs=False))
    return found


def run(command: Sequence[str]) -> int:
    """Run a command to its end; returns its peak resident memory in bytes. Raises CalledProcessError."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def sync_files(folder: str) -> None:
    """Make a folder's files durable, and the folder."""
    for name in (*os.listdir(folder), "."):
        number = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.fsync(number)
        os.close(number)


def time_once(contender: Contender, target: str) -> tuple[float, int]:
    """Do the work once, into a new folder; returns the seconds until it was durable, and the peak memory in bytes."""
    if contender.name != "cp":
        os.mkdir(target)
    command = [part.replace("{target}", target) for part in contender.command]
    begun = time.perf_counter()
    peak = run(command)
    if not contender.syncs:
        sync_files(target)
    seconds = time.perf_counter() - begun
    shutil.rmtree(target)
    os.sync()
    return seconds, peak


def measure(todo: Sequence[Contender], rounds: int, folder: str) -> dict[Contender, Measured]:
    """Time every contender in every round; the order within a piece of work turns from round to round."""
    measured = {contender: Measured() for contender in todo}
    for number in range(rounds):
        for work, together in itertools.groupby(todo, key=lambda contender: contender.work):
            group = list(together)
            turn = number % len(group)
            took = {}
            for contender in group[turn:] + group[:turn]:
                took[contender], peak = time_once(contender, os.path.join(folder, "out"))
                measured[contender].peak_bytes = max(measured[contender].peak_bytes, peak)
            for contender, seconds in took.items():
                measured[contender].seconds.append(seconds)
                measured[contender].ratios.append(seconds / took[group[0]])
            said = ", ".join(f"{contender.name} {seconds:.2f} s" for contender, seconds in took.items())
            print(f"round {number + 1}: {work}: {said}", file=sys.stderr)
    return measured


def spread(values: Sequence[float]) -> str:
    """The least, the middle and the largest."""
    return " / ".join(f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))


def table(measured: dict[Contender, Measured]) -> str:
    """What was measured, as a Markdown table."""
    lines = [
        "| work | by | seconds (min / median / max) | times `cp` (min / median / max) | peak memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for contender, found in measured.items():
        memory = f"{found.peak_bytes / 1e6:,.0f} MB"
        cells = (contender.work, contender.name, spread(found.seconds), spread(found.ratios), memory)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def check_equal(sources: dict[str, str], folder: str) -> None:
    """See that what is timed is right: the shards of a safetensors file merge to that file."""
    merged = os.path.join(folder, "merged.safetensors")
    run(shardctl("merge", sources["safetensors-shards"], merged, "--no-record"))
    if digest(merged) != digest(os.path.join(sources["safetensors"], "model.safetensors")):
        raise SystemExit("the merged file is not the one that was split")
    os.remove(merged)


def digest(path: str) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Parse the options, make the sources, measure, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--size", default="4.4GB", help="bytes of tensors (default 4.4GB)")
    parser.add_argument("--runs", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--dir", help="where to work; needs four times the size (default: the temporary folder)")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="time the hub's route too")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shardctl-bench-", dir=options.dir))
        sources, total = make_sources(folder, parse_size(options.size))
        check_equal(sources, folder)
        measured = measure(contenders(sources, total, peers=options.peers), options.runs, folder)
    cores = f"{os.cpu_count()} cores"
    print(f"{total:,} bytes of bfloat16 tensors, {options.runs} rounds, {cores}, page cache warm.\n")
    print(table(measured))


if __name__ == "__main__":
    main()
