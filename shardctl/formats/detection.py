"""Detect the format of a file from its contents, never from its name.

Every format is asked, not only the first that claims a file: what begins like a safetensors header
may be a zip for torch. Where several claim it the name decides, as it does for loaders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardctl.findings import Finding, Report
from shardctl.formats.base import END_BYTES, Format, FormatReader
from shardctl.formats.registry import formats, promised_by
from shardctl.model import File
from shardctl.stores.base import Reader


def recognise_file(reader: Reader) -> FormatReader | None:
    """Return the reader for a file, by its first and last bytes; None where no format claims it.

    Where several do, it is that of the format which the file's name promises, as loaders go by the
    name, else the first.
    """
    claims = _claims(reader)
    return claims[0].reader if claims else None


def read_file(reader: Reader, report: Report) -> File | None:
    """Read the header of a weights file of any format. Everything that is wrong goes to `report`.

    Returns None where nothing usable is left; a file that is not a weights file at all is reported
    as what it looks like. One that several formats claim is read as its name says, and is an error
    where the name says none of them: in each it may hold other tensors.
    """
    claims = _claims(reader)
    if len(claims) > 1:
        report(_claimed_twice(reader.path, claims))
    if claims:
        return claims[0].reader.read(reader, report)
    from shardctl.formats.unclaimed import unclaimed  # noqa: PLC0415 - only for the message

    report(unclaimed(reader))
    return None


@dataclass(frozen=True, slots=True)
class _Claim:
    """A format that claims a file, and its first reader that does."""

    format: Format
    reader: FormatReader


def _claims(reader: Reader) -> list[_Claim]:
    """Return the formats that claim a file: the one that its name promises, else all that do.

    The readers of the others are not even imported where the name decides, and the end, which may
    lie far away, is not read where the beginning is what the format's first reader asks for.
    """
    size = reader.version.size
    length = min(size, END_BYTES)
    head = reader.read(0, length)
    promised = promised_by(reader.path)
    if promised is not None and promised.load_readers:
        first = promised.load_readers[0]()
        if first.recognise(head, b""):
            return [_Claim(promised, first)]
    ends = head, reader.read(size - length, length)
    by_name = None if promised is None else _claim(promised, *ends)
    if by_name is not None:
        return [by_name]
    others = (_claim(known, *ends) for known in formats() if known is not promised)
    return [claim for claim in others if claim is not None]


def _claim(known: Format, head: bytes, tail: bytes) -> _Claim | None:
    readers = (load() for load in known.load_readers)
    found = next((each for each in readers if each.recognise(head, tail)), None)
    return None if found is None else _Claim(known, found)


def _claimed_twice(path: str, claims: Sequence[_Claim]) -> Finding:
    names = " and ".join(f"'{claim.format.name}'" for claim in claims)
    suffixes = " or ".join(claim.format.suffix for claim in claims)
    return Finding(
        "container-misnamed",
        "error",
        f"the file can be taken for each of the formats {names}, and its name promises none of "
        "them: loaders may find other tensors in it",
        f"rename the file to end in {suffixes}, as the program that saved it would",
        path,
        offset=0,
    )
