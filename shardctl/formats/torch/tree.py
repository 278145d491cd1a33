"""From a pickle's inert values to named tensors: the tree of what a torch file holds, each tensor checked."""

from __future__ import annotations

from collections.abc import Mapping as Places

from shardctl.findings import Finding, Report
from shardctl.formats.limits import MAX_DEPTH, MAX_NAME_CHARACTERS, MAX_REPEATED
from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.model import MadeName, NonTensor, Storage, Tensor, Tree
from shardctl.text import escape

Node = Tensor | NonTensor | Tree


class TreeError(Exception):
    """The root is no dictionary, or the tree cannot be unfolded; the message says which, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def build_tree(root: object, storages: Places[str, Storage], path: str, report: Report) -> Tree:
    """The tree below a pickle's root. Tensors that do not lie within their storage are reported and left out.

    `storages` has the storage of every key that is there. Raises TreeError.
    """
    if isinstance(root, Opaque):
        raise TreeError(
            f"the file holds one object of type {escape(root.kind)}, not a state dict",
            "in the program that knows it, save `model.state_dict()` instead of the model",
        )
    if not isinstance(root, Mapping):
        raise TreeError(
            f"the file holds {_kind(root)}, not a state dict", "save a dict of named tensors"
        )
    builder = _Builder(storages, path, report)
    return builder.directory(root, "", 0)


class _Builder:
    def __init__(self, storages: Places[str, Storage], path: str, report: Report) -> None:
        self._storages = storages
        self._path = path
        self._report = report
        self._repeated = 0
        self._characters = 0
        self._open: set[int] = set()
        self._seen: set[int] = set()
        self._has_tensors: dict[int, bool] = {}

    def directory(
        self, value: Mapping | Sequence | tuple[object, ...], name: str, depth: int
    ) -> Tree:
        if depth > MAX_DEPTH or id(value) in self._open:
            raise TreeError(
                "dictionaries nest too deep, or one holds itself", "save a plain state dict"
            )
        self._open.add(id(value))
        again = id(value) in self._seen
        self._seen.add(id(value))
        tree: Tree = {}
        for key, item in _items(value):
            text = _name_of(key, value)
            self._count(len(name) + len(text), again=again)
            if text in tree:
                raise TreeError(
                    f"two keys of a dictionary both read '{escape(text)}'", "rename one of them"
                )
            node = self._node(item, f"{name}.{text}" if name else text, text, depth)
            if node is not None:
                tree[text] = node
        self._open.discard(id(value))
        return tree

    def _count(self, characters: int, *, again: bool) -> None:
        self._repeated += again
        self._characters += characters
        if self._repeated > MAX_REPEATED or self._characters > MAX_NAME_CHARACTERS:
            raise TreeError("the file unfolds to far more than it holds", "save a plain state dict")

    def _node(self, item: object, full: str, text: str, depth: int) -> Node | None:
        if isinstance(item, ViewRef):
            return self._tensor(item, full, text)
        if isinstance(item, UnknownTensor):
            message = (
                f"the tensor has an element type that shardctl does not know: {escape(item.dtype)}"
            )
            hint = "convert it in torch to a type that safetensors has, or update shardctl"
            self._report(Finding("tensor-dtype-unknown", "error", message, hint, self._path, full))
            return None
        if isinstance(item, Mapping):
            return self.directory(item, full, depth + 1)
        if isinstance(item, Sequence | tuple) and self._holds_tensors(item, depth):
            return self.directory(item, full, depth + 1)
        return NonTensor(text, _kind(item))

    def _holds_tensors(self, value: Sequence | tuple[object, ...], depth: int) -> bool:
        """Whether a list is worth unfolding: one of numbers is one value, one of tensors is many."""
        known = self._has_tensors.get(id(value))
        if known is not None:
            return known
        if depth > MAX_DEPTH:
            return True  # unfolding it says that it is too deep
        self._has_tensors[id(value)] = False  # a list that holds itself adds nothing
        items = value.items if isinstance(value, Sequence) else value
        found = any(
            isinstance(item, ViewRef | UnknownTensor | Mapping)
            or (isinstance(item, Sequence | tuple) and self._holds_tensors(item, depth + 1))
            for item in items
        )
        self._has_tensors[id(value)] = found
        return found

    def _tensor(self, view: ViewRef, full: str, text: str) -> Tensor | None:
        storage = self._storages.get(view.storage.key)
        if storage is None:
            return None  # that its record is missing was reported once, for the record
        bits = view.dtype.bits
        # A legacy view of a storage begins inside it; the tensor is one of the whole then.
        if 8 * view.storage.offset % bits:
            message = f"the tensor begins within an element: at byte {view.storage.offset:,} of its storage"
            self._fault(message, full, storage)
            return None
        end = (view.offset + _reach(view)) * bits // 8
        if view.storage.offset + end > storage.extent.length or end > view.storage.nbytes:
            message = (
                f"the tensor reaches to byte {end:,} of a storage of {view.storage.nbytes:,} bytes"
            )
            self._fault(message, full, storage)
            return None
        offset = view.offset + 8 * view.storage.offset // bits
        return Tensor(text, view.dtype, view.shape, storage, offset, view.strides)

    def _fault(self, message: str, full: str, storage: Storage) -> None:
        hint = "the file is damaged or was made to deceive: fetch or save it again"
        at = storage.extent.offset
        self._report(Finding("tensor-out-of-bounds", "error", message, hint, self._path, full, at))


def _reach(view: ViewRef) -> int:
    """Elements from the tensor's first to its last, both counted."""
    if 0 in view.shape:
        return 0
    if view.strides is None:
        count = 1
        for size in view.shape:
            count *= size
        return count
    return 1 + sum((size - 1) * step for size, step in zip(view.shape, view.strides, strict=True))


def _items(value: Mapping | Sequence | tuple[object, ...]) -> list[tuple[object, object]]:
    if isinstance(value, Mapping):
        return list(value.items.items())
    return list(enumerate(value.items if isinstance(value, Sequence) else value))


def _name_of(key: object, holder: Mapping | Sequence | tuple[object, ...]) -> str:
    """What an item is called. The places of a list are its names; of a dict, only texts are."""
    if isinstance(key, str):
        return key
    return MadeName(_key_text(key)) if isinstance(holder, Mapping) else str(key)


def _key_text(key: object) -> str:
    if isinstance(key, tuple):
        return f"({', '.join(map(_key_text, key))})"
    return str(key) if isinstance(key, str | bytes | int | None) else f"<{_kind(key)}>"


def _kind(value: object) -> str:
    """What a value is, as `module.name`."""
    match value:
        case Opaque(kind):
            return kind
        case Sequence(kind, _):
            return f"builtins.{kind}"
        case Global():
            return str(value)
    names: dict[type, str] = {
        Mapping: "builtins.dict",
        ViewRef: "torch.Tensor",
        StorageRef: "torch.UntypedStorage",
    }
    return names.get(type(value), f"builtins.{type(value).__name__}")
