"""Pickles that call one name, by the place of the call, the protocol, and the kind of file.

The call is `os.mkdir("CANARY")`: harmless, and visible where it runs. No pickle is given to a real
unpickler.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from tests.corruption.torch_cases import archive
from tests.support.legacy_files import MAGIC, PROTOCOL, SYSTEM, dump

NAME = "os.mkdir"


def _text(value: str, protocol: int) -> bytes:
    data = value.encode()
    if protocol == 0:
        return b"V" + data + b"\n"
    if protocol < 4:
        return b"X" + struct.pack("<I", len(data)) + data
    return b"\x8c" + bytes([len(data)]) + data


def payload(protocol: int) -> bytes:
    """The call, as a pickler of that protocol spells it."""
    argument = _text("CANARY", protocol)
    if protocol < 2:
        return b"cos\nmkdir\n(" + argument + b"tR"
    if protocol < 4:
        return b"cos\nmkdir\n" + argument + b"\x85R"
    return _text("os", protocol) + _text("mkdir", protocol) + b"\x93" + argument + b"\x85R"


def _empty(protocol: int, kind: str) -> bytes:
    """An empty dict or list."""
    if protocol:
        return b"}" if kind == "dict" else b"]"
    return b"(d" if kind == "dict" else b"(l"


def _in_dict(call: bytes, protocol: int) -> bytes:
    return _empty(protocol, "dict") + _text("x", protocol) + call + b"s"


#: By name: the opcodes between PROTO and STOP, of the call and the protocol.
POSITIONS: dict[str, Callable[[bytes, int], bytes]] = {
    "the root": lambda call, _: call,
    "a dict's value": _in_dict,
    "a dict's key": lambda call, protocol: _empty(protocol, "dict") + call + b"Ns",
    "a list's item": lambda call, protocol: _empty(protocol, "list") + call + b"a",
    "a tuple's item": lambda call, _: b"(" + call + b"t",
    "in a list in a dict": lambda call, protocol: _in_dict(
        _empty(protocol, "list") + call + b"a", protocol
    ),
    "a dict made by a call": lambda call, protocol: (
        b"ccollections\nOrderedDict\n(tR" + _text("x", protocol) + call + b"s"
    ),
    "a state": lambda call, _: b"ccollections\nOrderedDict\n(tR" + call + b"b",
    "thrown away": lambda call, protocol: call + b"0" + _empty(protocol, "dict"),
    "thrown away to a mark": lambda call, protocol: b"(" + call + b"1" + _empty(protocol, "dict"),
    "two values": lambda call, protocol: call + _empty(protocol, "dict"),
    "before a bad memo entry": lambda call, _: call + b"0g99\n",
    "before an empty stack": lambda call, _: call + b"00",
    "after a bad memo entry": lambda call, _: b"g99\n0" + call,
    "after a persistent id": lambda call, _: b"Pabc\n0" + call,
    "after a long text": lambda call, protocol: (
        b"(" + _text("y" * 200, protocol) + b"1" + _in_dict(call, protocol)
    ),
}


def pickled(position: str, protocol: int, *, framed: bool = False) -> bytes:
    """A whole pickle with the call at a position."""
    body = POSITIONS[position](payload(protocol), protocol) + b"."
    frame = b"\x95" + struct.pack("<Q", len(body)) if framed else b""
    return (bytes([0x80, protocol]) if protocol > 1 else b"") + frame + body


def _legacy(slot: int, data: bytes) -> bytes:
    """A legacy file of no storages with one of its five pickles replaced."""
    parts = [dump(MAGIC), dump(PROTOCOL), dump(SYSTEM), dump({}), dump([])]
    parts[slot] = data
    return b"".join(parts)


#: By name: a file around a pickle.
FILES: dict[str, Callable[[bytes], bytes]] = {
    "zip": archive,
    "raw": lambda data: data,
    "legacy magic": lambda data: _legacy(0, data),
    "legacy protocol": lambda data: _legacy(1, data),
    "legacy system": lambda data: _legacy(2, data),
    "legacy object": lambda data: _legacy(3, data),
    "legacy keys": lambda data: _legacy(4, data),
}


def structures() -> Iterator[tuple[str, str, int, bool]]:
    """Every file, position, protocol, and whether it is framed."""
    for file in FILES:
        for position in POSITIONS:
            for protocol in range(6):
                yield file, position, protocol, False
                if protocol >= 4:
                    yield file, position, protocol, True
