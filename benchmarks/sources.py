"""The checkpoints that are measured: full ones of random bytes, and sparse ones.

    python -m benchmarks.sources full PATH HIDDEN
    python -m benchmarks.sources sparse DIRECTORY FILES TENSORS ELEMENTS

Both are made in separate processes, since the peak memory that the system reports of a child begins
with that of its parent. Of a sparse one only the headers are on the disk.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.contenders import quiet
from benchmarks.measure import run

#: Shards of the sets that are merged, and of those that they are resharded to.
SHARDS, FEWER_SHARDS = 5, 3
#: Bytes that are drawn once, and written again and again.
CHUNK_BYTES = 2 * 1024 * 1024
#: Bytes of an element: all tensors are bfloat16.
ITEM_BYTES = 2


def shapes(hidden: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a Llama of 32 layers, like those of the 8B one (`hidden` 4096)."""
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
    """Return the bytes of all tensors."""
    return sum(ITEM_BYTES * math.prod(shape) for _, shape in shapes(hidden))


def hidden_for(size: int) -> int:
    """Return the hidden size, in steps of 8, whose model comes nearest to `size` bytes."""
    return min(range(8, 16_384, 8), key=lambda hidden: abs(nbytes_of(hidden) - size))


def header(tensors: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[bytes, int]:
    """Return the length and header of a safetensors file, and the bytes of its tensors."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in tensors:
        end = offset + ITEM_BYTES * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, offset


def make_full(path: str, hidden: int) -> None:
    """Write a safetensors file of random bytes.

    They are drawn once, and rotated, so that no two chunks are equal.
    """
    head, nbytes = header(sorted(shapes(hidden)))
    chunk = os.urandom(min(CHUNK_BYTES, nbytes))
    with open(path, "wb") as file:
        file.write(head)
        for number, start in enumerate(range(0, nbytes, len(chunk))):
            turn = number * 4099 % len(chunk)
            file.write((chunk[turn:] + chunk[:turn])[: nbytes - start])


def make_sparse(directory: str, files: int, tensors: int, elements: int) -> None:
    """Write a set of `files` files of `tensors` tensors each, with an index.

    The tensors take no room.
    """
    os.makedirs(directory)
    total = files * tensors * elements * ITEM_BYTES
    with open(
        os.path.join(directory, "model.safetensors.index.json"), "w", encoding="utf-8"
    ) as index:
        index.write(f'{{"metadata": {{"total_size": {total}}}, "weight_map": {{')
        for number in range(files):
            name = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
            names = [f"model.layers.{number}.experts.{place}.weight" for place in range(tensors)]
            head, nbytes = header([(each, (elements,)) for each in sorted(names)])
            with open(os.path.join(directory, name), "wb") as file:
                file.write(head)
                file.truncate(len(head) + nbytes)
            index.write(
                "".join(
                    f'{"," * bool(number or place)}\n"{each}": "{name}"'
                    for place, each in enumerate(names)
                )
            )
        index.write("}}\n")


def sparse(directory: str, files: int, tensors: int, elements: int) -> str:
    """Make a sparse set in another process; return its directory."""
    _make("sparse", directory, files, tensors, elements)
    return directory


def _make(*arguments: object) -> None:
    run((sys.executable, "-m", "benchmarks.sources", *map(str, arguments)))


@dataclass(frozen=True)
class Sources:
    """The full checkpoint of about `size` bytes in its four forms.

    Each is made in `directory` when it is first needed.
    """

    directory: str
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return nbytes_of(hidden_for(self.size))

    @property
    def tensors(self) -> int:
        """How many tensors there are."""
        return sum(1 for _ in shapes(hidden_for(self.size)))

    def limit(self, shards: int) -> int:
        """Return a limit in bytes for so many shards, if no tensor is large beside a shard."""
        return self.nbytes if shards == 1 else -(-2 * self.nbytes // (2 * shards - 1))

    def path(self, name: str) -> str:
        """Return the directory of `safetensors`, `safetensors-shards`, `bin` or `bin-shards`."""
        path = os.path.join(self.directory, name)
        if not os.path.isdir(path):
            _MAKERS[name](self, path)
            os.sync()
        return path

    def remove(self) -> None:
        """Remove all that was made."""
        shutil.rmtree(self.directory, ignore_errors=True)


def _single(sources: Sources, path: str) -> None:
    os.makedirs(path)
    _make("full", os.path.join(path, "model.safetensors"), hidden_for(sources.size))


def _single_bin(sources: Sources, path: str) -> None:
    run(quiet("merge", sources.path("safetensors"), path, "--to", "bin", "--no-record"))


def _shards(sources: Sources, path: str) -> None:
    # With the checksums that `verify --deep` compares; torch's files bring their own.
    limit = str(sources.limit(SHARDS))
    source = sources.path("safetensors")
    run(quiet("split", source, path, "--max-shard-size", limit, "--no-record", "--checksums"))


def _bin_shards(sources: Sources, path: str) -> None:
    limit = str(sources.limit(SHARDS))
    run(quiet("split", sources.path("bin"), path, "--max-shard-size", limit, "--no-record"))


_MAKERS: dict[str, Callable[[Sources, str], None]] = {
    "safetensors": _single,
    "safetensors-shards": _shards,
    "bin": _single_bin,
    "bin-shards": _bin_shards,
}


if __name__ == "__main__":
    makers: dict[str, Callable[..., None]] = {"full": make_full, "sparse": make_sparse}
    makers[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
