"""Check a safetensors header against every rule of the format, and report each breach.

The rules are those of the format's README and of its Rust core (`safetensors/src/tensor.rs`);
duplicate keys, which upstream takes in some places, are refused in all.
"""

from __future__ import annotations

import reprlib
from typing import NamedTuple

from shardctl.formats.limits import MAX_DIMS, MAX_JSON_DEPTH
from shardctl.formats.safetensors.findings import FileFindings
from shardctl.formats.strict_json import duplicate_keys, is_f64, is_too_deep, kind, walk
from shardctl.model import DTYPES, Dtype, Extent, Storage, Tensor
from shardctl.text import plural

METADATA_KEY = "__metadata__"
#: Bytes of the header's length, with which a file begins.
LENGTH_BYTES = 8

#: The types of the format, by name.
KNOWN_DTYPES = {name: dtype for name, dtype in DTYPES.items() if dtype.rank is not None}

_FIELDS = frozenset({"dtype", "shape", "data_offsets"})
_ABSENT = object()
_U64_MAX = 2**64 - 1
# What off_t holds: no file reaches past it, so a range that does is wrong rather than cut off.
_FILE_MAX = 2**63 - 1


class _Entry(NamedTuple):
    """One tensor's range within the data, in bytes; sorts in file order.

    `tensor` is None where it is unusable.
    """

    begin: int
    end: int
    position: int
    name: str
    tensor: Tensor | None


class _Chain(NamedTuple):
    """All ranges in file order: the end of the data, in bytes, and the tensors that are cut off."""

    end: int
    cut_tensors: int
    within: list[Tensor]


class HeaderCheck:
    """Checks the parts of one header, and makes what is sound of them into tensors.

    `path` and `size` (bytes) are the file's; `data_offset` is where its tensor bytes begin.
    """

    def __init__(self, path: str, data_offset: int, size: int, findings: FileFindings) -> None:
        self._path = path
        self._data_offset = data_offset
        self._size = size
        self._findings = findings
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._all_ranges_known = True

    def keys(self, root: dict[str, object]) -> None:
        """Report the duplicate names."""
        for name in duplicate_keys(root):
            self._all_ranges_known = False
            message = (
                f"duplicate key {METADATA_KEY}"
                if name == METADATA_KEY
                else "two tensors have this name"
            )
            self._findings.add("tensor-duplicate-key", message, tensor=name)

    def metadata(self, value: object) -> dict[str, str]:
        """Return the string pairs of `__metadata__`."""
        if value is None:
            # serde reads null as "absent", so files that have it do load elsewhere.
            self._findings.add("header-invalid", f"{METADATA_KEY} is null", severity="warning")
            return {}
        if not isinstance(value, dict):
            self._findings.add("header-invalid", f"{METADATA_KEY} is {kind(value)}, not an object")
            return {}
        self._report_duplicates(value, METADATA_KEY, None)
        for key, item in value.items():
            if not isinstance(item, str):
                message = (
                    f"the value of {reprlib.repr(key)} in {METADATA_KEY} is {kind(item)}, not a "
                    "string"
                )
                self._findings.add("header-invalid", message)
        return {key: item for key, item in value.items() if isinstance(item, str)}

    def tensors(self, root: dict[str, object]) -> list[Tensor]:
        """Return the tensors that are within the file, in file order.

        Empties `root`, so that memory is held once.
        """
        entries: list[_Entry] = []
        for position, name in enumerate(list(root)):
            entry = self._entry(position, name, root.pop(name))
            if entry is None:
                self._all_ranges_known = False
            else:
                entries.append(entry)
        entries.sort()
        chain = self._follow(entries)
        self._compare_size(chain)
        return chain.within

    def _entry(self, position: int, name: str, fields: object) -> _Entry | None:
        if not isinstance(fields, dict):
            self._findings.add(
                "header-invalid",
                f"the tensor's entry is {kind(fields)}, not an object",
                tensor=name,
            )
            return None
        if type(fields) is not dict:  # cheaper than a call for each of a million tensors
            self._report_duplicates(fields, "the tensor's entry", name)
        span = self._range(name, fields.get("data_offsets", _ABSENT))
        dtype = self._dtype(name, fields.get("dtype", _ABSENT))
        shape = self._shape(name, fields.get("shape", _ABSENT))
        if len(fields) != len(_FIELDS) or fields.keys() != _FIELDS:
            self._report_fields(name, fields)
        if span is None:
            return None
        begin, end = span
        if dtype is None or shape is None or not self._fits(name, dtype, shape, begin, end):
            return _Entry(begin, end, position, name, None)
        storage = Storage(Extent(self._path, self._data_offset + begin, end - begin), name)
        return _Entry(begin, end, position, name, Tensor(name, dtype, shape, storage))

    def _report_duplicates(self, value: object, place: str, tensor: str | None) -> None:
        for key in duplicate_keys(value):
            message = f"duplicate key {reprlib.repr(key)} in {place}"
            self._findings.add("tensor-duplicate-key", message, tensor=tensor)

    def _report_fields(self, name: str, fields: dict[str, object]) -> None:
        for key in sorted(_FIELDS - fields.keys()):
            self._findings.add("header-invalid", f"the tensor has no {key}", tensor=name)
        for key in fields.keys() - _FIELDS:
            message = f"the tensor has a field that the format does not know: {reprlib.repr(key)}"
            hint = "nothing reads it and it is not carried over; make sure that it is not needed"
            self._findings.add("header-invalid", message, hint, severity="warning", tensor=name)
            if is_too_deep(fields[key]):
                shown = reprlib.repr(key)
                message = f"the field {shown} is nested more than {MAX_JSON_DEPTH} levels deep"
                self._findings.add("header-invalid", message, tensor=name)
            for value in walk(fields[key]):
                self._report_duplicates(value, f"the field {reprlib.repr(key)}", name)
                if not is_f64(value):
                    message = f"the field {reprlib.repr(key)} has a number that is too large"
                    self._findings.add("header-invalid", message, tensor=name)

    def _range(self, name: str, offsets: object) -> tuple[int, int] | None:
        if offsets is _ABSENT:
            return None
        if not isinstance(offsets, list) or len(offsets) != 2 or not _are_u64(offsets):
            message = f"data_offsets must be two whole numbers, not {reprlib.repr(offsets)}"
            self._findings.add("header-invalid", message, tensor=name)
            return None
        begin, end = offsets
        if begin > end:
            self._findings.add(
                "header-invalid",
                f"data_offsets end before they begin: {begin} to {end}",
                tensor=name,
            )
            return None
        return begin, end

    def _dtype(self, name: str, value: object) -> Dtype | None:
        if value is _ABSENT:
            return None
        if not isinstance(value, str):
            self._findings.add(
                "header-invalid", f"dtype is {kind(value)}, not a string", tensor=name
            )
            return None
        dtype = KNOWN_DTYPES.get(value)
        if dtype is None:
            hint = (
                "a newer version of shardctl may know it; otherwise save the file again with a "
                "known type"
            )
            self._findings.add(
                "tensor-dtype-unknown", f"unknown dtype {reprlib.repr(value)}", hint, tensor=name
            )
        return dtype

    def _shape(self, name: str, value: object) -> tuple[int, ...] | None:
        if value is _ABSENT:
            return None
        if not isinstance(value, list) or not _are_u64(value):
            message = f"shape must be a list of whole numbers, not {reprlib.repr(value)}"
            self._findings.add("header-invalid", message, tensor=name)
            return None
        if len(value) > MAX_DIMS:
            message = (
                f"the shape has {len(value):,} dimensions, and more than {MAX_DIMS} are not read"
            )
            self._findings.add("header-invalid", message, tensor=name)
            return None
        shape = tuple(value)
        return self._shapes.setdefault(shape, shape)

    def _fits(self, name: str, dtype: Dtype, shape: tuple[int, ...], begin: int, end: int) -> bool:
        """Whether the range has exactly the bytes of that many elements."""
        bits = bits_of(dtype, shape)
        if bits == (end - begin) * 8:
            return True
        if bits is None:
            message = f"the size of shape {reprlib.repr(list(shape))} overflows 64 bits"
        elif bits % 8:
            message = f"{bits // dtype.bits:,} elements of {dtype.name} do not fill whole bytes"
        else:
            message = (
                f"{dtype.name} of shape {reprlib.repr(list(shape))} takes {bits // 8:,} bytes, not "
                f"{end - begin:,}"
            )
        self._findings.add(
            "tensor-size-mismatch", message, tensor=name, offset=self._data_offset + begin
        )
        return False

    def _follow(self, entries: list[_Entry]) -> _Chain:
        """Walk the ranges in file order: each must begin where the one before ended."""
        end, cut, sound, within = 0, 0, True, list[Tensor]()
        data_size = self._size - self._data_offset
        previous = ""
        for entry in entries:
            if entry.begin != end:
                sound = False
                self._report_gap(entry, end, previous)
            sound = sound and entry.tensor is not None and entry.end <= _FILE_MAX
            if entry.end <= data_size:
                if entry.tensor is not None:
                    within.append(entry.tensor)
            elif sound:
                cut += 1
            else:
                self._report_outside(entry)
            if entry.end > end:
                end, previous = entry.end, entry.name
        return _Chain(end, cut, within)

    def _report_gap(self, entry: _Entry, end: int, previous: str) -> None:
        offset = self._data_offset + min(entry.begin, end)
        if entry.begin < end:
            early = plural(end - entry.begin, "byte")
            message = f"the tensor begins {early} before {reprlib.repr(previous)} ends"
            self._findings.add("tensor-overlap", message, tensor=entry.name, offset=offset)
        elif self._all_ranges_known:
            message = f"a gap of {plural(entry.begin - end, 'byte')} before the tensor"
            self._findings.add("tensor-hole", message, tensor=entry.name, offset=offset)

    def _report_outside(self, entry: _Entry) -> None:
        message = (
            f"the tensor ends at byte {self._data_offset + entry.end:,} of a file that has "
            f"{self._size:,} bytes"
        )
        offset = self._data_offset + entry.begin
        self._findings.add("tensor-out-of-bounds", message, tensor=entry.name, offset=offset)

    def _compare_size(self, chain: _Chain) -> None:
        expected = self._data_offset + chain.end
        if chain.cut_tensors:
            cut = plural(chain.cut_tensors, "tensor")
            message = f"the file ends at byte {self._size:,} of {expected:,} and cuts off {cut}"
            hint = f"incomplete download: {amounts(self._size, expected)}; fetch it again"
            self._findings.add("file-truncated", message, hint, offset=self._size)
        elif expected < self._size and self._all_ranges_known:
            message = (
                f"trailing data: {plural(self._size - expected, 'byte')} after the last tensor"
            )
            hint = (
                "something was appended, or the header is another file's: fetch the file again; "
                "or leave out what was appended: `write` with `accept_damage`"
            )
            self._findings.add("file-trailing-bytes", message, hint, offset=expected, whole=True)


def _are_u64(values: list[object]) -> bool:
    # This runs twice for each of a million tensors. Not isinstance: bool is an int there.
    for value in values:  # noqa: SIM110 - a plain loop is quicker
        if type(value) is not int or not 0 <= value <= _U64_MAX:
            return False
    return True


def bits_of(dtype: Dtype, shape: tuple[int, ...]) -> int | None:
    """Return the bits of the elements; None where a product overflows 64 bits on the way.

    Upstream refuses that as well.
    """
    elements = 1
    for size in shape:
        elements *= size
        if elements > _U64_MAX:
            return None
    bits = elements * dtype.bits
    return bits if bits <= _U64_MAX else None


def amounts(here: int, whole: int) -> str:
    """Return how much of a file exists, for people: `1.2 of 4.9 GB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if whole >= scale:
            return f"{here / scale:.1f} of {whole / scale:.1f} {unit}"
    return f"{here} of {whole} bytes"
