"""The pickle machine: frames, numbers and texts of old protocols, keys, calls, and its notes."""

from __future__ import annotations

import pickle
import struct

import pytest

from shardctl.formats.pickle.scan import COMPUTED, count_opcodes, imported_names
from shardctl.formats.pickle.values import (
    EmptyTensor,
    Mapping,
    Opaque,
    PickleCutShortError,
    PickleFaultError,
    ViewRef,
)
from shardctl.formats.torch.unpickle import unpickle
from tests.corruption.hostile_pickles import TENSOR, number, numbers, persid, text


def frame(body: bytes, length: int | None = None) -> bytes:
    """A frame around opcodes; `length` is what it claims."""
    return b"\x95" + struct.pack("<Q", len(body) if length is None else length) + body


def test_frames_that_picklers_write() -> None:
    """One frame, several, an empty one, and opcodes between them are read."""
    assert unpickle(b"\x80\x04" + frame(b"K\x05.")).root == 5
    data = b"\x80\x04" + frame(b"(K\x05") + b"K\x06" + frame(b"") + frame(b"t.")
    assert unpickle(data).root == (5, 6)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + frame(b"B\x07\x01", 2) + b"\0\0" + b"x" * 300 + b".",
        b"\x80\x04" + frame(b"M\x01", 2) + b"\x01.",
        b"\x80\x04" + frame(b"(" + frame(b"N") + b"t."),
        b"\x80\x04" + frame(b"N.", 1_000),
        b"\x80\x04" + frame(b"N." + b"x" * 10),
        b"\x80\x04" + frame(b"ca\n", 3) + b"b\n.",
    ],
)
def test_frames_that_unpicklers_read_differently(data: bytes) -> None:
    """A frame that ends in an opcode, holds another, or ends apart from the pickle is refused."""
    with pytest.raises(PickleFaultError, match="frame") as caught:
        unpickle(data)
    if not isinstance(caught.value, PickleCutShortError):  # there the rest of the file is missing
        assert "save" not in caught.value.hint


@pytest.mark.parametrize(
    ("opcode", "value"),
    [
        (b"I7\n", 7), (b"I-7\n", -7), (b"I01\n", True), (b"I00\n", False), (b"L7L\n", 7),
        (b"L7\n", 7), (b"F1.5\n", 1.5), (b"F1e-05\n", 1e-05), (b"S'it''s'\n", "it''s"),
        (b'S"a\\n"\n', "a\n"), (b"S'\xc5\xbc'\n", "\u017c"), (b"T\x02\0\0\0\xc5\xbc", "\u017c"),
        (b"U\x02\xc5\xbc", "\u017c"), (b"V\\u017c\n", "\u017c"),
        (b"T\0\0\0\0", ""), (b"U\0", ""), (b"S''\n", ""), (b'S""\n', ""), (b"V\n", ""),
    ],
)  # fmt: skip
def test_old_spellings(opcode: bytes, value: object) -> None:
    """Numbers and 8-bit strings are read as the C unpickler reads them, strings as UTF-8."""
    root = unpickle(opcode + b".").root
    assert root == value
    assert type(root) is type(value)


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


@pytest.mark.parametrize(
    "opcode",
    [
        b"I010\n", b"I3L\n", b"I 3\n", b"I1_0\n", b"L010L\n", b"F1_0\n", b"F 1\n", b"F1e999\n",
        b"S 'a'\n", b"S'a' \n", b"S'a\"\n", b"S'\n", b"Sa\n", b"S'\xff'\n", b"U\x01\xff",
        b"T\xff\xff\xff\xff", b"(U\x02t.T\xf9\xff\xff\xff", b"Np1_0\n", b"Np-1\n",
    ],
)  # fmt: skip
def test_spellings_that_differ_are_refused(opcode: bytes) -> None:
    """What unpicklers read differently, or not at all, is refused; lengths never go back."""
    with pytest.raises(PickleFaultError):
        unpickle(opcode + b".")


def test_pop_takes_a_mark() -> None:
    """POP removes a mark that is on top, and never a value below an open one."""
    assert unpickle(b"\x80\x02N(0.").root is None
    with pytest.raises(PickleFaultError):
        unpickle(b"\x80\x02N(00.")  # the second takes the value: nothing is left for STOP
    assert unpickle(b"\x80\x02(N0t.").root == ()
    with pytest.raises(PickleFaultError, match="empty stack"):
        unpickle(b"\x80\x02N(2t.")
    with pytest.raises(PickleFaultError, match="empty stack"):
        unpickle(b"\x80\x02ctorch\nSize\nK\x02\x85\x85(R1.")  # the arguments are below the mark


def test_ordered_dicts_of_pairs() -> None:
    """An OrderedDict is made of a list or tuple of pairs, which are lists or tuples of two."""
    make = b"\x80\x02ccollections\nOrderedDict\n]("
    root = unpickle(make + text("a") + b"K\x01\x86](" + text("b") + b"K\x02ee\x85R.").root
    assert isinstance(root, Mapping)
    assert root.items == {"a": 1, "b": 2}
    pair = text("a") + b"K\x01\x86"
    root = unpickle(b"\x80\x02ccollections\nOrderedDict\n" + pair + b"\x85\x85R.").root
    assert isinstance(root, Mapping)
    assert root.items == {"a": 1}
    with pytest.raises(PickleFaultError, match="not pairs"):
        unpickle(b"\x80\x02ccollections\nOrderedDict\n]]\x86R.")
    for pair in (b"K\x01\x85", b"K\x01K\x02K\x03\x87", text("ab"), b"N"):
        with pytest.raises(PickleFaultError, match="not pairs"):
            unpickle(make + pair + b"e\x85R.")


def test_equal_keys_are_one() -> None:
    """1, True and 1.0 are one key, as are 0.0 and -0.0, also in tuples; the last value counts."""
    one, real = b"K\x01", b"G" + struct.pack(">d", 1.0)
    root = unpickle(b"\x80\x02}(" + one + b"K\x05\x88K\x06" + real + b"K\x07u.").root
    assert isinstance(root, Mapping)
    assert list(root.items.values()) == [7]
    pairs = b"(" + one + b"Nt" + b"K\x05" + b"(" + real + b"Nt" + b"K\x06"
    root = unpickle(b"\x80\x02}(" + pairs + b"u.").root
    assert isinstance(root, Mapping)
    assert list(root.items.values()) == [6]
    root = unpickle(b"\x80\x02}(" + one + b"K\x05" + text("1") + b"K\x06u.").root
    assert isinstance(root, Mapping)
    assert list(root.items.values()) == [5, 6]


def test_tensors_that_are_filled_afterwards() -> None:
    """A tensor of torch 0.3 is made empty and gets its storage, offset, size and strides once."""
    empty = b"\x80\x02ctorch\nFloatTensor\n)R"
    state = b"(" + persid() + b"K\x01" + numbers((1, 2)) + numbers((2, 1)) + b"tb"
    root = unpickle(empty + state + b".").root
    assert isinstance(root, EmptyTensor)
    assert root.view is not None
    assert (root.view.offset, root.view.shape, root.view.storage.key) == (1, (1, 2), "0")
    other = b"\x80\x02ctorch\nHalfTensor\n)R"
    for refused in (empty + state + state, empty + b"]b", empty + b"(NNNtb", other + state):
        with pytest.raises(PickleFaultError, match="the state of a tensor"):
            unpickle(refused + b".")


_BESIDE = b"}" + text("data") + TENSOR + b"s"
_PARAMETER = b"ctorch.nn.parameter\nParameter\n"
_FROM_TYPE = b"ctorch._tensor\n_rebuild_from_type_v2\n("
_REBUILD = b"ctorch._utils\n_rebuild_parameter\n"


def test_parameters_by_type() -> None:
    """A Parameter or Tensor by _rebuild_from_type_v2 is its tensor; other classes are named."""
    inner = b"(" + TENSOR + b"\x89}t"
    for plain in (_PARAMETER, b"ctorch\nTensor\n"):
        root = unpickle(b"\x80\x02" + _FROM_TYPE + _REBUILD + plain + inner + b"}tR.").root
        assert isinstance(root, ViewRef)
    root = unpickle(b"\x80\x02" + _FROM_TYPE + _REBUILD + b"cm\nSub\n" + inner + b"}tR.").root
    assert isinstance(root, Opaque)
    assert root.kind == "m.Sub"
    for state in (_BESIDE, b"K\x01", b"}K\x01Ns"):
        with pytest.raises(PickleFaultError):
            unpickle(b"\x80\x02" + _FROM_TYPE + _REBUILD + _PARAMETER + inner + state + b"tR.")


@pytest.mark.parametrize(
    "body",
    [
        TENSOR + b"}b", TENSOR + b"(NNNNtb", b"}}b", b"]}b", text("a") + b")R", b"K\x01)R",
        b"\x8f(K\x01e", b"](K\x01\x90", b"ctorch\nHalfTensor\n" + TENSOR + b"\x85R}b",
        b"}cbuiltins\nbytearray\n)RNs", b"}]Ns", b"ccollections\nOrderedDict\n)R}" + text("items")
        + b"Nsb",
    ],
)  # fmt: skip
def test_what_changes_tensors_or_fails_is_refused(body: bytes) -> None:
    """BUILD on a possible tensor, calls of values, and items of the wrong kind are faults."""
    with pytest.raises(PickleFaultError):
        unpickle(b"\x80\x02" + body + b".")


def test_flags_of_a_parameter_are_its_state() -> None:
    """A parameter of torch 0.3 gets whether it has a gradient, and its hooks; nothing else."""
    assert isinstance(unpickle(b"\x80\x02" + TENSOR + b"(\x88\x89Ntb.").root, ViewRef)
    for state in (b"(\x88\x89NNtb", b"(\x88\x89tb", b"(K\x01\x89Ntb", b"(\x88\x89K\x01tb"):
        with pytest.raises(PickleFaultError, match="BUILD"):
            unpickle(b"\x80\x02" + TENSOR + state + b".")


@pytest.mark.parametrize("state", [b"]", b"K\x01", b"(Ntb", b"}K\x01Ns"])
def test_attributes_of_an_ordered_dict_are_a_dict(state: bytes) -> None:
    """An OrderedDict gets its attributes by name, from a dict and from nothing else."""
    with pytest.raises(PickleFaultError):
        unpickle(b"\x80\x02ccollections\nOrderedDict\n)R" + state + b"b.")


def test_opcodes_of_a_part_are_counted() -> None:
    """An opcode that is cut short counts where more bytes follow; anything else spoils the sum."""
    part = b"\x80\x02}X\x05\0\0\0ab"
    assert count_opcodes(part, cut=True) == 3
    assert count_opcodes(part, cut=False) == 0
    assert count_opcodes(part + b"cde.", cut=False) == 4
    assert count_opcodes(b"\x80\x02\xff" + part, cut=True) == 0


def test_what_weights_only_refuses_is_noted() -> None:
    """Opcodes that torch does not write, and calls of what a call gives, are noted, others not."""
    assert unpickle(b"\x80\x02}" + text("w") + TENSOR + b"s.").refused == ()
    assert unpickle(b"\x80\x04" + frame(b"\x8c\x01a\x94.")).refused == (
        "FRAME",
        "SHORT_BINUNICODE",
        "MEMOIZE",
    )
    (call,) = unpickle(b"\x80\x02ctorch\ndevice\n)R)R.").refused
    assert call == "a call of what torch.device gives"


@pytest.mark.parametrize(
    ("call", "nbytes"),
    [
        (b"cbuiltins\nbytearray\n" + number(1 << 40) + b"\x85R", 1 << 40),
        (b"ctorch\nFloatTensor\n" + number(2**28) + b"\x85R", 2**30),
        (b"ctorch\nTensor\n" + number(2**20) + number(4) + b"\x86R", 2**24),
        (b"ctorch\nDoubleTensor\n" + number(2**20) + b"\x85\x85\x81", 2**23),
        (b"cnumpy\nndarray\n" + number(2**30) + b"\x85\x85R", 2**33),
    ],
)
def test_calls_that_allocate_by_a_number(call: bytes, nbytes: int) -> None:
    """The bytes that a call takes by a number are noted, with the name; small ones are not."""
    result = unpickle(b"\x80\x02" + call + b".")
    assert [made for _, made in result.allocations] == [nbytes]
    assert unpickle(b"\x80\x02cbuiltins\nbytearray\nK\x10\x85R.").allocations == ()


def test_names_of_broken_pickles() -> None:
    """The scan continues past faults and STOP, follows the memo, and says where it cannot."""
    assert imported_names(b"\x80\x02cos\nsystem\n00h\x09(iposix\nopen\n.ca\nb\n\xff") == (
        "os.system",
        "posix.open",
        "a.b",
    )
    memo = b"\x8c\x02os\x94\x8c\x06system\x940h\x000h\x00h\x01\x93."
    assert imported_names(b"\x80\x04" + memo) == ("os.system",)
    assert imported_names(b"\x80\x04N)\x93.") == (COMPUTED,)
    assert imported_names(b"\x82\x07.") == ("copyreg.extension 7",)
