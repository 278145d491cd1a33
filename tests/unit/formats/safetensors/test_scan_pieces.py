"""The quick reader of safetensors headers accepts what the strict one does, and nothing else."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest

from shardctl.findings import Finding
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.formats.safetensors.scan import scan
from shardctl.model import Tensor, Tree
from shardctl.testing.builders import BytesReader
from tests.support.safetensors_files import framed

_TENSORS = 3_000  # a header of several pieces
_NBYTES = 6


def _header(tensors: int = _TENSORS) -> str:
    entries = {
        f"layers.{number}.weight": {
            "dtype": ("F16", "U8")[number % 2],
            "shape": [3, 1] if number % 2 == 0 else [2, 3],
            "data_offsets": list(bounds),
        }
        for number, bounds in enumerate(pairwise(range(0, _NBYTES * (tensors + 1), _NBYTES)))
    }
    return json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":"))


def _scan(header: str, tensors: int = _TENSORS) -> tuple[Tree, dict[str, str]] | None:
    data_offset = 8 + len(header.encode())
    return scan(header, "f", data_offset, data_offset + _NBYTES * tensors)


def _strict(header: str, tensors: int = _TENSORS) -> tuple[Tree, list[Finding]]:
    """Return the tensors, and errors, of a header in the strict reader.

    A leading space, which is a warning, keeps the quick one from it.
    """
    findings: list[Finding] = []
    data = framed(" " + header, bytes(_NBYTES * tensors))
    file = SafetensorsReader().read(BytesReader("f", data), findings.append)
    errors = [finding for finding in findings if finding.severity == "error"]
    return ({} if file is None else file.tree), errors


def _described(tree: Tree, shift: int) -> list[tuple[object, ...]]:
    return [
        (name, value.name, value.dtype, value.shape, value.span.offset + shift, value.span.length)
        for name, value in tree.items()
        if isinstance(value, Tensor)
    ]


def test_a_long_header_is_read_as_strictly() -> None:
    """A header of many pieces gives the tensors that the strict reader gives, in order."""
    found = _scan(_header())
    assert found is not None
    tree, metadata = found
    assert metadata == {"format": "pt"}
    strict, _ = _strict(_header())
    # The strict reader's header is a byte longer.
    assert _described(tree, 1) == _described(strict, 0)


@pytest.mark.parametrize("spaced", ["  ", " \n", "\t"])
def test_padding_is_accepted(spaced: str) -> None:
    """White space after the object is padding."""
    assert _scan(_header() + spaced) is not None


def test_what_follows_an_object_that_ends_early_is_not_left_out() -> None:
    """No header is accepted of which the rest was not read, wherever its object ends."""
    header = _header()
    pieces = header.split("},")
    for at in range(1, len(pieces), 29):
        assert _scan("},".join(pieces[:at]) + "}}," + "},".join(pieces[at:])) is None
    assert _scan(header + ',"x":1}') is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"layers.1.weight"', '"layers.0.weight"'),
        ('"layers.2999.weight"', '"layers.0.weight"'),
        ('"layers.2999.weight"', '"__metadata__"'),
        ('"layers.2999.weight"', '"\\u0041"'),
        ("[17982,17988]", "[017982,17988]"),
        ("[17982,17988]", "[17982,17989]"),
        ("[17982,17988]", "[17983,17988]"),
        ("[17982,17988]", "[17982,+17988]"),
        ("[3,1]", "[03,1]"),
        ("[3,1]", "[3,,1]"),
        ("[3,1]", "[3,1,]"),
        ("[3,1]", "[ 3,1]"),
        ('"U8"', '"u8"'),
        ('"U8"', '"U9"'),
        ("},", "} ,"),
        ("},", "},,"),
        ("}}", "},}"),
        ("}}", "}"),
        ("}}", "}}}"),
    ],
)
def test_any_other_form_is_left_to_the_strict_reader(old: str, new: str) -> None:
    """A header in which one thing is otherwise, first or last of its kind, is not accepted."""
    header = _header()
    assert _scan(header.replace(old, new, 1)) is None
    before, _, after = header.rpartition(old)
    assert _scan(before + new + after) is None


def test_changed_headers_are_accepted_as_the_strict_reader_accepts_them() -> None:
    """Where a changed character leaves a header acceptable, the strict reader finds no fault."""
    random = Random(1)
    header = _header(200)
    for _ in range(2_000):
        at = random.randrange(len(header))
        changed = header[:at] + random.choice('{}[]",: 0129aU\\') + header[at + 1 :]
        found = _scan(changed, 200)
        if found is not None:
            strict, errors = _strict(changed, 200)
            assert not errors
            assert list(found[0]) == list(strict)
