"""The kinds of files of other programs, by their contents, and what to do with each.

shardctl reads none of them. They are recognised for the message alone, so one table is enough; the
sources are the formats' own descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: its name with an article, the name of several, and the next step."""

    what: str
    many: str
    hint: str


#: Whether a file begins and ends so.
Test = Callable[[bytes, bytes], bool]

_SAVE = "in the program that reads it, save its weights as safetensors"
_NAME_WEIGHTS = "name a weights file"


def _begins(*magic: bytes) -> Test:
    return lambda head, _: head.startswith(magic)


def _at(offset: int, magic: bytes) -> Test:
    return lambda head, _: head[offset : offset + len(magic)] == magic


def _ends(magic: bytes) -> Test:
    return lambda _, tail: tail.endswith(magic)


def _matches(pattern: bytes) -> Test:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda head, _: compiled.match(head) is not None


# A protocol buffer of ONNX begins with ir_version (field 1, a small number), then has a text
# (producer, domain), a number (model_version) or the graph. Flax writes one map of named entries
# (fixmap, map 16) as MessagePack. The last eight bytes of a TensorFlow index are the magic number
# of LevelDB's tables.
_ONNX = rb"\x08[\x01-\x20](?:[\x12\x1a\x22\x32][\x00-\x7f][\x20-\x7e]*|[\x28\x3a\x42])"
_FLAX = rb"(?:[\x81-\x8f]|\xde..)(?:[\xa1-\xbf]|\xd9.)[\x20-\x7e]"
_LEVELDB = bytes.fromhex("57fb808b247547db")

_KINDS: tuple[tuple[Test, Kind], ...] = (
    (
        _begins(b"GGUF"),
        Kind(
            "a GGUF file",
            "GGUF files",
            "use it with llama.cpp, or fetch the model's safetensors: GGUF is not read",
        ),
    ),
    (
        _begins(b"lmgg", b"fmgg", b"tjgg", b"ggml"),
        Kind(
            "an old GGML file",
            "old GGML files",
            "fetch the model's safetensors: GGML is not read",
        ),
    ),
    (
        _begins(b"\x89HDF\r\n\x1a\n"),
        Kind(
            "an HDF5 file (Keras)",
            "HDF5 files (Keras)",
            "load it with Keras, or with `from_pretrained(…, from_tf=True)` in transformers 4, and "
            "save its weights as safetensors",
        ),
    ),
    (
        _begins(b"\x93NUMPY"),
        Kind(
            "a NumPy array (.npy)",
            "NumPy arrays",
            "save it with a name: `safetensors.numpy.save_file({name: numpy.load(path)}, new)`",
        ),
    ),
    (_at(4, b"TFL3"), Kind("a TensorFlow Lite model", "TensorFlow Lite models", _SAVE)),
    (
        _ends(_LEVELDB),
        Kind(
            "the index of a TensorFlow checkpoint",
            "indexes of TensorFlow checkpoints",
            "load the checkpoint with TensorFlow, and save its variables as safetensors",
        ),
    ),
    (
        _begins(b'model_checkpoint_path: "'),
        Kind(
            "the list of a directory's TensorFlow checkpoints",
            "lists of TensorFlow checkpoints",
            "load the checkpoint with TensorFlow, and save its variables as safetensors",
        ),
    ),
    (
        _matches(_ONNX),
        Kind(
            "an ONNX model",
            "ONNX models",
            "fetch the weights that it was exported from: ONNX is not read",
        ),
    ),
    (
        _matches(_FLAX),
        Kind(
            "a MessagePack file (Flax)",
            "MessagePack files (Flax)",
            "load the model with `from_pretrained(…, from_flax=True)` in transformers 4, and save "
            "it again",
        ),
    ),
    (
        _begins(b"\x1f\x8b"),
        Kind("compressed with gzip", "files compressed with gzip", "unpack it first (`gunzip`)"),
    ),
    (
        _begins(b"\x28\xb5\x2f\xfd"),
        Kind("compressed with zstd", "files compressed with zstd", "unpack it first (`unzstd`)"),
    ),
    (
        _begins(b"\xfd7zXZ\0"),
        Kind("compressed with xz", "files compressed with xz", "unpack it first (`unxz`)"),
    ),
    (
        _begins(b"BZh"),
        Kind("compressed with bzip2", "files compressed with bzip2", "unpack it first (`bunzip2`)"),
    ),
    (
        _at(257, b"ustar"),
        Kind("a tar archive", "tar archives", "unpack it first (`tar -xf`)"),
    ),
    (
        _begins(b"7z\xbc\xaf\x27\x1c"),
        Kind("a 7-Zip archive", "7-Zip archives", "unpack it first (`7z x`)"),
    ),
    (
        _begins(b"PK"),
        Kind("a zip archive", "zip archives", "unpack it first, or save it again with torch.save"),
    ),
    (
        _begins(b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe"),
        Kind("a program", "programs", _NAME_WEIGHTS),
    ),
    (_begins(b"%PDF"), Kind("a PDF document", "PDF documents", _NAME_WEIGHTS)),
    (
        _begins(b"\x89PNG", b"\xff\xd8\xff", b"GIF8"),
        Kind("a picture", "pictures", _NAME_WEIGHTS),
    ),
    (
        _begins(b"ARROW1", b"PAR1"),
        Kind("a table of data (Arrow, Parquet)", "tables of data", _NAME_WEIGHTS),
    ),
    (
        _begins(b"\x80"),
        Kind(
            "a pickle that torch did not write",
            "pickles that torch did not write",
            "in the program that wrote it, save a dict of named tensors with torch.save",
        ),
    ),
)


def foreign_kind(head: bytes, tail: bytes) -> Kind | None:
    """Return the kind of a file that no format claims, by its first and last bytes; or None."""
    return next((kind for test, kind in _KINDS if test(head, tail)), None)
