"""A file that goes along, as it is or with a few bytes replaced."""

from __future__ import annotations

from shardctl.commands.target.companion import Companion
from shardctl.planning.transform.config import Edit
from shardctl.testing.builders import materialise
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

EDITS = (Edit(0, 1, b""), Edit(2, 2, b"xyz"))


def test_the_same_contents() -> None:
    """Files are the same where size and every byte are, past the first piece that is compared."""
    store = MemoryStore()
    data = bytes(1024 * 1024) + b"end"
    for name, content in (
        ("a", data),
        ("b", data),
        ("c", data[:-1] + b"!"),
        ("d", data[:-1]),
        ("e", b""),
    ):
        put(store, name, content)
    assert Companion("a").is_same(store, store, "b")
    assert Companion("e").is_same(store, store, "e")
    assert not any(Companion("a").is_same(store, store, other) for other in "cde")


def test_an_edited_copy() -> None:
    """What is written is the file with its edits, and that is what it is compared with."""
    store = MemoryStore()
    put(store, "a", b"abcdef")
    companion = Companion("a", EDITS)
    wanted = b"bxyzef"
    layout = companion.layout(6)
    assert materialise(layout, {"a": b"abcdef"}) == wanted
    assert layout.nbytes == companion.nbytes(6) == len(wanted)
    for name, content, same in (("b", wanted, True), ("c", b"abcdef", False), ("d", b"", False)):
        put(store, name, content)
        assert companion.is_same(store, store, name) is same
