"""A state dict in memory is a checkpoint, or is refused with the names of what cannot be saved."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.errors import InputError

torch = pytest.importorskip("torch")


def held(state: Any, **how: Any) -> Any:
    """The checkpoint of a state dict, and the memory that it has."""
    from shardctl.torch.saving.held import held_checkpoint
    from shardctl.torch.saving.memory import Storages

    storages = Storages()
    how = {"drop_non_tensors": False, **how}
    _, checkpoint = held_checkpoint(state, storages, {"format": "pt"}, **how)
    return checkpoint, storages


def elements(tensor: Any, storages: Any) -> bytes:
    """The bytes of a contiguous tensor."""
    return bytes(storages.view(tensor.span.offset, tensor.span.length))


def test_tensors_are_views_of_one_file() -> None:
    """Names, types, shapes and places; tied tensors and views share a storage."""
    base = torch.arange(6, dtype=torch.int32)
    checkpoint, storages = held(
        {"a": base, "tied": base, "row": base[2:4], "t": base.view(2, 3).t()}
    )
    tensors = {each.name: each for each in checkpoint.tensors}
    assert len({each.storage.key for each in tensors.values()}) == 1
    assert (tensors["row"].offset, tensors["row"].shape) == (2, (2,))
    assert (tensors["t"].shape, tensors["t"].strides) == ((3, 2), (1, 3))
    assert elements(tensors["a"], storages) == base.numpy().tobytes()
    assert checkpoint.metadata == {"format": "pt"}


def test_what_a_lazy_view_shows_is_saved() -> None:
    """A conjugated or negated view has the numbers that it shows, not those in memory."""
    value = torch.tensor([1 + 2j], dtype=torch.complex64)
    checkpoint, storages = held({"c": value.conj()})
    (tensor,) = checkpoint.tensors
    assert elements(tensor, storages) == value.conj().resolve_conj().numpy().tobytes()


def test_pairs_of_four_bits_are_counted_as_two() -> None:
    """The shape is that of the elements."""
    packed = torch.zeros(3, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    checkpoint, _ = held({"p": packed})
    assert (checkpoint.tensors[0].dtype.name, checkpoint.tensors[0].shape) == ("F4", (3, 4))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.empty(2, device="meta"), "is on the meta device, and has no data"),
        (lambda: torch.eye(2).to_sparse(), "has the layout"),
        (
            lambda: torch.zeros(4, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)[:, :1],
            "less than a byte and is not contiguous",
        ),
    ],
)
def test_tensors_without_plain_data_are_refused(make: Any, words: str) -> None:
    """They are named with those of the dicts around them, before anything is saved."""
    with pytest.raises(InputError, match=r"cannot save: 'inner\.w' ") as caught:
        held({"sound": torch.ones(1), "inner": {"w": make()}}, key="inner")
    assert words in caught.value.message
    assert caught.value.code == "tensor-unread"


def test_memory_that_was_freed_is_noticed() -> None:
    """As FSDP leaves it: a tensor whose storage has no bytes any more."""
    freed = torch.ones(4)
    freed.untyped_storage().resize_(0)
    with pytest.raises(InputError, match="'w' has a storage whose memory was freed"):
        held({"w": freed})


def test_all_that_cannot_be_saved_is_counted() -> None:
    """Ten are named, and how many more there are."""
    meta = torch.empty(1, device="meta")
    with pytest.raises(InputError) as caught:
        held({f"t{number}\x1b": meta for number in range(12)})
    assert caught.value.message.count("meta device") == 10
    assert caught.value.message.endswith(", and 2 more")
    assert "\x1b" not in caught.value.message


def test_other_values_need_leave() -> None:
    """A value that is not a tensor is named, unless it may be dropped."""
    state = {"w": torch.ones(1), "step": 3}
    with pytest.raises(InputError):
        held(state)
    checkpoint, _ = held(state, drop_non_tensors=True)
    assert [each.name for each in checkpoint.tensors] == ["w"]


def test_another_metadata_is_another_plan() -> None:
    """The digest of the header covers it."""
    from shardctl.torch.saving.held import held_checkpoint
    from shardctl.torch.saving.memory import Storages

    digests = {
        held_checkpoint({"w": torch.ones(1)}, Storages(), metadata, drop_non_tensors=False)[1]
        .files[0]
        .header_sha256
        for metadata in ({}, {"a": "b"}, {"a": "c"})
    }
    assert len(digests) == 3
