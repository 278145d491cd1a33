"""The corpus of broken and odd directories: one case for each rule, made on demand.

Run as a program, it writes them to a directory:
`python -m tests.corruption.directory_cases DIRECTORY`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shardctl.testing.builders import safetensors_bytes

A, B, C = (f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3))
INDEX = "model.safetensors.index.json"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"


@dataclass(frozen=True)
class DirectoryCase:
    """A directory that `make` fills, and what reading it must say.

    `code` None: it is sound; `exit_code` is what a writer ends with; `source` is what is given as
    SOURCE, below the directory.
    """

    name: str
    make: Callable[[Path], None]
    code: str | None
    exit_code: int = 3
    source: str = ""
    severity: str = "error"


def weights(*names: str, size: int = 8) -> bytes:
    """Return a safetensors file that holds tensors of those names, `size` bytes each."""
    return safetensors_bytes(dict.fromkeys(names, bytes(range(1, size + 1))))


def index(weight_map: dict[str, str]) -> bytes:
    """An index."""
    return json.dumps({"metadata": {"total_size": 24}, "weight_map": weight_map}).encode()


def sound(directory: Path) -> None:
    """Three shards and their index."""
    for name, tensor in ((A, "a"), (B, "b"), (C, "c")):
        (directory / name).write_bytes(weights(tensor))
    (directory / INDEX).write_bytes(index({"a": A, "b": B, "c": C}))


def _but(*changes: Callable[[Path], object]) -> Callable[[Path], None]:
    """The sound directory with changes."""

    def make(directory: Path) -> None:
        sound(directory)
        for change in changes:
            change(directory)

    return make


def _put(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_bytes(data)


def _remove(name: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).unlink()


def _cut(name: str, nbytes: int) -> Callable[[Path], object]:
    return lambda directory: os.truncate(
        directory / name, (directory / name).stat().st_size - nbytes
    )


def _pipe(name: str) -> Callable[[Path], object]:
    return lambda directory: os.mkfifo(directory / name)


def _link(name: str, target: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).symlink_to(target)


def _hidden(name: str) -> Callable[[Path], object]:
    """Move a file away and put a link to it in its place, as in the hub's cache."""

    def change(directory: Path) -> None:
        (directory / "blobs").mkdir(exist_ok=True)
        (directory / name).rename(directory / "blobs" / name)
        (directory / name).symlink_to(Path("blobs") / name)

    return change


def _only(*changes: Callable[[Path], object]) -> Callable[[Path], None]:
    """An empty directory with changes."""

    def make(directory: Path) -> None:
        for change in changes:
            change(directory)

    return make


_SHARDS = [
    DirectoryCase("sound", sound, None),
    DirectoryCase("shard missing", _but(_remove(B)), "index-shard-missing"),
    DirectoryCase(
        "shard is a directory",
        _but(_remove(B), lambda directory: (directory / B).mkdir()),
        "file-not-regular",
    ),
    DirectoryCase("shard is a pipe", _but(_remove(B), _pipe(B)), "file-not-regular"),
    DirectoryCase("shard is a device", _but(_remove(B), _link(B, "/dev/zero")), "file-not-regular"),
    DirectoryCase("shard is a link to a file", _but(_hidden(B)), None),
    DirectoryCase("everything is a link", _but(*map(_hidden, (A, B, C, INDEX))), None),
    DirectoryCase(
        "shard is a link to nothing", _but(_remove(B), _link(B, "gone")), "index-shard-missing"
    ),
    DirectoryCase(
        "shard is a link to itself", _but(_remove(B), _link(B, B)), "index-shard-missing"
    ),
    DirectoryCase("shard is empty", _but(_put(B, b"")), "file-empty"),
    DirectoryCase("shard is zero-filled", _but(_put(B, bytes(4096))), "file-zero-filled"),
    DirectoryCase("shard is a pointer of Git LFS", _but(_put(B, LFS)), "file-lfs-pointer"),
    DirectoryCase(
        "shard is a web page",
        _but(_put(B, b"<!doctype html><html>Sign in</html>")),
        "file-html-page",
    ),
    DirectoryCase(
        "shard is JSON", _but(_put(B, b'{"error": "not found"}' + b" " * 80)), "header-invalid"
    ),
    DirectoryCase("shard is cut off", _but(_cut(B, 3)), "file-truncated"),
    DirectoryCase("shard is cut off within its header", _but(_cut(B, 60)), "file-truncated"),
    DirectoryCase(
        "shard has more at its end", _but(_put(B, weights("b") + b"more")), "file-trailing-bytes"
    ),
]

_INDEX = [
    DirectoryCase("tensor absent", _but(_put(B, weights("other"))), "index-tensor-missing"),
    DirectoryCase(
        "tensor in another shard",
        _but(_put(INDEX, index({"a": B, "b": A, "c": C}))),
        "index-tensor-misplaced",
    ),
    DirectoryCase(
        "tensor in two shards, listed in the first",
        _but(_put(B, weights("b", "a"))),
        "tensor-in-several-shards",
        severity="warning",
    ),
    DirectoryCase(
        "tensor in two shards, listed in the last", _but(_put(A, weights("a", "b"))), None
    ),
    DirectoryCase(
        "tensor in two shards, listed in a third",
        _but(
            _put(A, weights("a", "b")),
            _put(B, weights("b", "c")),
            _put(INDEX, index({"a": A, "b": C, "c": B})),
        ),
        "tensor-in-several-shards",
    ),
    DirectoryCase(
        "tensor not listed", _but(_put(B, weights("b", "more"))), "index-tensor-unlisted"
    ),
    DirectoryCase("shard not listed", _but(_put(INDEX, index({"a": A, "b": B}))), "shard-unlisted"),
    DirectoryCase("index cut off", _but(_cut(INDEX, 5)), "index-invalid"),
    DirectoryCase("index is a pointer of Git LFS", _but(_put(INDEX, LFS)), "file-lfs-pointer"),
    DirectoryCase("index is a pipe", _but(_remove(INDEX), _pipe(INDEX)), "file-not-regular"),
    DirectoryCase(
        "index is a link to nothing", _but(_remove(INDEX), _link(INDEX, "gone")), "file-not-regular"
    ),
    DirectoryCase(
        "index leads out",
        _but(_put(INDEX, index({"a": f"../{A}", "b": B, "c": C}))),
        "shard-name-unsafe",
    ),
    DirectoryCase(
        "index lists a torch file",
        _but(_put(INDEX, index({"a": "a.bin", "c": C}))),
        "shard-name-unsafe",
    ),
    DirectoryCase(
        "index names a pipe in a directory",
        _but(
            lambda directory: (directory / "sub").mkdir(),
            _pipe("sub/x.safetensors"),
            _put(INDEX, index({"a": A, "b": B, "c": C, "x": "sub/x.safetensors"})),
        ),
        "file-not-regular",
    ),
]

_SETS = [
    DirectoryCase("no index", _but(_remove(INDEX)), "index-missing", severity="warning"),
    DirectoryCase(
        "no index and a file missing", _but(_remove(INDEX), _remove(B)), "shard-set-incomplete"
    ),
    DirectoryCase(
        "no index and a tensor twice",
        _but(_remove(INDEX), _put(B, weights("a"))),
        "tensor-in-several-shards",
    ),
    DirectoryCase(
        "slices of a model",
        _only(
            _put("consolidated.00.pth", weights("a")),
            _put("consolidated.01.pth", weights("a")),
        ),
        "tensor-in-several-shards",
    ),
    DirectoryCase(
        "a single file beside a set",
        _but(_put("model.safetensors", weights("a", "b", "c")), _put(A, b"")),
        None,
    ),
    DirectoryCase("two formats", _but(_put("pytorch_model.bin", b"")), None),
    DirectoryCase("two variants", _but(_put("model.fp16.safetensors", weights("a"))), None),
    DirectoryCase(
        "variants only",
        _only(
            _put("model.fp16.safetensors", weights("a")),
            _put("model.bf16.safetensors", weights("a")),
        ),
        "folder-ambiguous",
        2,
    ),
    DirectoryCase(
        "two kinds", _but(_put("adapter_model.safetensors", weights("a"))), "folder-ambiguous", 2
    ),
    DirectoryCase(
        "left over from another count",
        _but(_put("model-00001-of-00005.safetensors", weights("a"))),
        None,
    ),
    DirectoryCase(
        "two counts and no index",
        _but(_remove(INDEX), _put("model-00001-of-00005.safetensors", weights("a"))),
        "folder-ambiguous",
        2,
    ),
    DirectoryCase(
        "a stale index",
        _only(
            _put("model.safetensors", weights("a", "b", "c")),
            _put(INDEX, index({"a": A})),
        ),
        None,
    ),
    DirectoryCase(
        "a stale index and no files", _but(*map(_remove, (A, B, C))), "index-shard-missing"
    ),
    DirectoryCase(
        "a stale index beside a whole set", _but(_put(INDEX, index({"a": "a.safetensors"}))), None
    ),
    DirectoryCase("nothing", _only(), "not-found"),
    DirectoryCase(
        "nothing but training state", _only(_put("optimizer.bin", weights("a"))), "not-found"
    ),
    DirectoryCase(
        "a single link to nothing", _only(_link("model.safetensors", "gone")), "file-not-regular"
    ),
    DirectoryCase("a single pipe", _only(_pipe("model.safetensors")), "file-not-regular"),
    DirectoryCase(
        "a named pipe",
        _only(_pipe("model.safetensors")),
        "file-not-regular",
        source="model.safetensors",
    ),
    DirectoryCase(
        "a named shard of a set that lacks one",
        _but(_remove(INDEX), _remove(B)),
        "shard-set-incomplete",
        source=A,
    ),
    DirectoryCase(
        "a named link to nothing", _only(_link("x.bin", "gone")), "not-found", source="x.bin"
    ),
    DirectoryCase(
        "a named configuration",
        _but(_put("config.json", b'{"hidden_size": 4}')),
        "index-invalid",
        source="config.json",
    ),
]

CASES = [*_SHARDS, *_INDEX, *_SETS]


def main(directory: Path) -> None:
    """Write every case to a directory named after it."""
    for case in CASES:
        place = directory / case.name.replace(" ", "-")
        place.mkdir(parents=True)
        case.make(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
