"""BUILD gives a state only to what has one, and never changes a tensor that is read."""

from __future__ import annotations

import pytest

from shardctl.formats.pickle.machine import Machine
from shardctl.formats.pickle.values import EmptyTensor, Mapping, Opaque, PickleFaultError, ViewRef
from shardctl.formats.torch.calls.state import RESERVED_ATTRIBUTES, attributes_of, build
from shardctl.formats.torch.unpickle import ZIP, unpickle
from shardctl.model import DTYPES
from tests.corruption.hostile_pickles import TENSOR, numbers, persid, text


def machine() -> Machine:
    """A machine of no bytes."""
    return Machine(b"", 0, ZIP, 1_000)


def test_the_state_of_an_unknown_object_is_a_part_of_it() -> None:
    """A tensor in the state is found there."""
    target, state = Opaque("m.C"), Mapping()
    build(machine(), target, state)
    assert target.parts == [state]


@pytest.mark.parametrize("kind", ["torch.device", "builtins.complex", "torch.Size"])
def test_objects_that_torch_knows_have_no_state(kind: str) -> None:
    """Only classes that `weights_only` refuses may have any state, and a Counter."""
    with pytest.raises(PickleFaultError, match="has no state"):
        build(machine(), Opaque(kind), Mapping())
    build(machine(), Opaque("collections.Counter"), Mapping())


def test_an_object_that_holds_a_tensor_is_not_changed() -> None:
    """The object may be the tensor."""
    target = Opaque("m.C", [], shares_tensor=True)
    with pytest.raises(PickleFaultError, match="holds a tensor"):
        build(machine(), target, Mapping())
    assert target.parts == []


@pytest.mark.parametrize("name", [*sorted(RESERVED_ATTRIBUTES), "__class__", "__", 1, None])
def test_attributes_that_change_a_tensor_are_refused(name: object) -> None:
    """No attribute that torch itself sets, or that Python looks up, is set by a file."""
    for state in (Mapping(items={name: 1}), (None, Mapping(items={name: 1}))):
        with pytest.raises(PickleFaultError, match="gives it other values, or is not text"):
            attributes_of(machine(), state)


def test_other_attributes_are_returned() -> None:
    """Their values come from the one dict, or from both of a pair of states."""
    one, two = Mapping(items={"a": 1, "_b": 2}), Mapping(items={"c": 3})
    assert attributes_of(machine(), one) == [1, 2]
    assert attributes_of(machine(), (one, two)) == [1, 2, 3]
    assert attributes_of(machine(), None) == attributes_of(machine(), (None, None)) == []
    for state in ((one, two, one), (one,), 1, [one]):
        with pytest.raises(PickleFaultError, match="not a dict"):
            attributes_of(machine(), state)


def test_attributes_of_an_ordered_dict_are_kept() -> None:
    """Tensors are looked for there; an empty state adds nothing, and a method is not replaced."""
    target, state = Mapping("collections.OrderedDict"), Mapping(items={"_metadata": 1})
    build(machine(), target, Mapping())
    assert target.attributes is None
    build(machine(), target, state)
    build(machine(), target, state)
    assert target.attributes == [state, state]
    for name in ("items", "__getitem__", "move_to_end", 1):
        with pytest.raises(PickleFaultError, match="replaces a method, or is not text"):
            build(machine(), target, Mapping(items={name: 1}))
    with pytest.raises(PickleFaultError, match="no state"):
        build(machine(), Mapping(), state)


def test_the_state_of_a_variable() -> None:
    """A parameter of torch 0.3 has five values, of which the first is its tensor; where it is no
    parameter, `weights_only` refuses that, and it is noted.
    """
    state = b"(" + TENSOR + b"NNNNtb."
    result = unpickle(b"\x80\x02ctorch.nn.parameter\nParameter\n)R" + state)
    assert isinstance(result.root, EmptyTensor)
    assert isinstance(result.root.view, ViewRef)
    assert result.refused == ()
    other = unpickle(b"\x80\x02ctorch\nFloatTensor\n)R" + state)
    assert other.refused == ("BUILD with the state of a Variable",)
    four = b"(" + persid() + b"K\x00" + numbers((4,)) + numbers((1,)) + b"tb."
    with pytest.raises(PickleFaultError, match="the state of a tensor"):
        unpickle(b"\x80\x02ctorch.nn.parameter\nParameter\n)R" + four)


def test_an_empty_tensor_is_no_state() -> None:
    """A tensor cannot be filled with one that is empty itself."""
    empty = EmptyTensor("torch.FloatTensor", DTYPES["F32"])
    target = EmptyTensor("torch.FloatTensor", DTYPES["F32"])
    with pytest.raises(PickleFaultError, match="the state of a tensor"):
        build(machine(), target, (empty, None, None, None, None))
    assert target.view is None


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
