"""The type in a configuration that goes along with converted weights."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shardctl.commands.config import edited, edited_notes
from shardctl.model import DTYPES
from shardctl.planning.plan import Plan, make_plan
from shardctl.planning.request import Conversion, Limits, Request
from shardctl.testing.memory import MemoryStore
from tests.support.tensors import checkpoint_of, floats


def plan(dtype: str | None = "BF16", *, of: str = "F32") -> Plan:
    """A plan of one tensor that converts to a type."""
    tensor = replace(floats("w", 4), dtype=DTYPES[of], shape=(128 // DTYPES[of].bits,))
    asked = None if dtype is None else Conversion(dtype)
    request = Request(Limits(num_shards=1), "bin", ".bin", "m", conversion=asked)
    return make_plan(checkpoint_of(tensor), request, lambda held, _: len(held))


def changed(data: bytes, made: Plan, name: str = "config.json") -> dict[str, bytes]:
    """What becomes of a companion with these contents."""
    store = MemoryStore()
    store.append(name, data)
    return edited(store, {name: name}, made)


def test_the_type_follows_and_the_rest_stays() -> None:
    """Members of both names change at every level; spaces, texts and other members do not."""
    text = (
        '{ "torch_dtype" : "float32",\n "text_config": {"dtype":"torch.float16"},'
        '"compute_dtype": "float32", "note": "\\"dtype\\": \\"float32\\"", "dtype": "auto"}'
    )
    found = changed(text.encode(), plan())["config.json"].decode()
    assert found == text.replace(' : "float32"', ' : "bfloat16"').replace(
        "torch.float16", "bfloat16"
    )
    assert json.loads(found)["note"] == json.loads(text)["note"]
    (note,) = edited_notes(plan(), {"config.json": b""})
    assert "bfloat16" in note


@pytest.mark.parametrize(
    ("made", "data", "name"),
    [
        (plan(None), b'{"dtype": "float32"}', "config.json"),
        (plan(of="BF16"), b'{"dtype": "float32"}', "config.json"),
        (plan("F8_E4M3"), b'{"dtype": "float32"}', "config.json"),
        (plan(), b'{"dtype": "float32"}', "generation_config.json"),
        (plan(), b'{"dtype": "bfloat16"}', "config.json"),
        (plan(), b'{"dtype": "float32"', "config.json"),
        (plan(), b'\xff{"dtype": "float32"}', "config.json"),
        (plan(), b'{"dtype": "float32"}' + b" " * (5 * 1024 * 1024), "config.json"),
        (plan(), b"[" * 100_000, "config.json"),
    ],
    ids=["no", "nothing", "8 bits", "other", "equal", "broken", "binary", "large", "deep"],
)
def test_other_files_stay(made: Plan, data: bytes, name: str) -> None:
    """Without a conversion, to a type that no model runs in, and in what is not a configuration,
    nothing changes.
    """
    assert changed(data, made, name) == {}
    assert list(edited_notes(made, {})) == []
