"""Make the reference checkpoint: BERT base (cased) with random weights, without torch.

    python benchmarks/reference.py DIRECTORY

It is one `pytorch_model.bin`. The names and shapes are those of `bert-base-cased` (`BertModel`,
float32), with the buffer `embeddings.position_ids` that it was once saved with: 200 tensors,
433,245,184 bytes. The same file comes out each time. Memory stays small: the weights are drawn a
megabyte at a time, and shardctl's own writer does the rest.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import struct
from collections.abc import Iterator

from shardctl.engine.task import ShardTask, write
from shardctl.formats.registry import writer_of
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.stores.local.store import LocalStore

VOCABULARY, POSITIONS, HIDDEN, INTERMEDIATE, LAYERS = 28996, 512, 768, 3072, 12
TOTAL_BYTES = 433_245_184
CHUNK_BYTES = 1024 * 1024
SEED = 20181011

Shape = tuple[int, ...]


def config() -> dict[str, object]:
    """Return the config that a loader needs, of the same sizes."""
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INTERMEDIATE,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "model_type": "bert",
        "num_attention_heads": 12,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": VOCABULARY,
    }


def shapes() -> Iterator[tuple[str, str, Shape]]:
    """The name, dtype and shape of each tensor, in the order of the state dict."""
    yield "embeddings.position_ids", "I64", (1, POSITIONS)
    yield "embeddings.word_embeddings.weight", "F32", (VOCABULARY, HIDDEN)
    yield "embeddings.position_embeddings.weight", "F32", (POSITIONS, HIDDEN)
    yield "embeddings.token_type_embeddings.weight", "F32", (2, HIDDEN)
    yield from _affine("embeddings.LayerNorm", (HIDDEN,))
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            yield from _affine(f"{layer}.attention.self.{part}", (HIDDEN, HIDDEN))
        yield from _affine(f"{layer}.attention.output.dense", (HIDDEN, HIDDEN))
        yield from _affine(f"{layer}.attention.output.LayerNorm", (HIDDEN,))
        yield from _affine(f"{layer}.intermediate.dense", (INTERMEDIATE, HIDDEN))
        yield from _affine(f"{layer}.output.dense", (HIDDEN, INTERMEDIATE))
        yield from _affine(f"{layer}.output.LayerNorm", (HIDDEN,))
    yield from _affine("pooler.dense", (HIDDEN, HIDDEN))


def _affine(name: str, weight: Shape) -> Iterator[tuple[str, str, Shape]]:
    yield f"{name}.weight", "F32", weight
    yield f"{name}.bias", "F32", weight[:1]


def tensors_in(raw: str) -> list[Tensor]:
    """The tensors, one after another in the file of their bytes."""
    tensors, offset = [], 0
    for name, dtype, shape in shapes():
        nbytes = DTYPES[dtype].nbytes(math.prod(shape))
        tensors.append(
            Tensor(name, DTYPES[dtype], shape, Storage(Extent(raw, offset, nbytes), name))
        )
        offset += nbytes
    return tensors


def write_weights(raw: str) -> None:
    """Write the bytes of all tensors: positions, then floats of ±1/128 to ±1/32."""
    # The top byte of a little-endian float32: its sign stays random, the exponent becomes that of a
    # small weight.
    top_byte = bytes(byte & 0x80 | 0x3C for byte in range(256))
    draw = random.Random(SEED)  # noqa: S311 - weights, not secrets
    positions = struct.pack(f"<{POSITIONS}q", *range(POSITIONS))
    with open(raw, "wb") as file:
        file.write(positions)
        left = TOTAL_BYTES - len(positions)
        while left:
            chunk = bytearray(draw.randbytes(min(CHUNK_BYTES, left)))
            chunk[3::4] = chunk[3::4].translate(top_byte)
            file.write(chunk)
            left -= len(chunk)


def make(directory: str) -> str:
    """Make the checkpoint in `directory`, unless it is there; return the path of the weights."""
    final, raw = (
        os.path.join(directory, "pytorch_model.bin"),
        os.path.join(directory, "weights.raw"),
    )
    if os.path.exists(final):
        return final
    os.makedirs(directory, exist_ok=True)
    store = LocalStore()
    write_weights(raw)
    layout = writer_of("bin").lay_out(tensors_in(raw), {})
    staged = f"{final}.new"
    store.remove(staged)
    write(
        ShardTask("pytorch_model.bin", staged, layout, {raw: store.version(raw)}),
        store,
        store,
        lambda _: None,
    )
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config(), file, indent=2)
    store.rename(staged, final)
    store.remove(raw)
    return final


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("directory", help="where to make it")
    print(make(parser.parse_args().directory))
