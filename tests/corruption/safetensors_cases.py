"""The corpus of broken and odd safetensors files: one case for each rule, made on demand.

Run as a program, it writes them to a directory:
`python -m tests.corruption.safetensors_cases DIRECTORY`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.corruption.cases import Case
from tests.support.safetensors_files import framed

_U64 = 2**64 - 1


def entry(
    dtype: str, shape: object, begin: object, end: object, **more: object
) -> dict[str, object]:
    """A tensor's fields."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def tensors(data: int, **entries: object) -> bytes:
    """A file of these entries (`meta` becomes `__metadata__`) and that many data bytes."""
    root = {"__metadata__" if name == "meta" else name: fields for name, fields in entries.items()}
    return framed(json.dumps(root), bytes(data))


_A = '"dtype":"F32","shape":[1],"data_offsets":[0,4]'
_ONE = f'{{"a":{{{_A}}}}}'
_SOUND = entry("F32", [1], 0, 4)
_LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def _without(field: str) -> bytes:
    return tensors(4, a={key: value for key, value in _SOUND.items() if key != field})


def _with(**fields: object) -> bytes:
    return tensors(4, a={**_SOUND, **fields})


def _with_text(value: str) -> bytes:
    """A file whose tensor has a field more, of that JSON."""
    return framed(f'{{"a":{{{_A},"x":{value}}}}}', bytes(4))


def _cases() -> list[Case]:
    cases: list[Case] = []

    def add(
        name: str, code: str | None, make: Callable[[], bytes], severity: str = "error"
    ) -> None:
        cases.append(Case(name, ".safetensors", make, code, severity))

    _add_files(add)
    _add_json(add)
    _add_keys(add)
    _add_metadata(add)
    _add_fields(add)
    _add_sizes(add)
    _add_ranges(add)
    _add_sound(add)
    return cases


_Add = Callable[..., None]


def _add_files(add: _Add) -> None:
    """Faults of the whole file."""
    add("empty file", "file-empty", lambda: b"")
    add("one byte", "file-truncated", lambda: b"\x08")
    add("seven bytes", "file-truncated", lambda: b"\x08" + bytes(6))
    add("ends after the length", "file-truncated", lambda: (64).to_bytes(8, "little"))
    add("ends within the header", "file-truncated", lambda: framed(_ONE)[:30])
    add("ends one byte before the header does", "file-truncated", lambda: framed(_ONE)[:-1])
    add("ends at the header", "file-truncated", lambda: framed(_ONE))
    add("ends within the data", "file-truncated", lambda: framed(_ONE, b"123"))
    add(
        "ends before the last of two tensors",
        "file-truncated",
        lambda: tensors(4, a=_SOUND, b=entry("U8", [8], 4, 12)),
    )
    add("trailing byte", "file-trailing-bytes", lambda: framed(_ONE, b"12345"))
    add("trailing zip", "file-trailing-bytes", lambda: framed(_ONE, b"1234PK\x05\x06" + bytes(18)))
    add("data without tensors", "file-trailing-bytes", lambda: framed("{}", b"1"))
    add("zeros", "file-zero-filled", lambda: bytes(4096))
    add("eight zeros", "file-zero-filled", lambda: bytes(8))
    add("length 0 before an object", "header-invalid", lambda: framed(_ONE, b"1234", length=0))
    add("length 1", "header-invalid", lambda: framed("{"))
    add(
        "length one over the limit",
        "header-too-large",
        lambda: framed(_ONE, b"1234", length=100_000_001),
    )
    add("length of 2^63", "header-too-large", lambda: framed(_ONE, b"1234", length=2**63))
    add("length of 2^64 - 1", "header-too-large", lambda: framed(_ONE, b"1234", length=_U64))
    add("length past the end", "file-truncated", lambda: framed(_ONE, b"1234", length=1000))
    add("length at the limit", "file-truncated", lambda: framed(_ONE, b"1234", length=100_000_000))
    add("length too short", "header-invalid", lambda: framed(_ONE, b"1234", length=20))
    add(
        "length that takes in data",
        "header-invalid",
        lambda: framed(_ONE, b"1234", length=len(_ONE) + 2),
    )
    add("git lfs pointer", "header-too-large", lambda: _LFS)
    add("html page", "header-too-large", lambda: b"<!DOCTYPE html><html><body>404</body></html>")


def _add_json(add: _Add) -> None:
    """Headers that are not one JSON object in UTF-8."""
    add(
        "bad utf-8",
        "header-invalid",
        lambda: framed(_ONE.encode().replace(b'"a"', b'"\xff"'), bytes(4)),
    )
    add(
        "overlong utf-8",
        "header-invalid",
        lambda: framed(_ONE.encode().replace(b'"a"', b'"\xc0\xaf"'), bytes(4)),
    )
    add(
        "surrogate in utf-8",
        "header-invalid",
        lambda: framed(_ONE.encode().replace(b'"a"', b'"\xed\xa0\x80"'), bytes(4)),
    )
    add("utf-16", "header-invalid", lambda: framed(_ONE.encode("utf-16"), bytes(4)))
    add("byte order mark", "header-invalid", lambda: framed("\ufeff" + _ONE, bytes(4)))
    add("NUL padding", "header-invalid", lambda: framed(_ONE + "\0\0", bytes(4)))
    add("two documents", "header-invalid", lambda: framed(_ONE + _ONE, bytes(4)))
    add("trailing comma", "header-invalid", lambda: framed(_ONE[:-1] + ",}", bytes(4)))
    add("comment", "header-invalid", lambda: framed("/**/" + _ONE, bytes(4)))
    add("single quotes", "header-invalid", lambda: framed(_ONE.replace('"', "'"), bytes(4)))
    add("unclosed object", "header-invalid", lambda: framed(_ONE[:-1], bytes(4)))
    add("only spaces", "header-invalid", lambda: framed(" " * 16))
    add(
        "raw control character",
        "header-invalid",
        lambda: framed(_ONE.replace('"a"', '"a\x01"'), bytes(4)),
    )
    add("bad escape", "header-invalid", lambda: framed(_ONE.replace('"a"', r'"\x61"'), bytes(4)))
    add("root is a list", "header-invalid", lambda: framed(f"[{_ONE}]", bytes(4)))
    add("root is a string", "header-invalid", lambda: framed('"a"'))
    add("root is null", "header-invalid", lambda: framed("null"))
    add("root is a number", "header-invalid", lambda: framed("12"))
    add("NaN", "header-invalid", lambda: framed(_ONE.replace("[1]", "[NaN]"), bytes(4)))
    add("Infinity", "header-invalid", lambda: framed(_ONE.replace("[1]", "[Infinity]"), bytes(4)))
    add("-Infinity", "header-invalid", lambda: framed(_ONE.replace("[1]", "[-Infinity]"), bytes(4)))
    add(
        "minus zero in a field that nothing reads",
        "header-invalid",
        lambda: framed(_ONE.replace("[0,4]", '[0,4],"x":-0'), bytes(4)),
        "warning",
    )
    add("minus zero", "header-invalid", lambda: framed(_ONE.replace("[0,4]", "[-0,4]"), bytes(4)))
    add("leading zero", "header-invalid", lambda: framed(_ONE.replace("[0,4]", "[00,4]"), bytes(4)))
    add(
        "number of 5000 digits",
        "header-invalid",
        lambda: framed(_ONE.replace("[1]", f"[{'9' * 5000}]"), bytes(4)),
    )
    add("deep lists", "header-invalid", lambda: framed("[" * 100_000))
    add("deep objects", "header-invalid", lambda: framed('{"a":' * 100_000))
    add(
        "deep shape",
        "header-invalid",
        lambda: framed(_ONE.replace("[1]", "[" * 50_000 + "]" * 50_000), bytes(4)),
    )
    add(
        "half a surrogate pair in a name",
        "header-invalid",
        lambda: framed(_ONE.replace('"a"', r'"\ud800"'), bytes(4)),
    )
    add(
        "low half of a pair in a name",
        "header-invalid",
        lambda: framed(_ONE.replace('"a"', r'"\uDC00x"'), bytes(4)),
    )
    add(
        "half a surrogate pair in metadata",
        "header-invalid",
        lambda: framed(r'{"__metadata__":{"k":"\udbff"}}'),
    )
    add("leading spaces", "header-invalid", lambda: framed("   " + _ONE, bytes(4)), "warning")
    add("leading line feed", "header-invalid", lambda: framed("\n" + _ONE, bytes(4)), "warning")


def _add_keys(add: _Add) -> None:
    """Keys that stand twice."""
    escaped = r'"\u0061"'
    add(
        "tensor twice",
        "tensor-duplicate-key",
        lambda: framed(f'{{"a":{{{_A}}},"a":{{{_A}}}}}', bytes(4)),
    )
    add(
        "tensor twice, escaped",
        "tensor-duplicate-key",
        lambda: framed(f'{{"a":{{{_A}}},{escaped}:{{{_A}}}}}', bytes(4)),
    )
    add(
        "tensor three times",
        "tensor-duplicate-key",
        lambda: framed("{" + f'"a":{{{_A}}},' * 2 + f'"a":{{{_A}}}}}', bytes(4)),
    )
    add(
        "dtype twice",
        "tensor-duplicate-key",
        lambda: framed(f'{{"a":{{"dtype":"I32",{_A}}}}}', bytes(4)),
    )
    add(
        "shape twice, equal",
        "tensor-duplicate-key",
        lambda: framed(f'{{"a":{{"shape":[1],{_A}}}}}', bytes(4)),
    )
    add(
        "offsets twice",
        "tensor-duplicate-key",
        lambda: framed(f'{{"a":{{"data_offsets":[0,8],{_A}}}}}', bytes(4)),
    )
    add(
        "field twice, escaped",
        "tensor-duplicate-key",
        lambda: framed(f'{{"a":{{"dt\\u0079pe":"I32",{_A}}}}}', bytes(4)),
    )
    add(
        "metadata twice",
        "tensor-duplicate-key",
        lambda: framed('{"__metadata__":{},"__metadata__":{}}'),
    )
    add(
        "metadata key twice",
        "tensor-duplicate-key",
        lambda: framed('{"__metadata__":{"k":"1","k":"2"}}'),
    )
    add(
        "metadata key twice, before a sound tensor",
        "tensor-duplicate-key",
        lambda: framed(f'{{"__metadata__":{{"k":"1","k":"2"}},"a":{{{_A}}}}}', bytes(4)),
    )
    add(
        "metadata key twice, escaped",
        "tensor-duplicate-key",
        lambda: framed(r'{"__metadata__":{"a":"1","\u0061":"1"}}'),
    )
    add(
        "key twice in an unknown field",
        "tensor-duplicate-key",
        lambda: framed(f'{{"a":{{{_A},"x":[{{"y":1,"y":2}}]}}}}', bytes(4)),
    )


def _add_metadata(add: _Add) -> None:
    """What `__metadata__` may be."""
    add("metadata value is a number", "header-invalid", lambda: tensors(0, meta={"k": 1}))
    add("metadata value is null", "header-invalid", lambda: tensors(0, meta={"k": None}))
    add("metadata value is an object", "header-invalid", lambda: tensors(0, meta={"k": {"a": "b"}}))
    for name, value in (("number", 1), ("null", None), ("list", []), ("object", {"a": "b"})):
        add(
            f"metadata value is a {name}, before a sound tensor",
            "header-invalid",
            lambda value=value: tensors(4, meta={"format": "pt", "k": value}, a=_SOUND),
        )
    add("metadata is a list", "header-invalid", lambda: tensors(0, meta=[]))
    add("metadata is a string", "header-invalid", lambda: tensors(0, meta="pt"))
    add("metadata is a tensor", "header-invalid", lambda: tensors(4, meta=_SOUND))
    add("metadata is null", "header-invalid", lambda: tensors(0, meta=None), "warning")


def _add_fields(add: _Add) -> None:
    """Each field of a tensor: there, and of its type."""
    add("no dtype", "header-invalid", lambda: _without("dtype"))
    add("no shape", "header-invalid", lambda: _without("shape"))
    add("no data_offsets", "header-invalid", lambda: _without("data_offsets"))
    add("entry is null", "header-invalid", lambda: tensors(0, a=None))
    add("entry is a list", "header-invalid", lambda: tensors(0, a=["F32", [1], [0, 4]]))
    add("entry is empty", "header-invalid", lambda: tensors(0, a={}))
    add("unknown dtype", "tensor-dtype-unknown", lambda: _with(dtype="F33"))
    add("lower-case dtype", "tensor-dtype-unknown", lambda: _with(dtype="f32"))
    add(
        "dtype of torch only",
        "tensor-dtype-unknown",
        lambda: tensors(16, a=entry("complex128", [1], 0, 16)),
    )
    add("dtype is null", "header-invalid", lambda: _with(dtype=None))
    add("dtype is a list", "header-invalid", lambda: _with(dtype=["F32"]))
    add("shape is null", "header-invalid", lambda: _with(shape=None))
    add("shape is a number", "header-invalid", lambda: _with(shape=1))
    add("shape is an object", "header-invalid", lambda: _with(shape={"0": 1}))
    add("negative dimension", "header-invalid", lambda: _with(shape=[-1]))
    add("two negative dimensions", "header-invalid", lambda: _with(shape=[-1, -1]))
    add("float dimension", "header-invalid", lambda: _with(shape=[1.0]))
    add(
        "exponent in a dimension",
        "header-invalid",
        lambda: framed(_ONE.replace("[1]", "[1e0]"), bytes(4)),
    )
    add("boolean dimension", "header-invalid", lambda: _with(shape=[True]))
    add("string dimension", "header-invalid", lambda: _with(shape=["1"]))
    add("null dimension", "header-invalid", lambda: _with(shape=[None]))
    add("nested dimension", "header-invalid", lambda: _with(shape=[[1]]))
    add("dimension of 2^64", "header-invalid", lambda: _with(shape=[2**64]))
    add("offsets are null", "header-invalid", lambda: _with(data_offsets=None))
    add("no offset", "header-invalid", lambda: _with(data_offsets=[]))
    add("one offset", "header-invalid", lambda: _with(data_offsets=[4]))
    add("three offsets", "header-invalid", lambda: _with(data_offsets=[0, 2, 4]))
    add("negative offset", "header-invalid", lambda: _with(data_offsets=[-4, 0]))
    add("float offset", "header-invalid", lambda: _with(data_offsets=[0, 4.0]))
    add("boolean offset", "header-invalid", lambda: _with(data_offsets=[False, 4]))
    add("string offset", "header-invalid", lambda: _with(data_offsets=["0", "4"]))
    add("offset of 2^64", "header-invalid", lambda: _with(data_offsets=[0, 2**64]))
    add("begin after end", "header-invalid", lambda: _with(data_offsets=[4, 0]))
    add("65 dimensions", "header-invalid", lambda: tensors(1, a=entry("U8", [1] * 65, 0, 1)))
    add(
        "65 dimensions after 64",
        "header-invalid",
        lambda: tensors(2, a=entry("U8", [1] * 64, 0, 1), b=entry("U8", [1] * 65, 1, 2)),
    )
    add("unknown field", "header-invalid", lambda: _with(strides=[1]), "warning")
    for depth, severity in ((125, "warning"), (126, "error")):
        add(
            f"unknown field of {depth} levels",
            "header-invalid",
            lambda depth=depth: _with_text("[" * depth + "]" * depth),
            severity,
        )
    for number, severity in (("1" * 308, "warning"), ("1" * 310, "error"), ("1e999", "error")):
        add(
            f"unknown field with a number {number[:3]}… of {len(number)} characters",
            "header-invalid",
            lambda number=number: _with_text(f'[{{"x":-{number}}}]'),
            severity,
        )
    for name, value in (("objects", "{}"), ("lists", "[]"), ("numbers", "1"), ("pairs", '{"":1}')):
        add(
            f"unknown field with many {name}",
            "header-invalid",
            lambda value=value: _with_text(f"[{','.join([value] * 10_000)}]"),
        )
    add(
        "unknown field with a long text of brackets",
        "header-invalid",
        lambda: _with_text('"' + r"\"{,:[\\" * 10_000 + '"'),
        "warning",
    )


def _add_sizes(add: _Add) -> None:
    """The range has the bytes of the elements."""
    add("range too long", "tensor-size-mismatch", lambda: tensors(8, a=entry("F32", [1], 0, 8)))
    add("range too short", "tensor-size-mismatch", lambda: tensors(2, a=entry("F32", [1], 0, 2)))
    add(
        "empty range of a scalar",
        "tensor-size-mismatch",
        lambda: tensors(0, a=entry("F32", [], 0, 0)),
    )
    add(
        "bytes of an empty tensor",
        "tensor-size-mismatch",
        lambda: tensors(4, a=entry("F32", [0], 0, 4)),
    )
    add(
        "elements overflow",
        "tensor-size-mismatch",
        lambda: tensors(0, a=entry("U8", [2**32, 2**32], 0, 0)),
    )
    add(
        "elements wrap around to 4",
        "tensor-size-mismatch",
        lambda: tensors(4, a=entry("U8", [2**62 + 1, 4], 0, 4)),
    )
    add("bytes overflow", "tensor-size-mismatch", lambda: tensors(0, a=entry("F64", [2**61], 0, 0)))
    add(
        "overflow before a zero",
        "tensor-size-mismatch",
        lambda: tensors(0, a=entry("U8", [_U64, 2, 0], 0, 0)),
    )
    add(
        "many dimensions",
        "header-invalid",
        lambda: tensors(1, a=entry("U8", [_U64] * 50_000, 0, 1)),
    )
    add("three F4", "tensor-size-mismatch", lambda: tensors(2, a=entry("F4", [3], 0, 2)))
    add(
        "three F4, rounded down",
        "tensor-size-mismatch",
        lambda: tensors(1, a=entry("F4", [3], 0, 1)),
    )
    add("scalar F4", "tensor-size-mismatch", lambda: tensors(1, a=entry("F4", [], 0, 1)))
    add("two F6", "tensor-size-mismatch", lambda: tensors(2, a=entry("F6_E2M3", [2], 0, 2)))


def _add_ranges(add: _Add) -> None:
    """The ranges cover the data, each byte once."""
    byte = ("U8", [4])
    add("overlap", "tensor-overlap", lambda: tensors(6, a=entry(*byte, 0, 4), b=entry(*byte, 2, 6)))
    add(
        "same range twice",
        "tensor-overlap",
        lambda: tensors(4, a=entry(*byte, 0, 4), b=entry(*byte, 0, 4)),
    )
    add(
        "one within another",
        "tensor-overlap",
        lambda: tensors(8, a=entry("U8", [8], 0, 8), b=entry(*byte, 2, 6)),
    )
    add(
        "empty tensor within another",
        "tensor-overlap",
        lambda: tensors(4, a=entry(*byte, 0, 4), b=entry("U8", [0], 2, 2)),
    )
    add("hole", "tensor-hole", lambda: tensors(12, a=entry(*byte, 0, 4), b=entry(*byte, 8, 12)))
    add("data does not start at 0", "tensor-hole", lambda: tensors(8, a=entry(*byte, 4, 8)))
    add("empty tensor not at 0", "tensor-hole", lambda: tensors(4, a=entry("U8", [0], 4, 4)))
    add(
        "past the end after a hole",
        "tensor-out-of-bounds",
        lambda: tensors(4, a=entry(*byte, 0, 4), b=entry(*byte, 90, 94)),
    )
    add(
        "past the end, wrong size",
        "tensor-out-of-bounds",
        lambda: tensors(4, a=entry(*byte, 0, 400)),
    )
    add(
        "end past any file",
        "tensor-out-of-bounds",
        lambda: tensors(4, a=entry("U8", [_U64], 0, _U64)),
    )
    add(
        "empty tensor far outside",
        "tensor-out-of-bounds",
        lambda: tensors(4, a=entry(*byte, 0, 4), b=entry("U8", [0], 64, 64)),
    )


def _add_sound(add: _Add) -> None:
    """Odd, and sound: upstream reads them too."""
    add("one tensor", None, lambda: framed(_ONE, bytes(4)))
    add("no tensors", None, lambda: framed("{}"))
    add("metadata only", None, lambda: tensors(0, meta={"format": "pt"}))
    add("empty metadata", None, lambda: tensors(4, meta={}, a=_SOUND))
    add("metadata last", None, lambda: tensors(4, a=_SOUND, meta={"format": "pt"}))
    add("unaligned header", None, lambda: framed(_ONE.replace('"a"', '"abc"'), bytes(4)))
    add("trailing spaces", None, lambda: framed(_ONE + " " * 7, bytes(4)))
    add("a block of trailing spaces", None, lambda: framed(_ONE + " " * 8192, bytes(4)))
    add("spaces within", None, lambda: framed(json.dumps(json.loads(_ONE), indent=2), bytes(4)))
    add("scalar", None, lambda: tensors(4, a=entry("F32", [], 0, 4)))
    add("empty tensor", None, lambda: tensors(0, a=entry("F32", [0], 0, 0)))
    add("empty tensor, huge dimension", None, lambda: tensors(0, a=entry("U8", [0, _U64, 2], 0, 0)))
    add(
        "empty tensor between others",
        None,
        lambda: tensors(8, a=_SOUND, b=entry("F32", [0], 4, 4), c=entry("F32", [1], 4, 8)),
    )
    add("header not in data order", None, lambda: tensors(8, a=entry("F32", [1], 4, 8), b=_SOUND))
    add(
        "fields in another order",
        None,
        lambda: framed('{"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}', bytes(4)),
    )
    add(
        "unaligned tensor",
        None,
        lambda: tensors(5, a=entry("U8", [1], 0, 1), b=entry("F32", [1], 1, 5)),
    )
    add("two F4", None, lambda: tensors(1, a=entry("F4", [2], 0, 1)))
    add("four F6", None, lambda: tensors(3, a=entry("F6_E3M2", [4], 0, 3)))
    add("name is empty", None, lambda: framed(_ONE.replace('"a"', '""'), bytes(4)))
    add("name is a path", None, lambda: framed(_ONE.replace('"a"', '"../../etc/passwd"'), bytes(4)))
    add("name in markup", None, lambda: framed(_ONE.replace('"a"', '"[bold]a[/bold]"'), bytes(4)))
    add(
        "name with control characters",
        None,
        lambda: framed(_ONE.replace('"a"', r'"\u001b[2J\n\u0000"'), bytes(4)),
    )
    add(
        "name beyond the basic plane",
        None,
        lambda: framed(_ONE.replace('"a"', r'"\ud83d\ude00"'), bytes(4)),
    )
    add("name with -0", None, lambda: framed(_ONE.replace('"a"', '"layer-0"'), bytes(4)))
    add("name is a field's", None, lambda: framed(_ONE.replace('"a"', '"dtype"'), bytes(4)))


CASES = _cases()


def main(directory: str) -> None:
    """Write every case into a directory, named after the case."""
    for case in CASES:
        path = Path(directory) / (case.name.replace(" ", "-").replace(",", "") + case.suffix)
        path.write_bytes(case.make())


if __name__ == "__main__":
    main(sys.argv[1])
