"""Which files several processes saved together, by the names in a directory alone.

Source of the names: `filesystem.py` and `_hf_utils.py` of `torch/distributed/checkpoint`, torch
2.13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shardctl.errors import InputError
from shardctl.formats.dcp.format import DCP, METADATA
from shardctl.formats.registry import all_suffixes, promised_by
from shardctl.naming import parse_weights_name
from shardctl.stores.base import Store
from shardctl.text import escape

#: How processes save: "metadata" is a file that says where every slice is.
Layout = Literal["metadata"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Divided:
    """What several processes saved: `files` are the paths that the names tell, in order."""

    layout: Layout
    files: tuple[str, ...]
    suffix: str
    notes: tuple[str, ...] = ()


def is_piece(name: str) -> bool:
    """Whether a file of that name is of use only together with others, whatever is beside it."""
    promised = promised_by(name)
    return name == METADATA or (promised is not None and promised.is_in_pieces)


def divided_in(store: Store, directory: str) -> Divided | None:
    """Return what several processes saved in a directory; None where there is no such thing.

    Checkpoints beside it, which other programs would load, are named in a note.
    """
    found = _divided(store, directory, store.kind(store.join(directory, METADATA)) == "file")
    if found is None:
        return None
    own = {store.split(path)[1] for path in found.files}
    others = [
        entry.name
        for entry in store.list(directory)
        if entry.name not in own and _is_known(entry.name)
    ]
    return replace(found, notes=tuple(_beside(directory, sorted(others))))


def divided_with(store: Store, directory: str, name: str) -> Divided | None:
    """Return the checkpoint that a file belongs to, where it means nothing alone; else None.

    Raises InputError for a piece that says nothing of the others.
    """
    if name == METADATA:
        return _divided(store, directory, has_metadata=True)
    if is_piece(name):
        raise _alone(store, directory, name)
    return None


def _divided(store: Store, directory: str, has_metadata: bool) -> Divided | None:
    if has_metadata:
        return Divided("metadata", (store.join(directory, METADATA),), DCP.suffix)
    return None


def _is_known(name: str) -> bool:
    parsed = parse_weights_name(name, all_suffixes())
    return parsed is not None and parsed.known


def _beside(directory: str, others: Sequence[str]) -> Iterator[str]:
    if others:
        some = ", ".join(map(escape, others[:_SHOWN])) + (", …" if len(others) > _SHOWN else "")
        yield (
            f"the distributed checkpoint in '{escape(directory)}' is read; beside it "
            f"{'is' if len(others) == 1 else 'are'} {some}, to be read by name"
        )


def _alone(store: Store, directory: str, name: str) -> InputError:
    path = store.join(directory, name)
    if store.kind(store.join(directory, METADATA)) == "file":
        hint = f"name the directory, which has the {METADATA}: '{escape(directory or '.')}'"
    else:
        hint = (
            f"copy the whole directory, with the hidden file {METADATA}: only that says where in "
            "the tensors the slices belong"
        )
    return InputError(
        f"'{escape(path)}' holds what one process saved of a distributed checkpoint (DCP): slices "
        "of tensors, and not a model",
        hint=hint,
        code="tensor-slices",
        file=path,
    )
