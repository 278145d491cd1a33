"""A torch file with the plain values in it, such as numbers and texts, which a tree only names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardctl.findings import Report
from shardctl.formats.detection import read_file, recognise_file
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.torch.legacy import TorchLegacyReader
from shardctl.formats.torch.tree.tree import build_tree
from shardctl.formats.torch.zip.reader import TorchZipReader
from shardctl.model import File, Tree
from shardctl.stores.base import Reader


@dataclass(frozen=True, slots=True)
class Contents:
    """A torch file, and the root of its pickle: inert values, as `formats.pickle.values` has them.

    The root of a file of another format is None.
    """

    file: File
    root: object = None


def read_contents(reader: Reader, report: Report) -> Contents | None:
    """Read the header of a file, and keep the values of a torch file.

    Everything wrong goes to `report`; None where nothing usable is left.
    """
    roots: list[object] = []

    def tree_of(pickled: Unpickled, *rest: Any) -> Tree:
        roots.append(pickled.root)
        return build_tree(pickled, *rest)

    found = recognise_file(reader)
    if isinstance(found, TorchZipReader | TorchLegacyReader):
        file = found.read_as(reader, report, tree_of)
    else:
        file = read_file(reader, report)
    return None if file is None else Contents(file, *roots)
