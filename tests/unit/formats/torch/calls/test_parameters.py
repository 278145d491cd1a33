"""A parameter is its tensor; what it has beside that is not dropped without a word."""

from __future__ import annotations

import pytest

from shardctl.formats.pickle.values import EmptyTensor, Opaque, PickleFaultError, ViewRef
from shardctl.formats.torch.calls.parameters import TensorWithAttributes
from shardctl.formats.torch.unpickle import unpickle
from tests.corruption.hostile_pickles import TENSOR, numbers, persid, text


def root(body: bytes) -> object:
    """The root of a pickle."""
    return unpickle(b"\x80\x02" + body + b".").root


def call(name: str, *arguments: bytes) -> bytes:
    """A call of a name."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n(" + b"".join(arguments) + b"tR"


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("torch._utils _rebuild_parameter", (TENSOR, b"\x89", b"}")),
        ("torch._utils _rebuild_parameter_with_state", (TENSOR, b"\x89", b"}", b"N")),
        ("torch.nn.parameter Parameter", (TENSOR,)),
        ("torch.nn.parameter Parameter", (TENSOR, b"\x89")),
    ],
)
def test_a_parameter_is_its_tensor(function: str, arguments: tuple[bytes, ...]) -> None:
    """Each function gives the tensor, and refuses more arguments than it has."""
    assert isinstance(root(call(function, *arguments)), ViewRef)
    with pytest.raises(PickleFaultError, match="wrong number of arguments"):
        root(call(function, TENSOR, b"\x89", b"}", b"N", b"N"))


@pytest.mark.parametrize("value", [b"N", b"K\x01", b"}", persid(), b"ctorch\nSize\n)\x85R"])
def test_a_parameter_has_a_tensor(value: bytes) -> None:
    """Anything that cannot be a tensor is refused."""
    with pytest.raises(PickleFaultError, match="without a tensor"):
        root(call("torch._utils _rebuild_parameter", value, b"\x89", b"}"))


def test_a_gradient_of_whole_numbers_is_refused() -> None:
    """A parameter of integers cannot require a gradient, as a Parameter does by default."""
    longs = TENSOR.replace(b"FloatStorage", b"LongStorage")
    assert isinstance(root(call("torch.nn.parameter Parameter", longs, b"\x89")), ViewRef)
    for arguments in ((longs,), (longs, b"\x88")):
        with pytest.raises(PickleFaultError, match="requires_grad"):
            root(call("torch.nn.parameter Parameter", *arguments))


def test_a_parameter_of_an_unknown_class_of_tensor() -> None:
    """The object that it is made of stays an object, and is not taken for a plain tensor."""
    found = root(call("torch._utils _rebuild_parameter", call("m Sub", TENSOR), b"\x88", b"}"))
    assert isinstance(found, Opaque)
    assert found.kind == "m.Sub"


def test_a_parameter_that_is_filled_later() -> None:
    """An empty one is not a tensor until it has its state, and is that tensor then."""
    empty = call("torch.nn.parameter Parameter")
    assert isinstance(root(empty), EmptyTensor)
    with pytest.raises(PickleFaultError, match="without a tensor"):
        root(call("torch._utils _rebuild_parameter", empty, b"\x89", b"}"))
    state = b"(" + persid() + b"K\x00" + numbers((4,)) + numbers((1,)) + b"tb"
    filled = call("torch FloatTensor") + state
    assert isinstance(root(call("torch._utils _rebuild_parameter", filled, b"\x89", b"}")), ViewRef)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (b"K\x01", True),
        (text("a"), True),
        (b"N", True),
        (TENSOR, False),
        (b"]", False),
        (b"}", False),
        (b")", False),
    ],
)
def test_attributes_of_a_parameter(value: bytes, *, plain: bool) -> None:
    """Attributes that are plain values are left out; any in which a tensor may be are kept."""
    state = b"}" + text("tag") + value + b"s"
    found = root(call("torch._utils _rebuild_parameter_with_state", TENSOR, b"\x89", b"}", state))
    if plain:
        assert isinstance(found, ViewRef)
    else:
        assert isinstance(found, TensorWithAttributes)
        assert isinstance(found.parts[0], ViewRef)
        assert found.shares_tensor
        assert len(found.parts) == 2


def test_a_tensor_by_type_is_not_nested() -> None:
    """A tensor with attributes is not made of another one, nor of something else."""
    tensor = b"ctorch\nTensor\n"
    from_type = "torch._tensor _rebuild_from_type_v2"
    inner = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    with pytest.raises(PickleFaultError, match="made of another one"):
        root(call(from_type, inner, tensor, b")", b"}"))
    with pytest.raises(PickleFaultError, match="not a tensor"):
        root(call(from_type, b"ctorch\nSize\n", tensor, b")\x85", b"}"))
    for wrong in ((b"N", tensor, b"]", b"}"), (b"N", tensor, b")")):
        with pytest.raises(PickleFaultError, match="malformed"):
            root(call(from_type, *wrong))


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
