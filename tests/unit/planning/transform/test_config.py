"""Which bytes of a `config.json` change with the type of the weights."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shardctl.planning.transform.config import dtype_edits, edited


def changed(text: str, dtype: str = "BF16") -> str:
    """A configuration after a conversion."""
    data = text.encode()
    return edited(data, dtype_edits(data, dtype)).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"dtype": "float32"}', '{"dtype": "bfloat16"}'),
        ('{\r\n\t"torch_dtype" :"float16" ,"a": 1}', '{\r\n\t"torch_dtype" :"bfloat16" ,"a": 1}'),
        ('{"torch_dtype": "torch.float32"}', '{"torch_dtype": "torch.bfloat16"}'),
        ('{"d\\u0074ype": "float64"}', '{"d\\u0074ype": "bfloat16"}'),
        ('{"dtype": "half", "dtype": "float"}', '{"dtype": "bfloat16", "dtype": "bfloat16"}'),
        ('{"text_config": {"dtype": "float32"}}', '{"text_config": {"dtype": "bfloat16"}}'),
        ('{"a": [{"dtype": "float32"}]}', '{"a": [{"dtype": "bfloat16"}]}'),
        ('{"dtype": {"": "float32", "x": "half"}}', '{"dtype": {"": "bfloat16", "x": "bfloat16"}}'),
        ('{"dtype": "float8_e4m3fn"}', '{"dtype": "bfloat16"}'),
    ],
)
def test_types_of_weights_are_replaced(before: str, after: str) -> None:
    """At any depth, in either spelling; every other byte stays."""
    assert changed(before) == after


@pytest.mark.parametrize(
    "text",
    [
        '{"dtype": "bfloat16"}',
        '{"dtype": null, "torch_dtype": "auto"}',
        '{"vocab": {"dtype": 12}}',
        '{"compute_dtype": "float32", "a": "dtype", "b": ["dtype", "float32"]}',
        '{"quantization_config": {"dtype": "float32"}}',
        '{"a": "\\"dtype\\": \\"float32\\""}',
        '["dtype", "float32"]',
        '"dtype"',
        '{"dtype": "float32"',
        '{"dtype": "float32"} x',
        "",
    ],
)
def test_what_stays(text: str) -> None:
    """What names no type of weights, and what is not a JSON object."""
    assert dtype_edits(text.encode(), "BF16") == ()


@pytest.mark.parametrize(
    "data", [b"\xff{}", b'{"a": ' + b"[" * 100_000, '{"dtype":"half"}'.encode("utf-16")]
)
def test_what_cannot_be_read_stays(data: bytes) -> None:
    """It is copied as it is."""
    assert dtype_edits(data, "BF16") == ()


@pytest.mark.parametrize(
    ("dtype", "name"),
    [("F64", "float64"), ("F32", "float32"), ("F16", "float16"), ("F8_E4M3", "double")],
)
def test_types_in_which_models_are_made(dtype: str, name: str) -> None:
    """A model is not made in a type of 8 bits: its configuration keeps the one that it has."""
    assert json.loads(changed('{"dtype": "double"}', dtype)) == {"dtype": name}


def test_it_is_the_same_as_with_a_json_library() -> None:
    """For a configuration with every kind of value, the document differs in the types alone."""
    document: dict[str, Any] = {
        "a": [1, -2.5e3, True, None, 'x,{}[]:\\"é'],
        "dtype": "float32",
        "b": {"c": {"torch_dtype": "float16"}, "d": []},
        "e": {},
    }
    wanted = {**document, "dtype": "bfloat16", "b": {"c": {"torch_dtype": "bfloat16"}, "d": []}}
    for indent in (None, 2):
        for ascii_only in (True, False):
            text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
            assert changed(text) == json.dumps(wanted, indent=indent, ensure_ascii=ascii_only)
