"""What torch's pickles call gives inert values, and what would change them is refused."""

from __future__ import annotations

import pytest

from shardctl.formats.limits import CONTAINER_WEIGHT
from shardctl.formats.pickle.interpreter import Interpreter
from shardctl.formats.pickle.values import (
    EmptyTensor,
    Mapping,
    Opaque,
    PickleFaultError,
    ViewRef,
)
from shardctl.formats.torch.unpickle import ZIP, unpickle
from shardctl.model import DTYPES
from tests.corruption.hostile_pickles import TENSOR, number, numbers, text


def root(body: bytes) -> object:
    """The root of a pickle."""
    return unpickle(b"\x80\x02" + body + b".").root


def call(name: str, *arguments: bytes) -> bytes:
    """A call of a name."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n(" + b"".join(arguments) + b"tR"


@pytest.mark.parametrize("kind", ["collections OrderedDict", "collections defaultdict"])
def test_dicts_of_known_classes_are_dicts(kind: str) -> None:
    """Items can be set on what the class, or its constructor, makes; the class is kept."""
    cls = b"c" + kind.replace(" ", "\n").encode() + b"\n"
    for made in (cls + b")R", cls + b")\x81"):
        found = root(made + text("w") + TENSOR + b"s")
        assert isinstance(found, Mapping)
        assert found.kind == kind.replace(" ", ".")
        assert isinstance(found.items["w"], ViewRef)


@pytest.mark.parametrize("how", [b")R", b")\x81"])
@pytest.mark.parametrize(
    "name", [b"collections\nOrderedDict", b"collections\ndefaultdict", b"m\nC"]
)
def test_what_a_call_makes_weighs_as_much_as_a_dict(name: bytes, how: bytes) -> None:
    """A container that a call gives costs as much as one of an opcode."""
    running = Interpreter(b"c" + name + b"\n" + how + b".", 0, ZIP, 1_000)
    running.run()
    assert running._weight == 1 + CONTAINER_WEIGHT


def test_a_factory_of_a_defaultdict_is_never_called() -> None:
    """The name of the factory is listed; a factory that is not a name makes an unknown object."""
    result = unpickle(b"\x80\x02" + call("collections defaultdict", b"cos\nsystem\n") + b".")
    assert isinstance(result.root, Mapping)
    assert "os.system" in result.globals
    found = root(call("collections defaultdict", text("x")))
    assert isinstance(found, Opaque)
    found = root(call("collections defaultdict", b"N", b"}"))
    assert isinstance(found, Opaque)
    assert len(found.parts) == 2


def test_pairs_used_again_and_again_are_refused() -> None:
    """An OrderedDict of one list of pairs from the memo, many times, is a bomb."""
    pairs = b"](" + b"".join(text(f"{number:04}") + b"N\x86" for number in range(50)) + b"eq\x00"
    one = b"ccollections\nOrderedDict\nq\x010" + pairs + b"0"
    again = b"h\x01h\x00\x85R0"
    assert root(one + again + b"N") is None
    with pytest.raises(PickleFaultError, match="again and again"):
        root(one + again * 50 + b"N")


def test_bytes_of_protocol_2() -> None:
    """A text that is encoded as Latin-1 is bytes; any other encoding is only named."""
    assert root(call("_codecs encode", text("\xff"), text("latin1"))) == b"\xff"
    for other in (text("utf8"), b"N"):
        assert isinstance(root(call("_codecs encode", text("a"), other)), Opaque)
    with pytest.raises(PickleFaultError, match="malformed"):
        root(call("_codecs encode", text("\u017c"), text("latin1")))


def test_a_text_encoded_again_and_again_is_refused() -> None:
    """One long text from the memo, made bytes many times, is a bomb."""
    one = b"c_codecs\nencode\nq\x000" + text("a" * 1_000) + b"q\x010" + text("latin1") + b"q\x020"
    again = b"h\x00h\x01h\x02\x86R0"
    assert root(one + again + b"N") is None
    with pytest.raises(PickleFaultError, match="again and again"):
        root(one + again * 10 + b"N")


def test_a_size_is_a_tuple_of_sizes() -> None:
    """`torch.Size` takes one tuple of numbers that are not negative."""
    assert root(call("torch Size", numbers((2, 3)))) == (2, 3)
    assert root(call("torch Size", b")")) == ()
    for wrong in ((number(-1) + b"\x85",), (b"\x88\x85",), (b"K\x01",), (), (b")", b")")):
        with pytest.raises(PickleFaultError, match=r"torch\.Size"):
            root(call("torch Size", *wrong))


@pytest.mark.parametrize("module", ["torch", "torch.cuda"])
def test_tensor_classes_of_old_torch(module: str) -> None:
    """Without arguments a class makes an empty tensor of its type; with one of its type, that one;
    anything else is only named, and may be a tensor.
    """
    empty = root(call(f"{module} HalfTensor"))
    assert isinstance(empty, EmptyTensor)
    assert (empty.kind, empty.dtype) == (f"{module}.HalfTensor", DTYPES["F16"])
    assert isinstance(root(call(f"{module} FloatTensor", TENSOR)), ViewRef)
    for made in (call(f"{module} HalfTensor", TENSOR), call(f"{module} FloatTensor", TENSOR, b"N")):
        found = root(made)
        assert isinstance(found, Opaque)
        assert found.shares_tensor


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
