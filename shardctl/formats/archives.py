"""Say what an archive of files holds (tar, also in gzip; zip), by the names of its members.

Nothing is unpacked. Only names near the beginning of a tar and the end of a zip are read. Sources:
POSIX.1-2017, "ustar Interchange Format"; PKWARE's APPNOTE 6.3.10.
"""

from __future__ import annotations

import shlex
import struct
import zlib
from collections.abc import Iterator, Sequence

from shardctl.formats.foreign import Kind
from shardctl.stores.base import Reader
from shardctl.text import escape

_BLOCK = 512
_MOST_MEMBERS, _SHOWN = 100, 3
#: Bytes of a zip's directory that are read, and of its end, in which the last record is.
_DIRECTORY_BYTES, _END_BYTES = 64 * 1024, 64 * 1024
#: Bytes of a compressed tar that are read, and that are unpacked of them.
_PACKED_BYTES, _UNPACKED_BYTES = 64 * 1024, 1024 * 1024
#: An entry's fields: only the lengths of its name, extra field and comment are needed.
_CENTRAL = struct.Struct("<28xHHH12x")
#: How the names of weights end, of whatever format.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".onnx")
_LEGACY_TORCH = {"sys_info", "pickle", "storages", "tensors"}
_UNPACK_TAR, _UNPACK_ZIP = "tar -xf {} -C unpacked", "unzip {} -d unpacked"


def archive_kind(reader: Reader, head: bytes) -> Kind | None:
    """Return what an archive is, by its members; None for what is not one, or has no known names.

    `head` is the beginning of the file.
    """
    if head[257:262] == b"ustar":
        return _tar_kind(reader.path, list(_tar_members(reader)))
    if head.startswith(b"\x1f\x8b"):
        names = _names_in_gzip(reader)
        return _tar_kind(reader.path, names) if names else None
    if head.startswith(b"PK\x03\x04"):
        return zip_kind(reader)
    return None


def zip_kind(reader: Reader) -> Kind | None:
    """Return what a zip is that torch did not write; None where it may be one of torch's."""
    names = _zip_members(reader)
    plain = [name for name in names if not name.endswith("/")]
    if not plain or any(name.endswith("/data.pkl") for name in plain):
        return None
    if all(name.endswith(".npy") for name in plain):
        hint = "save it again: `safetensors.numpy.save_file(dict(numpy.load(path)), new)`"
        return Kind("a NumPy archive (.npz)", "NumPy archives", hint)
    if "model.weights.h5" in plain:
        hint = "load it with Keras, and save its weights as safetensors"
        return Kind("a Keras model", "Keras models", hint)
    if any(name.rpartition("/")[2] in ("archive_format", "extern_modules") for name in plain):
        hint = "in the program that made it, save `module.state_dict()`"
        return Kind("an exported program of torch (.pt2)", "exported programs of torch", hint)
    return _holding("zip archive", reader.path, plain, _UNPACK_ZIP)


def _tar_kind(path: str, names: Sequence[str]) -> Kind:
    bare = [name.removeprefix("./") for name in names]
    if _LEGACY_TORCH & set(bare):
        return Kind(
            "a tar archive, as torch wrote before version 0.1.10",
            "tar archives of torch",
            "convert it with that torch: `torch.save(torch.load(old, weights_only=False), new)`",
        )
    nemo = "model_config.yaml" in bare
    return _holding(
        "NeMo model (a tar archive)" if nemo else "tar archive", path, bare, _UNPACK_TAR
    )


def _holding(what: str, path: str, names: Sequence[str], unpack: str) -> Kind:
    """An archive that has to be unpacked: with its weights, else with its first members."""
    files = [name for name in names if not name.endswith("/")]
    weights = [name for name in files if name.endswith(_WEIGHTS)]
    shown = weights or files
    listed = ", ".join(map(escape, shown[:_SHOWN])) + (", …" if len(shown) > _SHOWN else "")
    name = shlex.quote(escape(path)).replace("`", "'")
    step = f"unpack it first: `mkdir unpacked && {unpack.format(name)}`"
    hint = f"{step}, then name 'unpacked/{escape(weights[0])}'" if weights else step
    return Kind(f"a {what}" + (f" that holds {listed}" if shown else ""), f"{what}s", hint)


def _tar_members(reader: Reader) -> Iterator[str]:
    """Yield the names of the first members of a tar, from header to header."""
    at, size = 0, reader.version.size
    for _ in range(_MOST_MEMBERS):
        if at + _BLOCK > size:
            return
        found = _tar_header(reader.read(at, _BLOCK))
        if found is None:
            return
        name, nbytes = found
        if name:
            yield name
        at += _BLOCK + -(-nbytes // _BLOCK) * _BLOCK


def _tar_header(block: bytes) -> tuple[str, int] | None:
    """Return the name and the bytes of a member; no name for one that describes others."""
    if len(block) < _BLOCK or block[257:262] != b"ustar":
        return None
    field = block[124:136].strip(b"\0 ")
    if not field or any(digit not in b"01234567" for digit in field):
        return None
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    full = f"{prefix}/{name}" if prefix else name
    return (full if block[156:157] in (b"0", b"\0") else "", int(field, 8))


def _names_in_gzip(reader: Reader) -> list[str]:
    """Return the names at the beginning of a compressed tar; none where it is not a tar."""
    packed = reader.read(0, min(reader.version.size, _PACKED_BYTES))
    try:
        data = zlib.decompressobj(wbits=31).decompress(packed, _UNPACKED_BYTES)
    except zlib.error:
        return []
    names: list[str] = []
    at = 0
    while (found := _tar_header(data[at : at + _BLOCK])) is not None:
        name, nbytes = found
        if name:
            names.append(name)
        at += _BLOCK + -(-nbytes // _BLOCK) * _BLOCK
    return names


def _zip_members(reader: Reader) -> list[str]:
    """Return the first names in a zip's directory, leniently: they only go into a message."""
    size = reader.version.size
    tail = reader.read(max(size - _END_BYTES, 0), min(size, _END_BYTES))
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 20 > len(tail):
        return []
    nbytes, at = struct.unpack_from("<II", tail, end + 12)
    if at >= size:
        return []
    directory = reader.read(at, min(nbytes, size - at, _DIRECTORY_BYTES))
    names: list[str] = []
    at = 0
    while directory[at : at + 4] == b"PK\x01\x02" and at + _CENTRAL.size <= len(directory):
        name, extra, comment = _CENTRAL.unpack_from(directory, at)
        at += _CENTRAL.size
        names.append(_text(directory[at : at + name]))
        at += name + extra + comment
    return names[:_MOST_MEMBERS]


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
