"""Read safetensors files.

A file has a length (u64, little-endian), a JSON header of that many bytes, and the tensors' bytes.

Source: the format's README and `safetensors/src/tensor.rs` of safetensors 0.8.0. Shapes count
elements: of the packed type F4 upstream doubles torch's last dimension (two elements a byte) before
it reaches the header, so nothing here has to.
"""

from __future__ import annotations

import hashlib

from shardctl.columns import Columns, OneLevel, Tensors
from shardctl.findings import Report
from shardctl.formats.limits import (
    HEADER_PER_CONTAINER,
    HEADER_PER_MEMBER,
    HEADER_PER_VALUE,
    MAX_HEADER_BYTES,
    MAX_READ_HEADER_BYTES,
)
from shardctl.formats.safetensors.check import LENGTH_BYTES, METADATA_KEY, HeaderCheck, amounts
from shardctl.formats.safetensors.findings import FileFindings
from shardctl.formats.safetensors.scan import scan
from shardctl.formats.strict_json import (
    Density,
    InvalidJsonError,
    decode,
    finite_float,
    integer,
    parse_object,
    refuse_dense,
    refuse_lone_surrogates,
)
from shardctl.model import File
from shardctl.stores.base import Reader
from shardctl.text import plural

#: Lengths from here on have six bytes and more.
_LONGEST_TEXT = 2**40
_WHITE_SPACE = (" ", "\t", "\r", "\n")
_DENSITY = Density(HEADER_PER_CONTAINER, HEADER_PER_MEMBER, HEADER_PER_VALUE)
_FETCH_AGAIN = "incomplete download; fetch it again"


class SafetensorsReader:
    """Reads safetensors files."""

    def recognise(self, head: bytes, tail: bytes) -> bool:  # noqa: ARG002 - the start is enough
        """Whether a file begins with a plausible header length and a JSON object.

        White space before the object is accepted.
        """
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        if len(head) < LENGTH_BYTES or length < 2:
            return False
        if length >= _LONGEST_TEXT:
            # Text that is read as a length is as large; too large a header is said to be just that.
            return head[LENGTH_BYTES:].startswith(b'{"') and not head[:LENGTH_BYTES].isascii()
        text = (
            head[LENGTH_BYTES:].removeprefix(b"\xef\xbb\xbf").lstrip("".join(_WHITE_SPACE).encode())
        )
        return text.startswith(b"{") or (not text and length <= MAX_HEADER_BYTES)

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read and check the header; None where it is unusable.

        Every fault goes to `report`. A header of more than 100 MB, which upstream refuses, is an
        error, and is read all the same up to a limit of our own.
        """
        findings = FileFindings(reader.path, report)
        file = _read(reader, findings)
        findings.close()
        return file


def _read(reader: Reader, findings: FileFindings) -> File | None:
    size = reader.version.size
    prefix = reader.read(0, min(size, LENGTH_BYTES))
    length = int.from_bytes(prefix, "little")
    if not _length_is_sound(reader, length, findings):
        return None
    header = reader.read(LENGTH_BYTES, length)
    digest = hashlib.sha256(prefix)
    digest.update(header)
    data_offset = LENGTH_BYTES + length
    try:
        text = decode(header)
        del header  # up to 100 MB that are not needed while the tensors are made
        tree, metadata = scan(text, reader.path, data_offset, size) or _check(
            text, reader, data_offset, findings
        )
    except InvalidJsonError as error:
        offset = LENGTH_BYTES + error.position
        findings.add("header-invalid", f"the header {error.message}", offset=offset)
        return None
    return File(
        reader.path,
        "safetensors",
        reader.version,
        tree,
        metadata,
        digest.hexdigest(),
        data_offset,
    )


def _check(
    text: str, reader: Reader, data_offset: int, findings: FileFindings
) -> tuple[OneLevel, dict[str, str]]:
    """Return the usable tensors and metadata of a header that may be unsound.

    Raises InvalidJsonError where it is not a JSON object, or too dense.
    """
    refuse_dense(text, _DENSITY)
    # The slower function is only needed where -0 can occur.
    parse_int = integer if "-0" in text else int
    root = parse_object(text, parse_int=parse_int, parse_float=finite_float)
    refuse_lone_surrogates(text, root)
    if text.startswith(_WHITE_SPACE):
        message = "white space before the header's object"
        hint = "this file can be read here; write it again with `write` for readers that refuse it"
        findings.add("header-invalid", message, hint, severity="warning", offset=LENGTH_BYTES)
    check = HeaderCheck(reader.path, data_offset, reader.version.size, findings)
    check.keys(root)
    metadata = check.metadata(root.pop(METADATA_KEY)) if METADATA_KEY in root else {}
    # Of several with one name the last counts.
    tensors = {tensor.name: tensor for tensor in check.tensors(root)}
    return OneLevel(Tensors([Columns.of(reader.path, tensors.values())])), metadata


def _is_read(length: int, size: int) -> bool:
    """Whether a header that no other reader takes is read here."""
    return length <= MAX_READ_HEADER_BYTES and LENGTH_BYTES + length <= size


def _report_too_large(length: int, size: int, findings: FileFindings) -> None:
    message = f"the header has {length:,} bytes; at most {MAX_HEADER_BYTES:,} are allowed"
    hint = "this is not a safetensors file, or its first bytes are damaged: fetch it again"
    whole = _is_read(length, size)
    if whole:
        hint = (
            "no other reader takes the file: write its tensors as several shards: `write` with "
            "`accept_damage` and `num_shards`"
        )
    findings.add("header-too-large", message, hint, offset=0, whole=whole)


def _length_is_sound(reader: Reader, length: int, findings: FileFindings) -> bool:
    """Whether a header of that many bytes can be read: checked before memory is allocated."""
    size = reader.version.size
    if size == 0:
        findings.add("file-empty", "the file is empty", _FETCH_AGAIN, offset=0)
    elif size < LENGTH_BYTES:
        findings.add(
            "file-truncated",
            f"the file ends after {plural(size, 'byte')}, within its first field",
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
        findings.add(
            "header-invalid",
            f"a header of {plural(length, 'byte')} cannot hold an object",
            offset=0,
        )
    elif length > MAX_HEADER_BYTES:
        _report_too_large(length, size, findings)
        return _is_read(length, size)
    elif LENGTH_BYTES + length > size:
        message = f"the file ends at byte {size:,}, within its header of {length:,} bytes"
        share = amounts(size, LENGTH_BYTES + length)
        hint = f"incomplete download: {share} of the header alone; fetch it again"
        findings.add("file-truncated", message, hint, offset=size)
    else:
        return True
    return False
