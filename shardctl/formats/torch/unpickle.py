"""A pickle read as data: opcodes in, inert values out. Nothing is imported, and nothing is called, ever.

Sources: `pickletools` of CPython for the opcodes, `torch/_utils.py` and
`torch/_weights_only_unpickler.py` of torch
2.13 for what its pickles call. A name to import becomes a `Global`; what would be built from any but the few known ones
becomes an `Opaque`, which has a kind and nothing else.
"""

from __future__ import annotations

import codecs
import struct

from shardctl.formats.limits import MAX_INTEGER_BYTES
from shardctl.formats.pickle.machine import Machine, Step, StorageOf, Unpickled
from shardctl.formats.pickle.values import Mapping, Sequence
from shardctl.formats.torch.calls import CALLS, storage_of_zip

_U16, _U32, _U64, _I32 = (struct.Struct(form) for form in ("<H", "<I", "<Q", "<i"))


def unpickle(data: bytes, start: int = 0, storage_of: StorageOf = storage_of_zip) -> Unpickled:
    """Read the pickle at `start`; `storage_of` knows the persistent ids of the variety of file.

    Raises PickleFaultError for what is no valid pickle, or beyond the caps.
    """
    return Machine(data, start, CALLS, storage_of).run(_TABLE)


def _long(machine: Machine, length: int) -> int:
    if not 0 <= length <= MAX_INTEGER_BYTES:
        raise machine.fault(f"an integer of {length} bytes")
    return int.from_bytes(machine.take(length), "little", signed=True)


def _decimal(machine: Machine, *, long: bool = False) -> object:
    text = machine.line()
    if text in (b"00", b"01") and not long:
        return text == b"01"
    if len(text) > 3 * MAX_INTEGER_BYTES:
        raise machine.fault("an integer of too many digits")
    return int(text.removesuffix(b"L"))


def _quoted(machine: Machine) -> str:
    text = machine.line().strip()
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise machine.fault("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")  # as pickle itself does


def _proto(machine: Machine) -> None:
    version = machine.take(1)[0]
    if version > 5:
        raise machine.fault(f"pickle protocol {version} is not known")


def _frame(machine: Machine) -> None:
    machine.number(_U64)


def _text(machine: Machine, length: int) -> None:
    machine.push(machine.take(length).decode("utf-8", "surrogatepass"))


def _latin(machine: Machine, length: int) -> str:
    if length < 0:
        raise machine.fault("a string of negative length")
    return machine.take(length).decode("latin-1")


def _new(kind: str, machine: Machine) -> None:
    machine.make(Sequence(kind, machine.pop_mark()))


def _dict(machine: Machine) -> None:
    values = machine.pop_mark()
    machine.make(Mapping())
    machine.set_items(values)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _discard(_: object) -> None:
    """POP_MARK throws values away."""


_STEPS: dict[int, Step] = {
    0x80: _proto,
    0x95: _frame,
    ord("("): Machine.mark,
    ord("0"): Machine.pop_or_unmark,
    ord("1"): lambda m: _discard(m.pop_mark()),
    ord("2"): lambda m: m.push(m.top()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.push(_decimal(m)),
    ord("L"): lambda m: m.push(_decimal(m, long=True)),
    ord("J"): lambda m: m.push(m.number(_I32)),
    ord("K"): lambda m: m.push(m.byte()),
    ord("M"): lambda m: m.push(m.number(_U16)),
    0x8A: lambda m: m.push(_long(m, m.byte())),
    0x8B: lambda m: m.push(_long(m, m.number(_I32))),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("S"): lambda m: m.push(_quoted(m)),
    ord("T"): lambda m: m.push(_latin(m, m.number(_I32))),
    ord("U"): lambda m: m.push(_latin(m, m.byte())),
    ord("V"): lambda m: m.push(m.line().decode("raw-unicode-escape")),
    ord("X"): lambda m: _text(m, m.number(_U32)),
    0x8C: lambda m: _text(m, m.byte()),
    0x8D: lambda m: _text(m, m.number(_U64)),
    ord("B"): lambda m: m.push(m.take(m.number(_U32))),
    ord("C"): lambda m: m.push(m.take(m.byte())),
    0x8E: lambda m: m.push(m.take(m.number(_U64))),
    0x96: lambda m: m.push(m.take(m.number(_U64))),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.make(tuple(m.pop_mark())),
    0x85: lambda m: m.several(1),
    0x86: lambda m: m.several(2),
    0x87: lambda m: m.several(3),
    ord("]"): lambda m: m.make(Sequence("list")),
    ord("l"): lambda m: _new("list", m),
    0x8F: lambda m: m.make(Sequence("set")),
    0x91: lambda m: _new("frozenset", m),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_mark()),
    0x90: lambda m: m.append(m.pop_mark()),
    ord("}"): lambda m: m.make(Mapping()),
    ord("d"): _dict,
    ord("s"): _set_item,
    ord("u"): lambda m: m.set_items(m.pop_mark()),
    ord("p"): lambda m: m.put(int(m.line())),
    ord("q"): lambda m: m.put(m.byte()),
    ord("r"): lambda m: m.put(m.number(_U32)),
    0x94: Machine.memoize,
    ord("g"): lambda m: m.get(int(m.line())),
    ord("h"): lambda m: m.get(m.byte()),
    ord("j"): lambda m: m.get(m.number(_U32)),
    ord("c"): lambda m: m.find(m.line().decode(), m.line().decode()),
    0x93: Machine.stack_global,
    ord("i"): Machine.inst,
    ord("o"): Machine.obj,
    0x81: lambda m: m.new_object(2),
    0x92: lambda m: m.new_object(3),
    ord("R"): Machine.reduce,
    ord("b"): Machine.build,
    ord("Q"): Machine.persistent,
}

#: A step for each byte that can stand where an opcode is due.
_TABLE = tuple(_STEPS.get(code, Machine.refuse) for code in range(256))
