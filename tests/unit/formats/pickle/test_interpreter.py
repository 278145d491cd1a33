"""The loop over opcodes: what it carries out in place is what the table of opcodes does."""

from __future__ import annotations

import io
import pickle
import random
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch

from shardctl.formats.pickle.interpreter import Interpreter
from shardctl.formats.pickle.values import PickleFaultError
from shardctl.formats.torch.unpickle import unpickle
from tests.corruption.pickle_fuzz import Maker

#: The opcodes that are carried out in place, and some that are not.
_OPCODES = b"rhK(t\x86XN\x89)qj.0aesuR\x85\x94"


def _shown(value: object) -> object:
    """A value without what tells two readings of one pickle apart."""
    if isinstance(value, (tuple, list)):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return [(_shown(key), _shown(item)) for key, item in value.items()]
    if is_dataclass(value):
        return type(value), [_shown(getattr(value, field.name)) for field in fields(value)]
    return repr(value)


def _outcome(data: bytes, *, legacy: bool) -> object:
    try:
        return _shown(unpickle(data, legacy=legacy))
    except PickleFaultError as fault:
        return type(fault), fault.message, fault.offset, fault.hint


def _one_by_one(self: Interpreter, count: int) -> int:  # noqa: ARG001 - in place of a method
    return 0


def _changed(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(changed))
        changed[at : at + chance.randint(0, 2)] = bytes([chance.choice(_OPCODES)])
    return bytes(changed)


def _legacy(value: Any) -> bytes:
    """The pickle of a state dict, with torch's opcodes; the first three are the file's header."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    for _ in range(3):
        pickle.load(file)
    return file.read()


@pytest.mark.parametrize("seed", range(40))
def test_in_place_as_by_the_table(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random pickles, sound and damaged, give the same values, or the same fault at one place."""
    chance = random.Random(seed)
    state = _legacy({f"layer.{number}": torch.zeros(number, 2) for number in range(60)})
    sources = [Maker(seed).pickle(), state, pickle.dumps({"a": [1, "b", (2, 3)]}, seed % 5)]
    cases = [_changed(source, chance) for source in sources for _ in range(10)]
    quick = [_outcome(data, legacy=legacy) for data in cases for legacy in (False, True)]
    monkeypatch.setattr(Interpreter, "_quickly", _one_by_one)
    assert quick == [_outcome(data, legacy=legacy) for data in cases for legacy in (False, True)]
