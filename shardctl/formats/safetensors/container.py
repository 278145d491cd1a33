"""The safetensors container: a u64 length (little-endian), a JSON header of that many bytes, the tensors' bytes.

Source: the format's README and `safetensors/src/tensor.rs` of safetensors 0.8.0. What is written
equals what that version writes, byte for byte, with its random order of metadata keys replaced by a
sorted one. Shapes count elements: of the packed type F4 upstream doubles torch's last dimension
(two elements a byte) before it reaches the header, so nothing here has to.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shardctl.errors import UsageError
from shardctl.findings import Report
from shardctl.formats.limits import MAX_HEADER_BYTES
from shardctl.formats.safetensors.check import METADATA_KEY, HeaderCheck, amounts
from shardctl.formats.safetensors.findings import FileFindings
from shardctl.formats.safetensors.scan import scan
from shardctl.formats.strict_json import (
    InvalidJsonError,
    decode,
    integer_without_sign_of_zero,
    is_unicode,
    parse_object,
    refuse_lone_surrogates,
)
from shardctl.layout import Copy, Layout, LayoutBuilder, tensor_piece
from shardctl.model import File, Tensor, Tree
from shardctl.stores.base import Reader

_LENGTH_BYTES = 8
_ALIGNMENT = 8
_WHITE_SPACE = (" ", "\t", "\r", "\n")
# Recognised, so that too large a header is said to be just that; text read as a length is far
# beyond it.
_PLAUSIBLE_HEADER_BYTES = 2**40
_FETCH_AGAIN = "incomplete download; fetch it again"

# Escapes just what serde_json does: quote, backslash and control characters, with lower-case hex
# digits.
_quote = json.JSONEncoder(ensure_ascii=False).encode


class Safetensors:
    """Reads and writes safetensors files."""

    name = "safetensors"
    suffix = ".safetensors"

    def recognise(self, head: bytes, tail: bytes) -> bool:  # noqa: ARG002 - the end of the file says nothing here
        """Whether a file begins with a plausible header length and then, after white space, a JSON object."""
        length = int.from_bytes(head[:_LENGTH_BYTES], "little")
        if len(head) < _LENGTH_BYTES or not 2 <= length < _PLAUSIBLE_HEADER_BYTES:
            return False
        text = (
            head[_LENGTH_BYTES:]
            .removeprefix(b"\xef\xbb\xbf")
            .lstrip("".join(_WHITE_SPACE).encode())
        )
        return text.startswith(b"{") or (not text and length <= MAX_HEADER_BYTES)

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read and check the header, at most 100 MB; every fault goes to `report`, None where no header is usable."""
        findings = FileFindings(reader.path, report)
        file = _read(reader, findings)
        findings.close()
        return file

    def measure(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> int:
        """Exact bytes of the file that `lay_out` gives; raises what it raises."""
        return _plan(tensors, metadata, block).nbytes

    def lay_out(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> Layout:
        """The file: compact as upstream writes it, or shareable in blocks of `block` bytes.

        Raises UsageError for a tensor or a header that the format cannot hold.
        """
        planned = _plan(tensors, metadata, block)
        builder = LayoutBuilder()
        builder.literal(planned.header)
        for tensor in planned.tensors:
            piece = tensor_piece(tensor)
            if isinstance(piece, Copy):
                builder.copy(piece.extent)
            elif piece.nbytes:
                builder.record(piece)
        return builder.build()


SAFETENSORS = Safetensors()


def _read(reader: Reader, findings: FileFindings) -> File | None:
    size = reader.version.size
    prefix = reader.read(0, min(size, _LENGTH_BYTES))
    length = int.from_bytes(prefix, "little")
    if not _length_is_sound(reader, length, findings):
        return None
    header = reader.read(_LENGTH_BYTES, length)
    digest = hashlib.sha256(prefix)
    digest.update(header)
    data_offset = _LENGTH_BYTES + length
    try:
        text = decode(header)
        del header  # up to 100 MB that are not needed while the tensors are made
        tree, metadata = scan(text, reader.path, data_offset, size) or _check(
            text, reader, data_offset, findings
        )
    except InvalidJsonError as error:
        offset = _LENGTH_BYTES + error.position
        findings.add("header-invalid", f"the header {error.message}", offset=offset)
        return None
    return File(
        reader.path,
        Safetensors.name,
        reader.version,
        tree,
        metadata,
        digest.hexdigest(),
        data_offset,
    )


def _check(
    text: str, reader: Reader, data_offset: int, findings: FileFindings
) -> tuple[Tree, dict[str, str]]:
    """The tensors and metadata of a header that may be unsound; raises InvalidJsonError where it has none."""
    # The slower function is only needed where -0 can occur.
    parse_int = integer_without_sign_of_zero if "-0" in text else int
    root = parse_object(text, parse_int=parse_int)
    refuse_lone_surrogates(text, root)
    if text.startswith(_WHITE_SPACE):
        message = "white space stands before the header's object"
        hint = "this file can be read here; write it again (`shardctl reshard`) for readers that refuse it"
        findings.add("header-invalid", message, hint, severity="warning", offset=_LENGTH_BYTES)
    check = HeaderCheck(reader.path, data_offset, reader.version.size, findings)
    check.keys(root)
    metadata = check.metadata(root.pop(METADATA_KEY)) if METADATA_KEY in root else {}
    return {tensor.name: tensor for tensor in check.tensors(root)}, metadata


def _length_is_sound(reader: Reader, length: int, findings: FileFindings) -> bool:
    """Whether a header of that many bytes can be read; checked before anything of its size is allocated."""
    size = reader.version.size
    if size == 0:
        findings.add("file-empty", "the file is empty", _FETCH_AGAIN, offset=0)
    elif size < _LENGTH_BYTES:
        findings.add(
            "file-truncated",
            f"the file ends after {size} bytes, within its first field",
            _FETCH_AGAIN,
            offset=size,
        )
    elif length == 0 and not any(reader.read(0, min(size, 64))):
        findings.add(
            "file-zero-filled",
            "the file begins with zeros",
            "zero-filled download; fetch it again",
            offset=0,
        )
    elif length < 2:
        findings.add("header-invalid", f"a header of {length} bytes holds no object", offset=0)
    elif length > MAX_HEADER_BYTES:
        message = f"the header's length is {length:,} bytes, more than the {MAX_HEADER_BYTES:,} that are allowed"
        hint = "this is no safetensors file, or one of too many tensors: save it as several shards"
        findings.add("header-too-large", message, hint, offset=0)
    elif _LENGTH_BYTES + length > size:
        message = f"the file ends at byte {size:,}, within its header of {length:,} bytes"
        hint = f"incomplete download: {amounts(size, _LENGTH_BYTES + length)} of the header alone; fetch it again"
        findings.add("file-truncated", message, hint, offset=size)
    else:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Planned:
    """A file to write: the bytes up to the first tensor, and the tensors in their order in the file."""

    header: bytes
    tensors: Sequence[Tensor]
    nbytes: int


def _plan(tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None) -> _Planned:
    for tensor in tensors:
        _refuse_unwritable(tensor)
    ordered = sorted(tensors, key=_order) if block is None else tensors
    members = [_metadata_member(metadata)] if metadata else []
    begin = 0
    shapes: dict[tuple[int, ...], str] = {}
    for tensor in ordered:
        end = begin + tensor.nbytes
        shape = shapes.get(tensor.shape) or shapes.setdefault(
            tensor.shape, str(list(tensor.shape)).replace(" ", "")
        )
        members.append(
            f'{_quote(tensor.name)}:{{"dtype":"{tensor.dtype.name}","shape":{shape},"data_offsets":[{begin},{end}]}}'
        )
        begin = end
    text = "{" + ",".join(members) + "}"
    header = (
        _encode(text, _ALIGNMENT, 0) if block is None else _encode(text, *_phase(ordered, block))
    )
    return _Planned(header, ordered, len(header) + begin)


def _phase(tensors: Sequence[Tensor], block: int) -> tuple[int, int]:
    """The modulus and remainder of the data's offset in the file with which most bytes can be shared.

    Data has no holes, so one number decides for the whole file. Bytes that are shared keep the
    alignment that they have in their source; where no tensor fills a block, the data is aligned as
    ever.
    """
    shared: Counter[int] = Counter()
    begin = 0
    for tensor in tensors:
        if tensor.strides is None and tensor.nbytes >= block:
            shared[(tensor.span.offset - begin) % block] += tensor.nbytes
        begin += tensor.nbytes
    # Of several the first is taken, as Counter keeps the order in which they were met.
    return (block, shared.most_common(1)[0][0]) if shared else (_ALIGNMENT, 0)


def _order(tensor: Tensor) -> tuple[int, str]:
    """Upstream's order: wide types first, so that each is aligned; then by name (code points sort as UTF-8 does)."""
    return (-(tensor.dtype.rank or 0), tensor.name)


def _refuse_unwritable(tensor: Tensor) -> None:
    """Raise UsageError for a tensor that the format cannot hold."""
    dtype = tensor.dtype
    if dtype.rank is None:
        message = f"safetensors has no type for {dtype.name}"
        raise UsageError(message, hint="write a .bin instead (`--to bin`)", tensor=tensor.name)
    if tensor.strides is not None and dtype.bits % 8:
        message = (
            f"a strided view of {dtype.name} cannot be gathered: its elements are not whole bytes"
        )
        raise UsageError(
            message, hint="make the tensor contiguous with torch first", tensor=tensor.name
        )
    if tensor.name == METADATA_KEY:
        message = f"a tensor named {METADATA_KEY} makes a safetensors file unreadable"
        raise UsageError(
            message,
            hint="rename the tensor, or write a .bin instead (`--to bin`)",
            tensor=tensor.name,
        )
    if not is_unicode(tensor.name):
        message = f"the name {tensor.name!a} has a lone surrogate, which safetensors cannot store"
        raise UsageError(message, hint="rename the tensor, or write a .bin instead (`--to bin`)")


def _metadata_member(metadata: Mapping[str, str]) -> str:
    for key, value in metadata.items():
        if not (is_unicode(key) and is_unicode(value)):
            message = f"the metadata {key!a} has a lone surrogate, which safetensors cannot store"
            raise UsageError(
                message, hint="rename what it names, or write a .bin instead (`--to bin`)"
            )
    pairs = ",".join(f"{_quote(key)}:{_quote(metadata[key])}" for key in sorted(metadata))
    return f'"{METADATA_KEY}":{{{pairs}}}'


def _encode(text: str, modulus: int, remainder: int) -> bytes:
    """The length and the header's bytes, padded with spaces until the data's offset has a remainder by a modulus."""
    header = text.encode()
    header += b" " * ((remainder - _LENGTH_BYTES - len(header)) % modulus)
    if len(header) > MAX_HEADER_BYTES:
        message = f"the header would take {len(header):,} bytes; readers refuse more than {MAX_HEADER_BYTES:,}"
        raise UsageError(message, hint="write several shards, as with `--num-shards 2`")
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header
