"""A differential fuzzer: what verify calls sound, torch loads, and both see the same tensors.

Seeded, and half a minute by default; `FUZZ_SEEDS=500 pytest -m fuzz` runs longer.
"""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.layout import Gather, view_of
from shardctl.model import File, MadeName, Tensor
from shardctl.source.state_dict import flatten
from shardctl.streams.gather import gather
from shardctl.testing.builders import BytesReader
from tests.corruption.pickle_fuzz import STORAGES, Maker
from tests.support.state_dicts import bits
from tests.support.zip_files import Entry, pack

pytestmark = pytest.mark.fuzz

_SEEDS = int(os.environ.get("FUZZ_SEEDS", "16"))
_CASES = 500
_PATH = "model"


def _file(root: bytes) -> bytes:
    entries = {"data.pkl": root, "byteorder": b"little", "version": b"3\n"}
    entries |= {f"data/{key}": data for key, data in STORAGES.items()}
    return pack([Entry(f"archive/{name}", data) for name, data in entries.items()])


def _ours(data: bytes) -> File | None:
    """The file, where everything in it is read and nothing is found."""
    findings: list[Finding] = []
    file = read_file(BytesReader(_PATH, data), findings.append)
    if file is None or findings or file.refused or file.unsafe_globals or file.allocations:
        return None
    return None if any(value.unread for value in flatten(file.tree).non_tensors) else file


def _bytes_of(tensor: Tensor, data: bytes) -> bytes:
    piece = view_of(tensor)
    if not tensor.elements:
        return b""
    if isinstance(piece, Gather):
        return b"".join(gather(BytesReader(_PATH, data), piece))
    return data[piece.extent.offset : piece.extent.end]


def _theirs(value: Any, name: str = "") -> list[tuple[str, object]]:
    """The tensors of what torch loads, by dotted names, with "?" for keys that are not text."""
    if isinstance(value, torch.Tensor):
        return [(name, (tuple(value.shape), bits(value)))]
    if isinstance(value, dict):
        items = [(key if isinstance(key, str) else "?", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(place), item) for place, item in enumerate(value)]
    else:
        return []
    found = []
    for key, item in items:
        found += _theirs(item, f"{name}.{key}" if name else key)
    return found


def _named(tree: Any, data: bytes, name: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, item in tree.items():
        text = "?" if isinstance(key, MadeName) else key
        full = f"{name}.{text}" if name else text
        if isinstance(item, dict):
            found += _named(item, data, full)
        elif isinstance(item, Tensor):
            found.append((full, (item.shape, _bytes_of(item, data))))
    return found


@pytest.mark.parametrize("seed", range(_SEEDS))
def test_what_is_sound_loads_alike(seed: int) -> None:
    """Of random pickles in torch's vocabulary, each that is read without a finding loads with
    torch's default loader, and has the same tensors there.
    """
    sound = 0
    for case in range(_CASES):
        root = Maker(seed * 100_000 + case).pickle()
        data = _file(root)
        file = _ours(data)
        if file is None:
            continue
        sound += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                loaded = torch.load(io.BytesIO(data), weights_only=True)
            except Exception as error:
                pytest.fail(f"case {case}: torch refuses it: {error!r:.300}\n{root!r}")
        theirs = _theirs(loaded)
        if isinstance(loaded, torch.Tensor):
            theirs = [("0", theirs[0][1])]
        assert sorted(_named(file.tree, data), key=repr) == sorted(theirs, key=repr), (case, root)
    assert sound > _CASES // 20
