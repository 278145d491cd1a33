"""Each opcode does what pickle's own does, and nothing more."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct

import pytest

from shardctl.formats.limits import MAX_INTEGER_BYTES
from shardctl.formats.pickle.opcodes import TABLE
from shardctl.formats.pickle.values import Opaque, PickleCutShortError, PickleFaultError
from shardctl.formats.torch.unpickle import unpickle
from tests.corruption.hostile_pickles import TENSOR, text


def test_every_byte_has_a_step() -> None:
    """There are 256 steps, and only those bytes are read that are opcodes of pickle."""
    assert len(TABLE) == 256
    known = {ord(opcode.code) for opcode in pickletools.opcodes}
    for code in {*range(256)} - known:
        with pytest.raises(PickleFaultError, match=f"opcode 0x{code:02x}"):
            unpickle(b"\x80\x02" + bytes([code]) + b".")


@pytest.mark.parametrize("code", [0x97, 0x98])
def test_buffers_out_of_band_are_refused(code: int) -> None:
    """A pickle whose bytes are elsewhere is not one of a checkpoint."""
    with pytest.raises(PickleFaultError, match="is not one that a checkpoint needs"):
        unpickle(b"\x80\x05" + bytes([code]) + b".")


@pytest.mark.parametrize(("version", "known"), [(0, True), (5, True), (6, False), (255, False)])
def test_protocols_up_to_5_are_read(version: int, *, known: bool) -> None:
    """A newer protocol is refused, since it may have opcodes that are not known."""
    data = b"\x80" + bytes([version]) + b"N."
    if known:
        assert unpickle(data).root is None
    else:
        with pytest.raises(PickleFaultError, match=f"protocol {version} is not known"):
            unpickle(data)


def test_integers_of_64_bytes_are_the_longest() -> None:
    """The longest integer is read, and a longer or negative length is refused unread."""
    most = MAX_INTEGER_BYTES
    value = (1 << (8 * most - 1)) - 1
    data = value.to_bytes(most, "little", signed=True)
    assert unpickle(b"\x8a" + bytes([most]) + data + b".").root == value
    assert unpickle(b"\x8b" + struct.pack("<i", most) + data + b".").root == value
    for opcode in (
        b"\x8a" + bytes([most + 1]) + data + b"\0",
        b"\x8b" + struct.pack("<i", most + 1) + data + b"\0",
        b"\x8b" + struct.pack("<i", -1) + data,
        b"\x8b" + struct.pack("<i", (1 << 31) - 1),
    ):
        with pytest.raises(PickleFaultError, match="an integer of"):
            unpickle(opcode + b".")


@pytest.mark.parametrize("code", [b"\x8d", b"\x8e", b"\x96"])
def test_lengths_of_64_bits_are_compared_first(code: bytes) -> None:
    """Text and bytes of a huge length are cut short, and take no memory."""
    with pytest.raises(PickleCutShortError):
        unpickle(code + struct.pack("<Q", (1 << 64) - 1) + b"abc.")


def test_a_bytearray_is_only_named() -> None:
    """Its bytes are passed over."""
    root = unpickle(b"\x80\x05\x96" + struct.pack("<Q", 3) + b"abc.").root
    assert isinstance(root, Opaque)
    assert root.kind == "builtins.bytearray"


def test_extensions_are_names_of_a_registry() -> None:
    """A number of `copyreg` is a name to import, whatever its width."""
    for opcode in (b"\x82\x07", b"\x83\x07\0", b"\x84\x07\0\0\0"):
        assert unpickle(b"\x80\x02" + opcode + b".").globals == ("copyreg.extension 7",)


def test_keywords_of_an_object_are_its_parts() -> None:
    """NEWOBJ_EX takes a dict of keywords, which is kept where it holds anything."""
    head = b"\x80\x04cm\nC\n)"
    plain = unpickle(head + b"}\x92.").root
    assert isinstance(plain, Opaque)
    assert plain.parts == []
    given = unpickle(head + b"}" + text("w") + TENSOR + b"s\x92.").root
    assert isinstance(given, Opaque)
    assert len(given.parts) == 1
    with pytest.raises(PickleFaultError, match="without a dict of keyword arguments"):
        unpickle(head + b"N\x92.")


@pytest.mark.parametrize(
    "opcode",
    [
        b"\x8d" + struct.pack("<Q", 3) + b"abc", b"X" + struct.pack("<I", 3) + b"abc",
        b"\x8c\x03abc", b"\x8e" + struct.pack("<Q", 3) + b"abc", b"C\x03abc",
        b"B" + struct.pack("<I", 3) + b"abc", b"\x8a\x02\x00\xff", b"J\xfe\xff\xff\xff",
        b"\x8b" + struct.pack("<i", 2) + b"\x00\xff", b"M\xff\xff", b"K\xff", b"N",
        b"\x88", b"\x89", b"G" + struct.pack(">d", -1.5), b"K\x01\x85", b"K\x01N\x86",
        b"K\x01N\x88\x87", b"(K\x01Nt",
        b")", b"K\x01q\x05h\x05\x86", b"K\x01r\x05\0\0\0j\x05\0\0\0\x86", b"K\x01\x94h\x00\x86",
        b"K\x01p5\ng5\n\x86", b"K\x012\x86", b"N(K\x01K\x021", b"NK\x010",
    ],
)  # fmt: skip
def test_opcodes_of_plain_values(opcode: bytes) -> None:
    """Each opcode for plain values, the memo and the stack gives what pickle itself gives."""
    data = b"\x80\x04" + opcode + b"."
    expected = pickle.loads(data)
    root = unpickle(data).root
    assert root == expected
    assert type(root) is type(expected)


def test_what_weights_only_refuses_is_noted() -> None:
    """Opcodes that torch does not write, and calls of what a call gives, are noted, others not."""
    assert unpickle(b"\x80\x02}" + text("w") + TENSOR + b"s.").refused == ()
    assert unpickle(b"\x80\x04" + b"\x95" + struct.pack("<Q", 5) + b"\x8c\x01a\x94.").refused == (
        "FRAME",
        "SHORT_BINUNICODE",
        "MEMOIZE",
    )
    (call,) = unpickle(b"\x80\x02ctorch\ndevice\n)R)R.").refused
    assert call == "a call of what torch.device gives"


def test_the_refused_opcodes_are_those_of_torch() -> None:
    """Of the opcodes that are read, those are noted that torch's `weights_only` does not know."""
    from torch._weights_only_unpickler import Unpickler

    from shardctl.formats.pickle.opcodes import _REFUSED, _STEPS

    theirs = {}
    for opcode in pickletools.opcodes:
        code = opcode.code.encode("latin-1")
        try:
            Unpickler(io.BytesIO(b"\x80\x02" + code + bytes(16))).load()
        except Exception as error:  # of any class: the stack is empty
            if f"Unsupported operand {code[0]}" in str(error):
                theirs[ord(code)] = opcode.name
    assert {code: name for code, name in theirs.items() if code in _STEPS} == _REFUSED
