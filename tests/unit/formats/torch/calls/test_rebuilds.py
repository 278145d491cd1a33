"""A tensor is rebuilt from exactly what torch rebuilds it from."""

from __future__ import annotations

import pytest

from shardctl.formats.hazards import LAZY
from shardctl.formats.limits import MAX_FLAGS
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import Opaque, PickleFaultError, UnknownTensor, ViewRef
from shardctl.formats.torch.unpickle import unpickle
from tests.corruption.hostile_pickles import TENSOR, numbers, persid, text

LONGS = persid(kind="ctorch\nLongStorage\n")
UNTYPED = persid(kind="ctorch.storage\nUntypedStorage\n", numel=16)
WHERE = b"K\x00" + numbers((4,)) + numbers((1,))


def rebuilt(function: str, *arguments: bytes, module: str = "torch._utils") -> Unpickled:
    """What a function of torch gives."""
    name = f"c{module}\n{function}\n".encode()
    return unpickle(b"\x80\x02" + name + b"(" + b"".join(arguments) + b"tR.")


@pytest.mark.parametrize(
    ("function", "arguments", "sound"),
    [
        ("_rebuild_tensor", (), {4}),
        ("_rebuild_tensor_v2", (b"\x89", b"}", b"N"), {6, 7}),
        ("_rebuild_tensor_v3", (b"\x89", b"}", b"ctorch\nfloat32\n", b"N"), {7, 8}),
    ],
)
def test_the_number_of_arguments_is_that_of_torch(
    function: str, arguments: tuple[bytes, ...], sound: set[int]
) -> None:
    """One argument too few or too many is refused."""
    given = (persid(), b"K\x00", numbers((4,)), numbers((1,)), *arguments, b"N", b"N")
    for count in range(3, len(given) + 1):
        if count in sound:
            assert isinstance(rebuilt(function, *given[:count]).root, ViewRef)
        else:
            with pytest.raises(PickleFaultError, match="wrong number of arguments"):
                rebuilt(function, *given[:count])


@pytest.mark.parametrize(
    ("storage", "gradient", "sound"),
    [
        (persid(), b"\x88", True),
        (persid(), b"\x89", True),
        (persid(), b"K\x01", False),
        (persid(), b"N", False),
        (LONGS, b"\x89", True),
        (LONGS, b"\x88", False),
    ],
)
def test_gradients_are_of_floats_only(storage: bytes, gradient: bytes, *, sound: bool) -> None:
    """`requires_grad` is a boolean, and true of floating numbers only, as torch has it."""
    if sound:
        assert isinstance(
            rebuilt("_rebuild_tensor_v2", storage, WHERE, gradient, b"}").root, ViewRef
        )
    else:
        with pytest.raises(PickleFaultError, match="requires_grad"):
            rebuilt("_rebuild_tensor_v2", storage, WHERE, gradient, b"}")


@pytest.mark.parametrize("value", [b"\x88", b"\x89"])
@pytest.mark.parametrize("flag", ["conj", "neg"])
def test_pending_changes_are_not_dropped(flag: str, value: bytes) -> None:
    """A tensor that torch would conjugate or negate on loading is not a plain one, whatever the
    flag's value.
    """
    flags = b"}" + text(flag) + value + b"s"
    found = rebuilt("_rebuild_tensor_v2", persid(), WHERE, b"\x89", b"}", flags).root
    assert isinstance(found, Opaque)
    assert found.kind == f"{LAZY} ({flag})"
    assert found.shares_tensor
    assert isinstance(found.parts[0], ViewRef)


def test_flags_that_say_nothing() -> None:
    """None and an empty dict leave the tensor as it is; other values, and floods, are refused."""
    for flags in (b"N", b"}"):
        made = rebuilt("_rebuild_tensor_v2", persid(), WHERE, b"\x89", b"}", flags)
        assert isinstance(made.root, ViewRef)
    most, flood = (
        b"}(" + b"".join(text(str(n)) + b"N" for n in range(count)) + b"u"
        for count in (MAX_FLAGS, MAX_FLAGS + 1)
    )
    many = rebuilt("_rebuild_tensor_v2", persid(), WHERE, b"\x89", b"}", most)
    assert isinstance(many.root, Opaque)
    for flags in (b"]", b"K\x01", flood):
        with pytest.raises(PickleFaultError, match="flags are malformed"):
            rebuilt("_rebuild_tensor_v2", persid(), WHERE, b"\x89", b"}", flags)


def test_a_dtype_beside_an_untyped_storage() -> None:
    """`_rebuild_tensor_v3` takes the type from its argument; an unknown one is named."""
    view = rebuilt("_rebuild_tensor_v3", UNTYPED, WHERE, b"\x89", b"}", b"ctorch\nuint32\n").root
    assert isinstance(view, ViewRef)
    assert view.dtype.name == "U32"
    for name in ("torch\nqint8", "other\nfloat32", "torch.sub\nfloat32"):
        dtype = f"c{name}\n".encode()
        unknown = rebuilt("_rebuild_tensor_v3", UNTYPED, WHERE, b"\x89", b"}", dtype).root
        assert isinstance(unknown, UnknownTensor)
        assert unknown.dtype == name.replace("\n", ".")
    with pytest.raises(PickleFaultError, match="without a type"):
        rebuilt("_rebuild_tensor_v2", UNTYPED, WHERE, b"\x89", b"}")


def test_a_gradient_that_no_torch_loads_is_noted() -> None:
    """`_rebuild_tensor_v3` with a gradient fails in every torch, and that is said."""
    dtype = b"ctorch\nfloat32\n"
    plain = rebuilt("_rebuild_tensor_v3", UNTYPED, WHERE, b"\x89", b"}", dtype)
    assert plain.refused == ()
    noted = rebuilt("_rebuild_tensor_v3", UNTYPED, WHERE, b"\x88", b"}", dtype)
    assert isinstance(noted.root, ViewRef)
    assert "requires_grad" in noted.refused[0]


def device_tensor(*arguments: bytes) -> object:
    """A tensor that was saved from another device."""
    return rebuilt("_rebuild_device_tensor_from_cpu_tensor", *arguments).root


def test_a_tensor_of_another_device() -> None:
    """It is its tensor of the CPU; where it would be of another type, or without data, it is only
    named, and may be that tensor.
    """
    float32, cpu, grad = b"ctorch\nfloat32\n", text("xla:0"), b"\x89"
    assert isinstance(device_tensor(TENSOR, float32, cpu, grad), ViewRef)
    for changed in (
        (TENSOR, b"ctorch\nfloat16\n", cpu, grad),
        (TENSOR, text("torch.float32"), cpu, grad),
        (TENSOR, float32, text("meta"), grad),
        (text("a"), float32, cpu, grad),
    ):
        found = device_tensor(*changed)
        assert isinstance(found, Opaque)
        assert found.shares_tensor
    for wrong in ((TENSOR, float32, cpu), (TENSOR, float32, cpu, b"N")):
        with pytest.raises(PickleFaultError):
            device_tensor(*wrong)


def test_tensors_of_an_npu() -> None:
    """torch_npu adds a format to the six arguments, and nothing else."""
    module = "torch_npu.utils.storage"
    given = (persid(), WHERE, b"\x89", b"}")
    found = rebuilt("_rebuild_npu_tensor", *given, b"K\x02", module=module).root
    assert isinstance(found, ViewRef)
    for wrong in (given, (*given, b"K\x02", b"N")):
        with pytest.raises(PickleFaultError, match="wrong number"):
            rebuilt("_rebuild_npu_tensor", *wrong, module=module)
