"""The quick reader takes sound headers only, and reads them as the strict one does."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardctl.findings import Finding
from shardctl.formats.limits import MAX_DIMS
from shardctl.formats.safetensors.check import METADATA_KEY, HeaderCheck
from shardctl.formats.safetensors.findings import FileFindings
from shardctl.formats.safetensors.scan import scan
from shardctl.formats.strict_json import InvalidJsonError, parse_object
from shardctl.model import Extent, Root, Tree


def entry(
    begin: int = 0, end: int = 4, dtype: str = "F32", shape: str = "[1]", name: str = "a"
) -> str:
    """The entry of a tensor."""
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def scanned(header: str, nbytes: int = 4) -> tuple[Root, dict[str, str]] | None:
    """What is read of a header of a file whose tensors begin at byte 100."""
    return scan(header, "m", 100, 100 + nbytes)


def strict(header: str, nbytes: int) -> tuple[Root, dict[str, str]] | None:
    """What the strict reader reads; None where it finds anything."""
    found: list[Finding] = []
    check = HeaderCheck("m", 100, 100 + nbytes, FileFindings("m", found.append))
    try:
        root = parse_object(header)
    except InvalidJsonError:
        return None
    check.keys(root)
    metadata = check.metadata(root.pop(METADATA_KEY)) if METADATA_KEY in root else {}
    tensors: Tree = {tensor.name: tensor for tensor in check.tensors(root)}
    return None if found else (tensors, metadata)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_the_forms_of_both_writers_are_read(separators: tuple[str, str]) -> None:
    """What upstream writes, and what Python's `json` does, with metadata and padding."""
    root = {
        METADATA_KEY: {"format": "pt", 'a"b': ""},
        "x.y": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "ż": {"dtype": "F8_E4M3", "shape": [], "data_offsets": [24, 25]},
        "": {"dtype": "I64", "shape": [0], "data_offsets": [25, 25]},
    }
    header = json.dumps(root, separators=separators, ensure_ascii=False) + "  \n"
    found = scanned(header, 25)
    assert found is not None
    assert found == strict(header, 25)
    tree, metadata = found
    assert metadata == {"format": "pt", 'a"b': ""}
    extents = [tensor.storage.extent for tensor in tree.values()]  # type: ignore[union-attr]
    assert extents == [Extent("m", 100, 24), Extent("m", 124, 1), Extent("m", 125, 0)]


@pytest.mark.parametrize(
    ("header", "nbytes"),
    [
        ("", 0),
        ("[]", 0),
        ("{}", 1),
        ("{} x", 0),
        (" {}", 0),
        ("{" + entry() + "}", 3),
        ("{" + entry() + "}", 5),
        ("{" + entry() + "} }", 4),
        ("{" + entry() + "," + entry() + "}", 4),
        ("{" + entry() + "," + entry(4, 8) + "}", 8),
        ("{" + entry() + "," + entry(5, 9, name="b") + "}", 9),
        ("{" + entry() + "," + entry(3, 7, name="b") + "}", 7),
        ("{" + entry(1, 5) + "}", 5),
        ("{" + entry(0, 5) + "}", 5),
        ("{" + entry(dtype="F33") + "}", 4),
        ("{" + entry(dtype="f32") + "}", 4),
        ("{" + entry(shape="[01]") + "}", 4),
        ("{" + entry(shape="[-1]") + "}", 4),
        ("{" + entry(shape="[1.0]") + "}", 4),
        ("{" + entry(0, 1, "F4", "[1]") + "}", 1),
        ("{" + entry(shape="[" + "9" * 18 + ",100]") + "}", 4),
        ("{" + entry(name=METADATA_KEY) + "}", 4),
        ("{" + entry(name="a\\n") + "}", 4),
        ("{" + entry() + ",}", 4),
        (f'{{"{METADATA_KEY}":{{"a":1}},{entry()}}}', 4),
        (f'{{"{METADATA_KEY}":null,{entry()}}}', 4),
        (f'{{"{METADATA_KEY}":{{"a":"b","a":"c"}},{entry()}}}', 4),
        (f'{{"{METADATA_KEY}":{{"a":"\\ud800"}},{entry()}}}', 4),
        ("{" + entry().replace("}", ',"more":1}') + "}", 4),
    ],
)
def test_any_other_header_is_left_to_the_strict_reader(header: str, nbytes: int) -> None:
    """Where anything is odd nothing is read here, so that nothing sound is made of it."""
    assert scanned(header, nbytes) is None


@pytest.mark.parametrize(("dims", "read"), [(MAX_DIMS, True), (MAX_DIMS + 1, False)])
def test_shapes_of_so_many_dimensions_are_read(dims: int, *, read: bool) -> None:
    """The longest shape is read, and a longer one is not."""
    shape = "[" + ",".join(["1"] * dims) + "]"
    assert (scanned("{" + entry(shape=shape) + "}") is not None) is read


_PARTS = st.sampled_from(
    [
        "{", "}", ",", ", ", ":", entry(), entry(name="b"), entry(4, 8, name="c"),
        entry(0, 0, "U8", "[0]", "d"), f'"{METADATA_KEY}":{{"k":"v"}}', " ", "0", "[1]",
    ]
)  # fmt: skip


@given(st.lists(_PARTS, max_size=6), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_whatever_is_accepted_the_strict_reader_reads_alike(parts: list[str], nbytes: int) -> None:
    """No header is read here that the strict reader would refuse, or read as anything else."""
    for header in ("".join(parts), "{" + ",".join(parts) + "}"):
        found = scanned(header, nbytes)
        assert found is None or found == strict(header, nbytes)


TENSORS = 3_000  # a header of several pieces
NBYTES = 6


def long_header(tensors: int = TENSORS) -> str:
    """A header of so many tensors of two types."""
    entries = {
        f"layers.{number}.weight": {
            "dtype": ("F16", "U8")[number % 2],
            "shape": [3, 1] if number % 2 == 0 else [2, 3],
            "data_offsets": list(bounds),
        }
        for number, bounds in enumerate(pairwise(range(0, NBYTES * (tensors + 1), NBYTES)))
    }
    return json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":"))


def scanned_long(header: str) -> tuple[Root, dict[str, str]] | None:
    """What is read of a header of all these tensors."""
    return scanned(header, NBYTES * TENSORS)


def test_a_long_header_is_read_as_strictly() -> None:
    """A header of many pieces gives the tensors that the strict reader gives, in order."""
    found = scanned_long(long_header())
    assert found is not None
    tree, metadata = found
    assert metadata == {"format": "pt"}
    expected = strict(long_header(), NBYTES * TENSORS)
    assert expected is not None
    assert list(tree.items()) == list(expected[0].items())


@pytest.mark.parametrize("spaced", ["  ", " \n", "\t"])
def test_padding_is_accepted(spaced: str) -> None:
    """White space after the object is padding."""
    assert scanned_long(long_header() + spaced) is not None


def test_what_follows_an_object_that_ends_early_is_not_left_out() -> None:
    """No header is accepted of which the rest was not read, wherever its object ends."""
    header = long_header()
    pieces = header.split("},")
    for at in range(1, len(pieces), 29):
        assert scanned_long("},".join(pieces[:at]) + "}}," + "},".join(pieces[at:])) is None
    assert scanned_long(header + ',"x":1}') is None


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
    header = long_header()
    assert scanned_long(header.replace(old, new, 1)) is None
    before, _, after = header.rpartition(old)
    assert scanned_long(before + new + after) is None


def test_changed_headers_are_accepted_as_the_strict_reader_accepts_them() -> None:
    """Where a changed character leaves a header acceptable, the strict reader finds no fault."""
    random = Random(1)
    header = long_header(200)
    for _ in range(2_000):
        at = random.randrange(len(header))
        changed = header[:at] + random.choice('{}[]",: 0129aU\\') + header[at + 1 :]
        found = scanned(changed, NBYTES * 200)
        if found is not None:
            expected = strict(changed, NBYTES * 200)
            assert expected is not None
            assert list(found[0].items()) == list(expected[0].items())
