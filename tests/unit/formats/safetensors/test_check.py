"""Every rule of a safetensors header is checked, and each breach named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shardctl.findings import Finding
from shardctl.formats.limits import MAX_DIMS, MAX_JSON_DEPTH
from shardctl.formats.safetensors.check import HeaderCheck, amounts, bits_of
from shardctl.formats.safetensors.findings import FileFindings
from shardctl.formats.strict_json import parse_object
from shardctl.model import DTYPES, Tensor

U64 = 2**64 - 1
I64 = 2**63 - 1


def fields(begin: object = 0, end: object = 4, **changed: object) -> dict[str, object]:
    """The fields of a tensor of four bytes; those that are None are left out."""
    found = {"dtype": "F32", "shape": [1], "data_offsets": [begin, end], **changed}
    return {key: value for key, value in found.items() if value is not None}


def check(root: dict[str, Any], nbytes: int = 4) -> tuple[list[Tensor], list[Finding]]:
    """The tensors of a header in a file with so many bytes after it, and what is wrong."""
    found: list[Finding] = []
    checking = HeaderCheck("m", 100, 100 + nbytes, FileFindings("m", found.append))
    checking.keys(root)
    return checking.tensors(root), found


def codes(root: dict[str, Any], nbytes: int = 4) -> list[tuple[str, str | None]]:
    """The codes of what is wrong, with the tensors."""
    return [(each.code, each.tensor) for each in check(root, nbytes)[1]]


def test_a_sound_header() -> None:
    """Tensors come in the order of their bytes, each with its place in the file."""
    tensors, findings = check({"b": fields(4, 8), "a": fields()}, 8)
    assert findings == []
    assert [(each.name, each.storage.extent.offset) for each in tensors] == [("a", 100), ("b", 104)]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"dtype": None}, "header-invalid"),
        ({"shape": None}, "header-invalid"),
        ({"data_offsets": None}, "header-invalid"),
        ({"dtype": 32}, "header-invalid"),
        ({"dtype": "F33"}, "tensor-dtype-unknown"),
        ({"dtype": "complex128"}, "tensor-dtype-unknown"),
        ({"shape": 1}, "header-invalid"),
        ({"shape": [-1]}, "header-invalid"),
        ({"shape": [True]}, "header-invalid"),
        ({"shape": [1.0]}, "header-invalid"),
        ({"shape": [U64 + 1]}, "header-invalid"),
        ({"shape": [1] * (MAX_DIMS + 1)}, "header-invalid"),
        ({"data_offsets": [0]}, "header-invalid"),
        ({"data_offsets": [0, 4, 8]}, "header-invalid"),
        ({"data_offsets": ["0", "4"]}, "header-invalid"),
        ({"data_offsets": [0, True]}, "header-invalid"),
        ({"data_offsets": [4, 0]}, "header-invalid"),
        ({"shape": [2]}, "tensor-size-mismatch"),
        ({"shape": []}, None),
        ({"shape": [1] * MAX_DIMS}, None),
        ({"dtype": "F64"}, "tensor-size-mismatch"),
        ({"dtype": "F4", "shape": [3]}, "tensor-size-mismatch"),
        ({"dtype": "F4", "shape": [8]}, None),
        ({"shape": [2**32, 2**32, 0]}, "tensor-size-mismatch"),
        ({"dtype": "F64", "shape": [2**61]}, "tensor-size-mismatch"),
    ],
)
def test_each_field_of_a_tensor(changed: dict[str, object], code: str | None) -> None:
    """A field that is missing, of another type, or does not fit is an error at the tensor."""
    found = codes({"w": fields(**changed)})
    assert found == ([] if code is None else [(code, "w")])


@pytest.mark.parametrize("entry", [None, 1, "x", [], True])
def test_an_entry_is_an_object(entry: object) -> None:
    """Anything else in the place of a tensor is an error."""
    assert codes({"w": entry}) == [("header-invalid", "w")]


def test_fields_that_nothing_reads() -> None:
    """They are a warning; too deep, or with a number that upstream refuses, an error as well."""
    found = check({"w": fields(more=[1.5, "x"])})[1]
    assert [(each.code, each.severity) for each in found] == [("header-invalid", "warning")]
    deep: object = 1
    for _ in range(MAX_JSON_DEPTH + 1):
        deep = [deep]
    for odd in (deep, 10**400):
        severities = [each.severity for each in check({"w": fields(more=odd)})[1]]
        assert severities == ["warning", "error"]


def test_duplicate_keys_are_refused_wherever_they_are() -> None:
    """At the top, in a tensor's entry, and in the metadata."""
    one = json.dumps(fields())
    found = codes(parse_object(f'{{"w":{one},"w":{one}}}'))
    assert ("tensor-duplicate-key", "w") in found
    twice = one[:-1] + ',"shape":[1]}'
    assert codes(parse_object(f'{{"w":{twice}}}')) == [("tensor-duplicate-key", "w")]
    found = codes(parse_object('{"__metadata__":{},"__metadata__":{}}'))
    assert ("tensor-duplicate-key", "__metadata__") in found


@pytest.mark.parametrize(
    ("value", "pairs", "severities"),
    [
        ({"a": "b"}, {"a": "b"}, []),
        (None, {}, ["warning"]),
        ([], {}, ["error"]),
        ("x", {}, ["error"]),
        ({"a": 1, "b": "c", "d": None}, {"b": "c"}, ["error", "error"]),
        ({}, {}, []),
    ],
)
def test_metadata_is_pairs_of_strings(
    value: object, pairs: dict[str, str], severities: list[str]
) -> None:
    """Each value that is not a string is an error, and the others are kept."""
    found: list[Finding] = []
    checking = HeaderCheck("m", 100, 100, FileFindings("m", found.append))
    assert checking.metadata(value) == pairs
    assert [each.severity for each in found] == severities
    assert {each.code for each in found} <= {"header-invalid"}


@pytest.mark.parametrize(
    ("second", "nbytes", "expected"),
    [
        ((4, 8), 8, []),
        ((3, 7), 7, [("tensor-overlap", "b")]),
        ((0, 4), 4, [("tensor-overlap", "b")]),
        ((5, 9), 9, [("tensor-hole", "b")]),
        ((4, 8), 9, [("file-trailing-bytes", None)]),
        ((4, 8), 7, [("file-truncated", None)]),
        ((4, 8), 0, [("file-truncated", None)]),
        ((5, 9), 8, [("tensor-hole", "b"), ("tensor-out-of-bounds", "b")]),
        ((I64 - 3, I64 + 1), 8, [("tensor-hole", "b"), ("tensor-out-of-bounds", "b")]),
    ],
)
def test_ranges_follow_one_another(
    second: tuple[int, int], nbytes: int, expected: list[tuple[str, str | None]]
) -> None:
    """Overlaps, gaps, and files that are too short or too long by one byte are distinguished."""
    assert codes({"a": fields(), "b": fields(*second)}, nbytes) == expected


def test_a_file_that_is_cut_off_keeps_what_is_there() -> None:
    """Tensors before the end are read, the others are counted in one finding."""
    root = {name: fields(4 * at, 4 * at + 4) for at, name in enumerate("abc")}
    tensors, (finding,) = check(root, 5)
    assert [each.name for each in tensors] == ["a"]
    assert finding.message == "the file ends at byte 105 of 112 and cuts off 2 tensors"
    assert finding.offset == 105


def test_trailing_bytes_leave_all_tensors_whole() -> None:
    """Such a file can be written again, and the way is said; with an unusable entry it is not."""
    tensors, (finding,) = check({"a": fields()}, 6)
    assert len(tensors) == 1
    assert (finding.whole, finding.offset) == (True, 104)
    assert "trailing data: 2 bytes" in finding.message
    assert "`accept_damage`" in finding.hint
    assert codes({"a": fields(), "b": 1}, 6) == [("header-invalid", "b")]


def test_no_gap_is_said_where_a_range_is_unknown() -> None:
    """The bytes in between may be those of the unusable tensor."""
    assert codes({"a": fields(), "b": fields(8, 12), "c": 1}, 12) == [("header-invalid", "c")]


@pytest.mark.parametrize(
    ("shape", "bits"),
    [((), 32), ((0, U64), 0), ((2**58,), 2**63), ((2**59,), None), ((2**32, 2**32, 0), None)],
)
def test_bits_that_64_bits_hold(shape: tuple[int, ...], bits: int | None) -> None:
    """A product that overflows on the way is refused, as upstream does, even if a 0 follows."""
    assert bits_of(DTYPES["F32"], shape) == bits


@pytest.mark.parametrize(
    ("here", "whole", "text"),
    [
        (1, 999, "1 of 999 bytes"),
        (500, 1_000, "0.5 of 1.0 KB"),
        (1, 10**6, "0.0 of 1.0 MB"),
        (1_234_000_000, 4_900_000_000, "1.2 of 4.9 GB"),
    ],
)
def test_amounts_are_in_one_unit(here: int, whole: int, text: str) -> None:
    """The unit is that of the whole file."""
    assert amounts(here, whole) == text
