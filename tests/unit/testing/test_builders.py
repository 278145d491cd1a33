"""What is offered to tests is right itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from shardctl.errors import SourceChangedError
from shardctl.layout import Copy, Crc, Gather, Layout, Literal
from shardctl.model import Extent
from shardctl.testing.builders import BytesReader, materialise, safetensors_bytes
from shardctl.testing.memory import MemoryStore


def test_upstream_loads_what_is_built(tmp_path: Path) -> None:
    """Names, types, shapes, bytes and metadata are as they were given."""
    data = safetensors_bytes({"ü": b"\1\2", "half": ("F16", (2, 1), bytes(4))}, {"key": "value"})
    tensors = load(data)
    assert tensors["ü"].tolist() == [1, 2]
    assert torch.equal(tensors["half"], torch.zeros(2, 1, dtype=torch.float16))
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == {"key": "value"}


def test_a_reader_of_bytes_remembers_what_was_asked() -> None:
    """Ranges are remembered in order, and one beyond the end is a source that has changed."""
    with BytesReader("f", b"0123456789") as reader:
        assert reader.read(2, 3) == b"234"
        with pytest.raises(SourceChangedError) as caught:
            reader.read(9, 2)
        assert reader.version == reader.current()
        assert reader.version.size == 10
    assert reader.ranges == [(2, 3), (9, 2)]
    assert (caught.value.file, caught.value.offset) == ("f", 9)


def test_the_bytes_of_a_layout() -> None:
    """Each piece is made the plain way, with the CRC-32 of the piece that is named."""
    pieces = (
        Literal(b"head"),
        Copy(Extent("f", 1, 3)),
        Gather(Extent("f", 0, 8), 2, (2, 2), (1, 2)),
        Crc(1),
    )
    # 0x352441c2 is the CRC-32 of "abc".
    crc = 0x352441C2.to_bytes(4, "little")
    layout = Layout(pieces, 4 + 3 + 8 + 4)
    assert materialise(layout, {"f": b"-abcdefg"}) == b"head" + b"abc" + b"-adebcfg" + crc


def test_paths_in_memory_have_spellings() -> None:
    """A path is the same as itself in another spelling; the directory of bare names is "." too."""
    store = MemoryStore()
    store.make_directory("a/b")
    assert store.same("a/b", "a/./b/")
    assert store.same("", ".")
