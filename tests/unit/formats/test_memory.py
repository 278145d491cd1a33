"""What reading takes of memory, against the length of what is read."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from shardctl.checksums import parse_checksums
from shardctl.findings import strict
from shardctl.formats.index import parse_index
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.formats.torch.zip.reader import TorchZipReader
from shardctl.formats.torch.zip.writer import TorchZipWriter
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.stores.local.store import LocalStore
from shardctl.testing.builders import BytesReader, materialise

#: Bytes of each document; peaks in times of it.
_LENGTH, _MOST = 300_000, 24

_FIELD = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":%s}}'
_SHAPE = '{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}'
_METADATA = '{"__metadata__":{%s},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
_TENSOR = '"%x":{"dtype":"U8","shape":[],"data_offsets":[%d,%d]}'
_OTHER_TENSOR = '"%x":{"shape":[],"dtype":"U8","data_offsets":[%d,%d]}'


def _many(item: str) -> str:
    """One item again and again, with commas between, about as long as a document is to be."""
    return ",".join([item] * (_LENGTH // (len(item) + 1)))


def _numbered(item: str, *, plus: tuple[int, ...] = (0,)) -> str:
    """Like `_many`; for each place in the item, the item's number and what is added to it."""
    length = len(item % tuple(10_000 for _ in plus)) + 1
    return ",".join(
        item % tuple(number + more for more in plus) for number in range(_LENGTH // length)
    )


def _object(members: str) -> str:
    return "{" + members + "}"


def _list(items: str) -> str:
    return f"[{items}]"


_HEADERS = {
    "tensors": _object(_numbered(_TENSOR, plus=(0, 0, 1))),
    "another form": _object(_numbered(_OTHER_TENSOR, plus=(0, 0, 1))),
    "all faulty": _object(_numbered(_TENSOR, plus=(0, 0, 9))),
    "empty objects": _FIELD % _list(_many("{}")),
    "empty lists": _FIELD % _list(_many("[]")),
    "objects": _FIELD % _list(_numbered('{"%08x":1}  ')),
    "pairs": _FIELD % _object(_numbered('"%06x":1.5')),
    "texts": _FIELD % _list(_many('"ab"')),
    "numbers": _FIELD % _list(_many("1.5")),
    "empty entries": _object(_numbered('"%x":{}')),
    "entries": _object(_numbered('"%09x": {}')),
    "one name": _object(_many('"a":   {}      ')),
    "metadata": _METADATA % _numbered('"%04x":"abc"'),
    "metadata of numbers": _METADATA % _numbered('"%06x":1.5'),
    "dimensions": _SHAPE % _many("1"),
    "long dimensions": _SHAPE % _many("999"),
    "escapes": _METADATA % ('"a":"' + r"\"" * (_LENGTH // 2) + '"'),
    "a long name": _SHAPE.replace('"a"', '"' + "." * _LENGTH + '"') % "1",
}

_WEIGHT_MAP = '{"metadata":{},"weight_map":{%s}}'
_INDEX_FIELD = '{"metadata":{"x":%s},"weight_map":{"a":"b.safetensors"}}'
_INDEXES = {
    "shards": _WEIGHT_MAP % _numbered('"layers.%d.w":"%x.safetensors"', plus=(0, 0)),
    "empty objects": _INDEX_FIELD % _list(_many("{}")),
    "pairs": _INDEX_FIELD % _object(_numbered('"%06x":1234.56')),
    "unsafe names": _WEIGHT_MAP % _numbered('"%05x":"../%x"', plus=(0, 0)),
    "no names": _WEIGHT_MAP % _numbered('"%08x":[    ]'),
}


def _peak(read: Callable[[], object]) -> int:
    """The most bytes that are in use at once while something is read."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", _HEADERS.values(), ids=list(_HEADERS))
def test_a_header_takes_memory_in_proportion_to_its_length(text: str) -> None:
    """Whatever a header holds, tensors or anything else, the peak is no more than some times its
    length.
    """
    header = text.encode()
    reader = BytesReader("a.safetensors", struct.pack("<Q", len(header)) + header + b"x")
    peak = _peak(lambda: SafetensorsReader().read(reader, lambda _: None))
    assert peak < _MOST * len(header)


@pytest.mark.parametrize("text", _INDEXES.values(), ids=list(_INDEXES))
def test_an_index_takes_memory_in_proportion_to_its_length(text: str) -> None:
    """Whatever an index holds, the peak is no more than some times its length."""
    data = text.encode()
    peak = _peak(lambda: parse_index(data, "a.safetensors.index.json", lambda _: None))
    assert peak < _MOST * len(data)


_TENSORS = 4_000
#: Bytes that a tensor takes while its file is read, or is laid out, and those of any small file.
_PER_TENSOR, _CONSTANT = 1_000, 200_000


def _small_tensors() -> list[Tensor]:
    """Many tensors of a safetensors file, with names as a model's are."""
    return [
        Tensor(name, DTYPES["F32"], (2, 2), Storage(Extent("source", 16 * number, 16), name))
        for number in range(_TENSORS)
        for name in (f"model.layers.{number // 100}.experts.{number % 100}.w.weight",)
    ]


def test_a_tensor_of_a_zip_takes_less_than_a_kilobyte(tmp_path: Path) -> None:
    """However many tensors a torch zip has, reading it takes no more than so much for each."""
    layout = TorchZipWriter().lay_out(_small_tensors(), {})
    path = tmp_path / "a.bin"
    path.write_bytes(materialise(layout, {"source": bytes(16 * _TENSORS)}))
    with LocalStore().open(str(path)) as reader:
        file = TorchZipReader().read(reader, strict)
        assert file is not None
        assert len(file.tree) == _TENSORS
        del file
        peak = _peak(lambda: TorchZipReader().read(reader, strict))
    assert peak < _CONSTANT + _PER_TENSOR * _TENSORS


def test_a_tensor_that_is_laid_out_takes_less_than_a_kilobyte() -> None:
    """However many tensors are written to a torch zip, its layout takes no more than so much for
    each.
    """
    tensors = _small_tensors()
    peak = _peak(lambda: TorchZipWriter().lay_out(tensors, {}))
    assert peak < _CONSTANT + _PER_TENSOR * _TENSORS


_LINE = f"{'ab' * 32}  %08x\n"


@pytest.mark.parametrize(
    "text",
    [
        "\n" * _LENGTH,
        "\udcff\n" * (_LENGTH // 2),
        f"{'ab' * 32}  a\n" * (_LENGTH // 68),
        "".join(_LINE % number for number in range(_LENGTH // len(_LINE))),
        f"\\{'ab' * 32}  " + r"\n" * (_LENGTH // 2),
    ],
    ids=["empty lines", "no text", "one name", "names", "a long name"],
)
def test_checksums_take_memory_in_proportion_to_their_length(text: str) -> None:
    """Whatever lines `SHA256SUMS` has, the peak is no more than some times its length."""
    data = text.encode("utf-8", "surrogateescape")
    assert _peak(lambda: parse_checksums(data)) < _MOST * len(data)
