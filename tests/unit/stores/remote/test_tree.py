"""Files by their paths, seen as directories."""

from __future__ import annotations

from shardctl.model import Version
from shardctl.stores.base import Entry
from shardctl.stores.remote.tree import Tree

TREE = Tree(
    {
        "config.json": Version(2, "a"),
        "unet/model.safetensors": Version(100, "b"),
        "unet/deep/x.bin": Version(7, "c"),
        "unet2/y.bin": Version(8, "d"),
    }
)


def test_what_is_in_a_directory() -> None:
    """Files have their sizes, and what has more below it is a directory, once."""
    assert TREE.entries("") == [
        Entry("config.json", "file", None, 2),
        Entry("unet", "directory", None, 0),
        Entry("unet2", "directory", None, 0),
    ]
    assert TREE.entries("unet") == [
        Entry("model.safetensors", "file", None, 100),
        Entry("deep", "directory", None, 0),
    ]
    assert TREE.entries("unet/deep") == [Entry("x.bin", "file", None, 7)]


def test_where_nothing_is() -> None:
    """A file, the beginning of a name, and what does not exist hold nothing."""
    assert [TREE.entries(path) for path in ("config.json", "un", "vae", "unet/model")] == [[]] * 4
