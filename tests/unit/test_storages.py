"""Which tensors share a storage, and where its checksum is compared."""

from __future__ import annotations

from dataclasses import replace

from shardctl.layout import LayoutBuilder, pieces_of
from shardctl.model import DTYPES, Assembled, Box, Cast, Extent, Storage, Tensor, made_tensor
from shardctl.storages import by_file, checked_once, own_storage, sources_of, tied_names
from tests.support.tensors import floats

F32 = DTYPES["F32"]
#: A storage of 8 elements with a checksum.
STORAGE = Storage(Extent("f", 0, 32), "0", crc32=7)


def view(name: str, elements: int, offset: int = 0, storage: Storage = STORAGE) -> Tensor:
    """A tensor of one dimension that is part of a storage."""
    return Tensor(name, F32, (elements,), storage, offset)


def recorded(tensor: Tensor) -> list[int | None]:
    """The checksums that writing a tensor would compare."""
    return [source.storage.recorded.crc32 for source in sources_of(tensor)]


def test_the_tensors_of_a_file_need_not_be_neighbours() -> None:
    """Files come in the order of their first tensors, each once, and ties are found in them."""
    other = Storage(Extent("g", 0, 16), "0")
    tensors = [view("a", 4), view("b", 4, 0, other), view("c", 2, 4), view("d", 4)]
    assert [[each.name for each in held] for held in by_file(tensors)] == [["a", "c", "d"], ["b"]]
    assert list(tied_names(tensors)) == [["a", "d"]]


def test_a_checksum_is_compared_for_the_first_file_only() -> None:
    """Views, cut ones, and what is made of them leave it to the file before."""
    cut = own_storage(view("cut", 2, 2))
    made = made_tensor(
        "made", F32, (4,), Assembled((4,), (Box((0,), view("", 3)), Box((3,), floats("", 1)))), "m"
    )
    cast = made_tensor("cast", DTYPES["F16"], (2,), Cast(view("", 2)), "c")
    first, second = checked_once([[view("a", 4), cut], [view("b", 4), cut, made, cast]])
    assert [recorded(tensor) for tensor in first] == [[7], [7]]
    assert [recorded(tensor) for tensor in second] == [[None], [None], [None, None], [None]]
    for before, after in zip([view("b", 4), cut, made, cast], second, strict=True):
        assert pieces_of(before) == pieces_of(after)
        assert before.identity == after.identity


def test_a_file_compares_what_no_file_before_did() -> None:
    """Each storage is left out only after a file that compares it."""
    other = replace(STORAGE, key="1", crc32=8)
    files = list(checked_once([[view("a", 4)], [view("b", 4, 0, other)], [view("c", 4, 4, other)]]))
    assert [recorded(tensor) for (tensor,) in files] == [[7], [8], [None]]


def test_a_whole_storage_keeps_its_checksum() -> None:
    """What is written with its checksum needs it, and nothing is taken from what has none."""
    whole, plain = view("a", 8), floats("p", 4)
    files = list(checked_once([[view("b", 4)], [whole, plain]]))
    assert files[1] == (whole, plain)
    assert files[1][0] is whole


def test_one_check_for_several_files() -> None:
    """The layouts of all files together have one check of a storage."""
    checks = 0
    for tensors in checked_once([[view("a", 2)], [view("b", 2, 2)], [view("c", 2, 4)]]):
        builder = LayoutBuilder()
        for tensor in tensors:
            builder.check(tensor)
        checks += len(builder.build().pieces)
    assert checks == 1
