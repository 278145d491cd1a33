"""The names that a pickle would import are found however broken it is."""

from __future__ import annotations

import pickle
import struct

import pytest

from shardctl.formats.limits import MAX_NAME
from shardctl.formats.pickle.scan import COMPUTED, count_opcodes, imported_names


class Evil:
    """An object whose pickle names a function."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("x",))


@pytest.mark.parametrize("protocol", range(6))
def test_a_name_is_found_in_every_protocol(protocol: int) -> None:
    """However a pickler spells a name, it is listed; once, where it is used again."""
    names = imported_names(
        pickle.dumps([Evil(), Evil(), b"bytes", "text", 1.5, -1, 1 << 90], protocol)
    )
    module = "__builtin__" if protocol < 3 else "builtins"
    assert [name for name in names if "codecs" not in name and "bytes" not in name] == [
        f"{module}.print"
    ]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value", [{"a": [1, (2.5, None)], "b": {True}}, [], "", 0, {"k" * 300: b"v" * 300}]
)
def test_values_that_name_nothing_have_no_names(value: object, protocol: int) -> None:
    """Opcodes with arguments of every form are passed over, and no text is taken for a name."""
    names = imported_names(pickle.dumps(value, protocol))
    assert all(name.split(".")[0] in ("__builtin__", "_codecs", "builtins") for name in names)


def test_a_name_after_a_fault_of_the_stack_is_found() -> None:
    """What a machine would refuse before it does not hide what comes after."""
    for before in (b"0", b"t", b"R", b"b", b"s", b"h\x09", b"Q", b"\x93"):
        assert "os.system" in imported_names(before + b"cos\nsystem\n.")


def test_bytes_that_are_no_opcode_end_the_search() -> None:
    """After such bytes nothing is known; what came before is listed."""
    assert imported_names(b"ca\nb\n\xffcc\nd\n.") == ("a.b",)
    assert imported_names(b"ca\nb\nX\xff\xff\xff\xffcc\nd\n.") == ("a.b",)
    assert imported_names(b"ca\nb\nT\xff\xff\xff\xffcc\nd\n.") == ("a.b",)


def test_pickles_one_after_another_are_searched() -> None:
    """Five pickles are, as in torch's legacy files, each with a separate memo."""
    one = b"ca\nb\n."
    data = b"".join(one.replace(b"a", bytes([97 + number])) for number in range(6))
    assert imported_names(data) == ("a.b", "b.b", "c.b", "d.b", "e.b")
    memo = b"\x8c\x02os\x94\x8c\x06system\x94.h\x00h\x01\x93."
    assert imported_names(memo) == (COMPUTED,)


def test_a_start_leaves_out_what_is_before() -> None:
    """The search begins at the offset that is given."""
    data = b"ca\nb\n.cc\nd\n."
    assert imported_names(data, 6) == ("c.d",)


def test_texts_of_every_opcode_can_be_names() -> None:
    """STACK_GLOBAL takes texts as each opcode spells them, also from the memo."""
    spelled = [
        b"X\x02\0\0\0os", b"T\x02\0\0\0os", b"U\x02os", b"\x8c\x02os",
        b"\x8d" + struct.pack("<Q", 2) + b"os", b"S'os'\n", b"Vos\n",
    ]  # fmt: skip
    for module in spelled:
        assert imported_names(module + b"\x8c\x06system\x93.") == ("os.system",)
    for put, get in ((b"p3\n", b"g3\n"), (b"q\x03", b"h\x03"), (b"r\3\0\0\0", b"j\3\0\0\0")):
        data = b"U\x02os" + put + b"0" + get + b"U\x06system\x93."
        assert imported_names(data) == ("os.system",)


@pytest.mark.parametrize("module", [b"S'o\\x73'\n", b"Vo\\u0073\n"])
def test_escaped_texts_are_names(module: bytes) -> None:
    """STACK_GLOBAL takes what the escapes of protocol 0 stand for."""
    assert imported_names(module + b"U\x06system\x93.") == ("os.system",)


_DECOY, _NAME = b"U\x0bcollections", b"U\x02os"


@pytest.mark.parametrize(
    "filled",
    [
        _DECOY + b"q\x000" + _NAME + b"p 0\n0h\x00",
        _DECOY + b"q\x000" + _NAME + b"p+0\n0h\x00",
        _DECOY + b"q\x000" + _NAME + b"p0\0\n0h\x00",
        _DECOY + b"q\x000" + _NAME + b"p%021d\n0h\x00" % 0,
        _DECOY + b"q\x05q\x010" + _NAME + b"\x94h\x02",
        _DECOY + b"q\x01q\x000" + _NAME + b"\x94h\x02",
        _DECOY + b"q\x000" + _NAME + b"q\x000h\x00",
    ],
)
def test_a_recalled_text_is_the_one_that_an_unpickler_recalls(filled: bytes) -> None:
    """Where a place of the memo is spelled or counted oddly, no other text is taken for it."""
    assert imported_names(filled + b"U\x06system\x93.") in (("os.system",), (COMPUTED,))


def test_a_place_that_is_filled_again_is_counted_once() -> None:
    """MEMOIZE fills the place after those that are filled, however often each was."""
    data = b"U\x01aq\x00q\x00" + _DECOY + b"\x940" + _NAME + b"\x940h\x02U\x06system\x93."
    assert imported_names(data) == ("os.system",)


@pytest.mark.parametrize(
    "module", [b"B\x02\0\0\0os", b"K\x01", b")", b"U\x01oU\x01s\x86", b"U\x02osR"]
)
def test_a_name_that_is_made_is_not_known(module: bytes) -> None:
    """Where a part of the name is not plain text, that is what is listed."""
    assert imported_names(b"N" + module + b"U\x06system\x93.") == (COMPUTED,)


def test_a_duplicated_text_is_a_name() -> None:
    """DUP gives the text again."""
    assert imported_names(b"U\x02os2\x93.") == ("os.os",)


def test_marks_are_followed() -> None:
    """What opcodes take down to a mark does not stay to be taken for a name."""
    for closed in (b"(NNt0", b"(NN1", b"](NNe0", b"}(NNu0", b"(NNl0", b"(0", b"(NN\x910"):
        data = b"U\x02os" + closed + b"U\x06system\x93."
        assert imported_names(data) == ("os.system",), closed


def test_long_names_are_cut() -> None:
    """A name of any length is listed by its first characters."""
    (name,) = imported_names(b"c" + b"m" * 5_000 + b"\n" + b"n" * 5_000 + b"\n.")
    assert name == "m" * MAX_NAME + "." + "n" * MAX_NAME


def test_a_name_that_is_not_utf_8_is_shown() -> None:
    """Its bytes are escaped."""
    assert imported_names(b"ca\xff\nb\n.") == ("a\\xff.b",)


def test_a_flood_of_names_ends() -> None:
    """Ten thousand names are listed, and no more."""
    data = b"".join(b"ca\n%d\n0" % number for number in range(10_010))
    assert len(imported_names(data)) == 10_000


def test_only_whole_pickles_are_counted() -> None:
    """Opcodes up to STOP count; where there is none, only if more bytes follow."""
    assert count_opcodes(b"N.", cut=False) == 2
    assert count_opcodes(b"N.N.", cut=False) == 2
    assert count_opcodes(b"NN", cut=False) == 0
    assert count_opcodes(b"NN", cut=True) == 2
    assert count_opcodes(b"", cut=True) == 0


def test_opcodes_of_a_part_are_counted() -> None:
    """An opcode that is cut short counts where more bytes follow; anything else spoils the sum."""
    part = b"\x80\x02}X\x05\0\0\0ab"
    assert count_opcodes(part, cut=True) == 3
    assert count_opcodes(part, cut=False) == 0
    assert count_opcodes(part + b"cde.", cut=False) == 4
    assert count_opcodes(b"\x80\x02\xff" + part, cut=True) == 0


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
