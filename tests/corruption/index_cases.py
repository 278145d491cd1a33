"""The corpus of broken and odd index files: one case for each rule, made on demand."""

from __future__ import annotations

import json

from tests.corruption.cases import Case

SHARD = "model-00001-of-00001.safetensors"
_SUFFIX = ".safetensors.index.json"


def document(weight_map: object, metadata: object = None) -> bytes:
    """An index of these parts; metadata is `{"total_size": 4}` unless given."""
    return json.dumps(
        {"metadata": {"total_size": 4} if metadata is None else metadata, "weight_map": weight_map}
    ).encode()


def _case(name: str, data: bytes, code: str | None, severity: str = "error") -> Case:
    return Case(name, _SUFFIX, lambda: data, code, severity)


def _with_metadata(value: str) -> bytes:
    """A sound index whose metadata has one entry more, of that JSON."""
    return document({"a": SHARD}, {"total_size": 4, "x": 0}).replace(
        b'"x": 0', b'"x": %s' % value.encode()
    )


_SOUND = document({"a": SHARD})
_TEXT = _SOUND.decode()

_FILES = [
    _case("sound", _SOUND, None),
    _case("sound, with a shard in a directory", document({"a": f"sub/{SHARD}"}), None),
    _case("sound, with a shard in the same directory", document({"a": f"./{SHARD}"}), None),
    _case(
        "a shard named as on Windows", document({"a": f"sub\\{SHARD}"}), "index-invalid", "warning"
    ),
    _case(
        "a weight map and nothing else",
        json.dumps({"a": SHARD}).encode(),
        "index-metadata-missing",
        "warning",
    ),
    _case("sound, with unknown keys", _SOUND[:-1] + b', "more": [1]}', None),
    _case("sound, with any name for a tensor", document({"../x\n[red]": SHARD}), None),
    _case(
        "sound, with brackets and commas in names",
        document({f"{i}{{[,:" * 5: SHARD for i in range(2000)}),
        None,
    ),
    _case("many empty objects", _with_metadata(f"[{','.join(['{}'] * 10_000)}]"), "index-invalid"),
    _case("many empty lists", _with_metadata(f"[{','.join(['[]'] * 10_000)}]"), "index-invalid"),
    _case("many numbers", _with_metadata(f"[{','.join('1' * 10_000)}]"), "index-invalid"),
    _case("metadata of 125 levels", _with_metadata("[" * 124 + "]" * 124), None),
    _case("metadata of 126 levels", _with_metadata("[" * 125 + "]" * 125), "index-invalid"),
    _case("empty", b"", "file-empty"),
    _case("zeros", bytes(64), "file-zero-filled"),
    _case(
        "a pointer of Git LFS",
        b"version https://git-lfs.github.com/spec/v1\nsize 5\n",
        "file-lfs-pointer",
    ),
    _case("a web page", b"<!DOCTYPE html><html>404</html>", "file-html-page"),
    Case("over 256 MiB", _SUFFIX, lambda: bytes(256 * 1024 * 1024 + 1), "index-invalid"),
]

_JSON = [
    _case("not UTF-8", _SOUND.replace(b'"a"', b'"\xff"'), "index-invalid"),
    _case("UTF-16", _TEXT.encode("utf-16"), "index-invalid"),
    _case("byte order mark", b"\xef\xbb\xbf" + _SOUND, "index-invalid"),
    _case("truncated", _SOUND[:-5], "index-invalid"),
    _case("two documents", _SOUND + _SOUND, "index-invalid"),
    _case("trailing comma", _SOUND[:-1] + b",}", "index-invalid"),
    _case("NUL padding", _SOUND + b"\0\0", "index-invalid"),
    _case("NaN", _SOUND.replace(b"4", b"NaN", 1), "index-invalid"),
    _case("infinity", _SOUND.replace(b"4", b"-Infinity", 1), "index-invalid"),
    _case("a number that becomes infinite", _SOUND.replace(b"4", b"1e999", 1), "index-invalid"),
    _case("a number of 10,000 digits", _SOUND.replace(b"4", b"1" * 10_000, 1), "index-invalid"),
    _case("deep nesting", b"[" * 200_000, "index-invalid"),
    _case("deep nesting in metadata", _SOUND.replace(b"4", b'{"a":' * 100_000, 1), "index-invalid"),
    _case("a list", b"[]", "index-invalid"),
    _case("null", b"null", "index-invalid"),
    _case("a configuration", b'{"metadata": {}, "architectures": ["Bert"]}', "index-invalid"),
]

_PARTS = [
    _case(
        "no metadata",
        b'{"weight_map": {"a": "x.safetensors"}}',
        "index-metadata-missing",
        "warning",
    ),
    _case("metadata is a list", document({"a": SHARD}, []), "index-invalid"),
    _case("weight_map is a list", document([]), "index-invalid"),
    _case("weight_map is null", document(None), "index-invalid"),
    _case("weight_map is empty", document({}), "index-invalid"),
    _case("a shard that is a number", document({"a": 1}), "index-invalid"),
    _case("a shard that is null", document({"a": None, "b": SHARD}), "index-invalid"),
    _case("a shard that is a list", document({"a": [SHARD]}), "index-invalid"),
    _case(
        "a tensor twice",
        _SOUND.replace(b'"a":', b'"a": "x.safetensors", "a":'),
        "index-duplicate-key",
    ),
    _case(
        "a tensor twice, once escaped",
        _SOUND.replace(b'"a":', b'"\\u0061": "x.safetensors", "a":'),
        "index-duplicate-key",
    ),
    _case(
        "weight_map twice",
        _SOUND[:-1] + b', "weight_map": {"a": "x.safetensors"}}',
        "index-duplicate-key",
    ),
    _case(
        "total_size twice",
        _SOUND.replace(b'"total_size"', b'"total_size": 1, "total_size"'),
        "index-duplicate-key",
    ),
]

_UNSAFE_NAMES = {
    "parent directory": "../model.safetensors",
    "parent directory within": "a/../../model.safetensors",
    "absolute": "/etc/model.safetensors",
    "drive": "C:model.safetensors",
    "backslash": "..\\model.safetensors",
    "NUL": "model\0.safetensors",
    "empty": "",
    "empty part": "a//model.safetensors",
    "same directory, and its parent": "./../model.safetensors",
    "half a surrogate pair": "\ud800.safetensors",
    "too long": "a" * 300 + ".safetensors",
    "a torch file": "pytorch_model-00001-of-00001.bin",
    "no suffix": "model",
}

CASES = [
    *_FILES,
    *_JSON,
    *_PARTS,
    *(
        _case(f"shard's name: {why}", document({"a": name}), "shard-name-unsafe")
        for why, name in _UNSAFE_NAMES.items()
    ),
]
