"""What the parts of a zip share: their signatures, numbers of 64 bits, and the error.

Source: PKWARE's APPNOTE 6.3.10.
"""

from __future__ import annotations

import struct

#: What the parts of a zip begin with, and the bytes of the parts of fixed length.
LOCAL, DESCRIPTOR, CENTRAL = b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02"
END64, LOCATOR64, END = b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06"
LOCAL_BYTES, CENTRAL_BYTES = 30, 46
END64_BYTES, LOCATOR_BYTES, END_BYTES = 56, 20, 22
#: In a field of 32 (or 16) bits: the value is in the zip64 extra field, or record.
IN_ZIP64, IN_ZIP64_COUNT = 0xFFFFFFFF, 0xFFFF
#: Flags of a record: its sizes follow its data; its name is UTF-8.
HAS_DESCRIPTOR, UTF8 = 0x8, 0x800
#: Kinds of extra field: sizes of 64 bits, and Info-ZIP's second name, which some readers prefer.
_ZIP64, _UNICODE_NAME = 1, 0x7075
_EXTRA_FORM = struct.Struct("<HH")

#: The hint for what no program wrote so.
DAMAGED = "the file is damaged: fetch or save it again"
#: The hint for what programs would read differently.
AMBIGUOUS = "programs read this file differently: get it again from a source that you trust"
#: What a file of torch.jit.save is; its code is compressed, so this is said before that is.
TORCHSCRIPT = "the file is a TorchScript program, not a state dict"
TORCHSCRIPT_HINT = "in the program that made it, save `module.state_dict()`"


class ZipFaultError(Exception):
    """What is wrong with a zip: the finding's code, and at which byte. The reader reports it."""

    def __init__(self, code: str, message: str, offset: int, hint: str = DAMAGED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.offset = offset
        self.hint = hint


def zip64_values(extra: bytes, where: int) -> list[int]:
    """The 64-bit values of a zip64 extra field, in order; every field must be whole."""
    values: list[int] = []
    seen = False
    at = 0
    while at < len(extra):
        if at + 4 > len(extra):
            raise ZipFaultError("zip-invalid", "an extra field is cut short", where)
        kind, length = _EXTRA_FORM.unpack_from(extra, at)
        at += 4
        if at + length > len(extra):
            raise ZipFaultError(
                "zip-invalid", "an extra field is longer than its record's header", where
            )
        if kind == _UNICODE_NAME or (kind == _ZIP64 and seen):
            message = "an extra field gives the record another name, or sizes twice"
            raise ZipFaultError("zip-ambiguous", message, where, AMBIGUOUS)
        if kind == _ZIP64:
            seen = True
            values = [
                value for (value,) in struct.iter_unpack("<Q", extra[at : at + length // 8 * 8])
            ]
        at += length
    return values


def next_value(values: list[int], where: int) -> int:
    """Take the next of a zip64 field's values. Raises ZipFaultError where there is none."""
    if not values:
        raise ZipFaultError("zip-invalid", "a size is in a zip64 field that is missing", where)
    return values.pop(0)
