"""The opcodes of pickles, protocol 0 to 5, as steps of the machine.

Source: `pickletools` and `_pickle.c` of CPython; `torch/_weights_only_unpickler.py` of torch 2.13
for those that torch takes by default.
"""

from __future__ import annotations

import struct

from shardctl.formats.limits import MAX_INTEGER_BYTES
from shardctl.formats.pickle import numerals
from shardctl.formats.pickle.cursor import I32, U16, U32, U64
from shardctl.formats.pickle.machine import Machine, Step
from shardctl.formats.pickle.values import Mapping, Opaque, Sequence

_HIGHEST_PROTOCOL = 5
#: Texts as short as this are kept once: many of them would take far more than their opcodes.
_SHORT_TEXT = 3


def _long(machine: Machine, length: int) -> int:
    if not 0 <= length <= MAX_INTEGER_BYTES:
        raise machine.fault(f"an integer of {length} bytes")
    return int.from_bytes(machine.take(length), "little", signed=True)


def _proto(machine: Machine) -> None:
    version = machine.byte()
    if version > _HIGHEST_PROTOCOL:
        raise machine.fault(f"pickle protocol {version} is not known")


def _text(machine: Machine, length: int) -> None:
    machine.push(machine.take(length).decode("utf-8", "surrogatepass"))


def _short_text(machine: Machine, length: int) -> None:
    text = machine.take(length).decode("utf-8", "surrogatepass")
    machine.push(text if length > _SHORT_TEXT else machine.shared_text(text))


def _python2_text(machine: Machine, length: int) -> None:
    """A string of Python 2, which torch reads as UTF-8."""
    if length < 0:
        raise machine.fault("a string of negative length")
    text = machine.take(length).decode("utf-8")
    machine.push(text if length > _SHORT_TEXT else machine.shared_text(text))


def _new(kind: str, machine: Machine) -> None:
    machine.make_container(Sequence(kind, machine.pop_mark()))


def _dict(machine: Machine) -> None:
    values = machine.pop_mark()
    machine.make_container(Mapping())
    machine.set_items(values)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _bytearray(machine: Machine) -> None:
    machine.take(machine.number(U64))
    machine.make_container(Opaque("builtins.bytearray"))


def _new_object_ex(machine: Machine) -> None:
    keywords = machine.pop()
    if not isinstance(keywords, Mapping):
        raise machine.fault("an object is made without a dict of keyword arguments")
    machine.new_object((keywords,) if keywords.items else ())


def _extension(machine: Machine, code: int) -> None:
    """A name that the registry of `copyreg` has under a number: which one is not in the pickle."""
    machine.find("copyreg", f"extension {code}")


_STEPS: dict[int, Step] = {
    0x80: _proto,
    0x95: lambda m: m.begin_frame(m.number(U64)),
    ord("("): Machine.mark,
    ord("0"): Machine.pop_or_unmark,
    ord("1"): lambda m: m.pop_mark().clear(),
    ord("2"): lambda m: m.push(m.top()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.push(numerals.integer(m.line())),
    ord("L"): lambda m: m.push(numerals.long(m.line())),
    ord("J"): lambda m: m.push(m.number(I32)),
    ord("K"): lambda m: m.push(m.byte()),
    ord("M"): lambda m: m.push(m.number(U16)),
    0x8A: lambda m: m.push(_long(m, m.byte())),
    0x8B: lambda m: m.push(_long(m, m.number(I32))),
    ord("F"): lambda m: m.push(numerals.real(m.line())),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("S"): lambda m: m.push(numerals.quoted(m.line())),
    ord("T"): lambda m: _python2_text(m, m.number(I32)),
    ord("U"): lambda m: _python2_text(m, m.byte()),
    ord("V"): lambda m: m.push(m.line().decode("raw-unicode-escape")),
    ord("X"): Machine.push_text,
    0x8C: lambda m: _short_text(m, m.byte()),
    0x8D: lambda m: _text(m, m.number(U64)),
    ord("B"): lambda m: m.push(m.take(m.number(U32))),
    ord("C"): lambda m: m.push(m.take(m.byte())),
    0x8E: lambda m: m.push(m.take(m.number(U64))),
    0x96: _bytearray,
    ord(")"): lambda m: m.push(()),
    ord("t"): Machine.make_tuple,
    0x85: lambda m: m.several(1),
    0x86: lambda m: m.several(2),
    0x87: lambda m: m.several(3),
    ord("]"): lambda m: m.make_container(Sequence("list")),
    ord("l"): lambda m: _new("list", m),
    0x8F: lambda m: m.make_container(Sequence("set")),
    0x91: lambda m: _new("frozenset", m),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_mark()),
    0x90: lambda m: m.add(m.pop_mark()),
    ord("}"): lambda m: m.make_container(Mapping()),
    ord("d"): _dict,
    ord("s"): _set_item,
    ord("u"): lambda m: m.set_items(m.pop_mark()),
    ord("p"): lambda m: m.put(numerals.place(m.line())),
    ord("q"): lambda m: m.put(m.byte()),
    ord("r"): lambda m: m.put(m.number(U32)),
    0x94: Machine.memoize,
    ord("g"): lambda m: m.get(numerals.place(m.line())),
    ord("h"): lambda m: m.get(m.byte()),
    ord("j"): lambda m: m.get(m.number(U32)),
    ord("c"): lambda m: m.find(m.line().decode(), m.line().decode()),
    0x93: Machine.stack_global,
    0x82: lambda m: _extension(m, m.byte()),
    0x83: lambda m: _extension(m, m.number(U16)),
    0x84: lambda m: _extension(m, m.number(I32)),
    ord("i"): Machine.inst,
    ord("o"): Machine.obj,
    0x81: Machine.new_object,
    0x92: _new_object_ex,
    ord("R"): Machine.reduce,
    ord("b"): Machine.build,
    ord("Q"): Machine.persistent,
}

#: Opcodes that torch's `weights_only` refuses, by name.
_REFUSED = {
    ord("0"): "POP", ord("1"): "POP_MARK", ord("2"): "DUP", ord("I"): "INT", ord("L"): "LONG",
    0x8B: "LONG4", ord("F"): "FLOAT", ord("S"): "STRING", ord("T"): "BINSTRING",
    ord("V"): "UNICODE", 0x8C: "SHORT_BINUNICODE", 0x8D: "BINUNICODE8", ord("B"): "BINBYTES",
    ord("C"): "SHORT_BINBYTES", 0x8E: "BINBYTES8", 0x96: "BYTEARRAY8", ord("l"): "LIST",
    0x91: "FROZENSET", 0x90: "ADDITEMS", ord("d"): "DICT", ord("p"): "PUT", ord("g"): "GET",
    0x94: "MEMOIZE", 0x93: "STACK_GLOBAL", ord("i"): "INST", ord("o"): "OBJ", 0x82: "EXT1",
    0x83: "EXT2", 0x84: "EXT4", 0x92: "NEWOBJ_EX", 0x95: "FRAME",
}  # fmt: skip


def _noted(step: Step, name: str) -> Step:
    def noted(machine: Machine) -> None:
        machine.note_refused(name)
        step(machine)

    return noted


def _step_of(code: int) -> Step:
    step = _STEPS.get(code, Machine.refuse)
    return _noted(step, _REFUSED[code]) if code in _REFUSED else step


#: A step for each byte that can be where an opcode is due.
TABLE = tuple(map(_step_of, range(256)))
