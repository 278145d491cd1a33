"""The files of other programs are called what they are."""

from __future__ import annotations

import pickle

import pytest

from shardctl.formats.foreign import foreign_kind

INDEX_OF_TENSORFLOW = bytes(100) + bytes.fromhex("57fb808b247547db")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GGUF\3\0\0\0", "GGUF"), (b"lmgg\1\0", "GGML"), (b"tjgg\1\0", "GGML"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"\x93NUMPY\1\0", "NumPy"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"), (INDEX_OF_TENSORFLOW, "TensorFlow"),
        (b'model_checkpoint_path: "model.ckpt-1"\n', "TensorFlow"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.0.1", "ONNX"), (b"\x08\x08:\xff\x01\x0a", "ONNX"),
        (b"\x82\xabtransformer\x81\xa5layer", "Flax"), (b"\xde\0\x20\xa6params", "Flax"),
        (b"\x81\xd9\x20a_name", "Flax"), (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"\x89PNG\r\n", "picture"), (pickle.dumps({}), "pickle"),
    ],
)  # fmt: skip
def test_kinds_by_contents(data: bytes, what: str) -> None:
    """The first bytes, or for TensorFlow's index the last, say the kind; each has a next step."""
    kind = foreign_kind(data[:1024], data[-64:])
    assert kind is not None
    assert what in kind.what
    assert kind.many
    assert kind.hint


@pytest.mark.parametrize(
    "data", [b"", b"\x08", b"\x82", b"hello", b"\x08\0\0\0\0\0\0\0{}", b"\x07\1"]
)
def test_what_is_not_known(data: bytes) -> None:
    """Nothing is guessed from bytes that are of no known kind, or too few."""
    assert foreign_kind(data, data) is None
