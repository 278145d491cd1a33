"""The few pickle opcodes (protocol 2) that torch's files need, with the memo.

Source: `pickletools` of CPython, for what each opcode does.
"""

from __future__ import annotations

import struct

PROTO, STOP = b"\x80\x02", b"."
NONE, FALSE = b"N", b"\x89"
EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, MARK = b"}", b"]", b")", b"("
TUPLE, TUPLE1, REDUCE, PERSID, NEWOBJ, BUILD = b"t", b"\x85", b"R", b"Q", b"\x81", b"b"
APPEND, SETITEMS = b"a", b"u"
#: Items between two SETITEMS, as pickle's own writer batches them.
BATCH = 1000


class PickleWriter:
    """Appends opcodes to `made`, and remembers what it will push again."""

    def __init__(self) -> None:
        self.made = bytearray()
        self._memo: dict[object, int] = {}
        self._places = 0

    def recalled(self, value: object) -> bool:
        """Push a value again that has a place in the memo; return whether it has one."""
        place = self._memo.get(value)
        if place is None:
            return False
        self.made += b"h" + bytes([place]) if place < 256 else b"j" + struct.pack("<I", place)
        return True

    def remember(self, value: object | None) -> None:
        """Give the value on the stack a place in the memo.

        One that is None will not be asked for again.
        """
        place = self._places
        self._places += 1
        if value is not None:
            self._memo[value] = place
        self.made += b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place)

    def text(self, text: str, *, remember: bool = True) -> None:
        """Push a text; one that is not remembered will not be asked for again."""
        if remember and self.recalled(text):
            return
        data = text.encode()
        self.made += b"X" + struct.pack("<I", len(data)) + data
        if remember:
            self.remember(text)

    def imported(self, module: str, name: str) -> None:
        """Push what a module has under a name."""
        if not self.recalled((module, name)):
            self.made += f"c{module}\n{name}\n".encode("ascii")
            self.remember((module, name))

    def numbers(self, values: tuple[int, ...]) -> None:
        """Push a tuple of numbers."""
        if len(values) <= 3:
            for value in values:
                self.number(value)
            self.made += (EMPTY_TUPLE, TUPLE1, b"\x86", b"\x87")[len(values)]
            return
        self.made += MARK
        for value in values:
            self.number(value)
        self.made += TUPLE

    def number(self, value: int) -> None:
        """Push a number that is not negative."""
        if value < 0x100:
            self.made += b"K" + bytes([value])
        elif value < 0x10000:
            self.made += b"M" + struct.pack("<H", value)
        elif value < 0x80000000:
            self.made += b"J" + struct.pack("<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little")
            self.made += b"\x8a" + bytes([len(data)]) + data
