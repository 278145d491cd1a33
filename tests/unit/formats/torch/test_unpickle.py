"""Pickles are read symbolically: what torch and pickle write comes out as inert values, and nothing
is ever called.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict

import pytest

from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    PickleFaultError,
    Sequence,
    ViewRef,
)
from shardctl.formats.torch.unpickle import unpickle
from shardctl.formats.torch.weights_only import unsafe

_VALUES = [
    None, True, False, 0, 1, 255, 256, 65535, 65536, -1, 2**31, -(2**31), 2**63, -(2**100), 0.0,
    -1.5, float("inf"), "", "text", "ü\u2028", "x" * 300, b"", b"bytes", b"x" * 300, (), (1,),
    (1, 2), (1, 2, 3), (1, 2, 3, 4),
]  # fmt: skip

protocols = pytest.mark.parametrize("protocol", range(6))


@protocols
@pytest.mark.parametrize("value", _VALUES, ids=lambda value: repr(value)[:20])
def test_scalars(value: object, protocol: int) -> None:
    """Scalars and tuples come back as themselves, in every protocol."""
    result = unpickle(pickle.dumps(value, protocol))
    if value == b"" and protocol < 3:
        assert isinstance(result.root, Opaque)  # `bytes()`, which is not called
    else:
        assert result.root == value
        assert type(result.root) is type(value)


@protocols
def test_containers(protocol: int) -> None:
    """Dicts, OrderedDicts, lists and sets keep their items and order."""
    value = {"b": [1, "x"], "a": OrderedDict([("z", 1), ("y", (2, 3))]), "s": [], "e": {}}
    root = unpickle(pickle.dumps(value, protocol)).root
    assert isinstance(root, Mapping)
    assert list(root.items) == ["b", "a", "s", "e"]
    listed, ordered = root.items["b"], root.items["a"]
    assert isinstance(listed, Sequence)
    assert listed.items == [1, "x"]
    assert isinstance(ordered, Mapping)
    assert list(ordered.items.items()) == [("z", 1), ("y", (2, 3))]


@protocols
def test_foreign_objects_are_opaque(protocol: int) -> None:
    """Objects of any other class are only named, and their names are reported."""
    value = {"args": argparse.Namespace(lr=0.1, path="x"), "range": range(3), "exit": pytest.exit}
    result = unpickle(pickle.dumps(value, protocol))
    assert isinstance(result.root, Mapping)
    kinds = {
        key: item for key, item in result.root.items.items() if isinstance(item, Opaque | Global)
    }
    assert set(kinds) == {"args", "range", "exit"}
    names = set(result.globals)
    assert names & {"argparse.Namespace"} or protocol < 2
    assert unsafe(result.globals)


@protocols
def test_it_ends_where_pickle_ends(protocol: int) -> None:
    """The end that is reported is the offset just past STOP, wherever the pickle begins."""
    data = pickle.dumps({"a": 1}, protocol)
    assert unpickle(data + b"more").end == len(data)
    assert unpickle(b"junk" + data, 4).end == len(data) + 4


def test_keys_of_any_scalar_kind() -> None:
    """Numbers as keys are shown by their text, as dictionaries of optimizers have them."""
    root = unpickle(pickle.dumps({0: "a", 1: "b", (2, "x"): "c", None: "d"}, 2)).root
    assert isinstance(root, Mapping)
    assert [str(key) for key in root.items][:2] == ["0", "1"]
    third = list(root.items)[2]
    assert isinstance(third, tuple)
    assert str(third[0]) == "2"
    assert list(root.items)[3] is None


def test_every_opcode_is_read_or_refused() -> None:
    """Each opcode that pickle knows is either carried out or a fault: none raises anything else."""
    for opcode in pickletools.opcodes:
        for stack in (b"", b"N", b"N)", b"(", b"}", b"]", b"(NN", b"cos\nsystem\n)"):
            for tail in (b".", b"\x01.", b"1\n.", b"\x00" * 9 + b".", b"\xff" * 9 + b"."):
                data = b"\x80\x02" + stack + opcode.code.encode("latin-1") + tail
                with contextlib.suppress(PickleFaultError):
                    assert 0 < unpickle(data).end <= len(data)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_tensors(protocol: int) -> None:
    """A tensor that torch pickles comes out with its storage, offset, shape and strides."""
    import torch

    base = torch.arange(12.0).reshape(3, 4)
    buffer = io.BytesIO()
    torch.save({"t": base.t(), "row": base[1]}, buffer, pickle_protocol=protocol)
    data = zipfile.ZipFile(buffer).read("archive/data.pkl")
    result = unpickle(data)
    assert isinstance(result.root, Mapping)
    turned, row = result.root.items["t"], result.root.items["row"]
    assert isinstance(turned, ViewRef)
    assert isinstance(row, ViewRef)
    assert (turned.shape, turned.strides, turned.offset) == ((4, 3), (1, 4), 0)
    assert (row.shape, row.strides, row.offset) == ((4,), None, 4)
    assert turned.storage.key == row.storage.key == "0"
    assert {key: ref.nbytes for key, ref in result.storages.items()} == {"0": 48}
    assert unsafe(result.globals) == ()
