"""From a pickle's inert values to named tensors.

The tree of what a torch file holds, each tensor checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Places

from shardctl.findings import Finding, Report, report_all
from shardctl.formats.limits import (
    BYTES_PER_ENTRY,
    MAX_DEPTH,
    MAX_REPEATED,
    MIN_ENTRIES,
    MIN_NAME_CHARACTERS,
    NAME_CHARACTERS_PER_BYTE,
)
from shardctl.formats.pickle.keys import NumberKey
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.objects import kind_of
from shardctl.formats.pickle.values import (
    EmptyTensor,
    Mapping,
    Opaque,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.formats.torch.calls.parameters import TensorWithAttributes
from shardctl.formats.torch.calls.within import tensor_within
from shardctl.formats.torch.distributed.slices import part_of, slice_of
from shardctl.formats.torch.findings import lost_findings, stray_findings
from shardctl.formats.torch.tree.names import apart, name_of
from shardctl.formats.torch.tree.unread import Held, Search
from shardctl.model import NonTensor, Storage, Tensor, Tree
from shardctl.text import escape

Node = Tensor | NonTensor | Tree
#: What makes a tree of a pickle, as `build_tree` does.
TreeOf = Callable[[Unpickled, Places[str, Storage], str, Report, int, Places[str, Finding]], Tree]

#: The name of a root that is one object instead of a dict.
ROOT = "(root)"
#: The name of an OrderedDict's own attributes, where they hold tensors.
ATTRIBUTES = "(attributes)"
#: What a tensor is called whose storage is on a device without data.
META = "torch.Tensor on the meta device"
_STEPS_PER_BYTE, _MIN_STEPS = 4, 5_000_000


class TreeError(Exception):
    """The root holds no tensors, or the tree cannot be unfolded.

    The message says which, and `hint` what to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def build_tree(
    pickled: Unpickled,
    storages: Places[str, Storage],
    path: str,
    report: Report,
    nbytes: int,
    lost: Places[str, Finding] | None = None,
) -> Tree:
    """The tree below a pickle's root.

    Tensors that are not within their storage are reported and left out. `storages` has the storage
    of every key that is there, and `lost` says of the others what is wrong; `nbytes` are those of
    the pickle. A root that is one tensor or object is a tree of one entry. Raises TreeError.
    """
    builder = _Builder(storages, path, report, nbytes)
    try:
        tree = builder.root(pickled.root)
    finally:
        report_all(lost_findings(lost or {}, builder.lost), report)
    if builder.search.complete:
        used = builder.used | builder.search.storages
        strays = [ref for key, ref in pickled.storages.items() if key not in used]
        report_all(stray_findings(strays, path), report)
    return tree


def object_of(pickled: Unpickled, name: str, nbytes: int) -> NonTensor:
    """A pickle's root as one entry, whatever it is; `nbytes` are those of the pickle.

    It is not read where it holds tensors, or where the pickle has storages that nothing uses.
    """
    refs = pickled.storages.values()
    held = Search(max(_MIN_STEPS, nbytes * _STEPS_PER_BYTE)).below(pickled.root)
    return NonTensor(
        name,
        kind_of(pickled.root),
        unread=held.tensors or bool(refs),
        storages=len(refs),
        nbytes=sum(ref.nbytes for ref in refs),
    )


class _Builder:
    def __init__(
        self, storages: Places[str, Storage], path: str, report: Report, nbytes: int
    ) -> None:
        self._storages = storages
        self._path = path
        self._report = report
        self._entries_left = max(MIN_ENTRIES, nbytes // BYTES_PER_ENTRY)
        self._characters_left = max(MIN_NAME_CHARACTERS, nbytes * NAME_CHARACTERS_PER_BYTE)
        self._repeated = 0
        self._open: set[int] = set()
        self._seen: set[int] = set()
        self._unfolded: dict[int, bool] = {}
        self.search = Search(max(_MIN_STEPS, nbytes * _STEPS_PER_BYTE))
        #: Keys of the storages of tensors that are read.
        self.used: set[str] = set()
        #: The tensors whose storage is not there, by its key.
        self.lost: dict[str, list[str]] = {}

    def root(self, value: object) -> Tree:
        """The tree of a whole pickle."""
        if isinstance(value, Mapping):
            return self._directory(value, "", 0)
        held = self.search.below(value)
        if not held.tensors:
            raise TreeError(
                f"the file holds a {escape(kind_of(value))}, not a state dict",
                "save a dict of named tensors",
            )
        if isinstance(value, Sequence | tuple):
            return self._directory(value, "", 0)
        plain = self._plain(value) if isinstance(value, Opaque) else value
        name = ROOT if isinstance(plain, Opaque) else "0"  # as in a list of one tensor
        node = self._node(value, name, name, 0)
        return {} if node is None else {name: node}

    def _directory(
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
            text = key if type(key) is str else name_of(key, value)
            self._count(len(name) + len(text), again=again)
            if text in tree:
                text = apart(tree, text, key)
            node = self._node(item, f"{name}.{text}" if name else text, text, depth)
            if node is not None:
                tree[text] = node if type(key) is str else self._with_key(key, node, text)
        self._open.discard(id(value))
        if isinstance(value, Mapping) and value.attributes:
            self._add_attributes(value.attributes, tree)
        return tree

    def _add_attributes(self, attributes: list[object], tree: Tree) -> None:
        """Name the attributes of an OrderedDict as an entry, where they hold tensors."""
        held = self.search.below(tuple(attributes))
        if held.tensors:
            text = apart(tree, ATTRIBUTES, None) if ATTRIBUTES in tree else ATTRIBUTES
            tree[text] = self._unread(text, "torch.Tensor as an attribute", held)

    def _count(self, characters: int, *, again: bool, entries: int = 1) -> None:
        self._repeated += again
        self._entries_left -= entries
        self._characters_left -= characters
        if self._repeated > MAX_REPEATED or min(self._entries_left, self._characters_left) < 0:
            raise TreeError("the file unfolds to far more than it holds", "save a plain state dict")

    def _node(self, item: object, full: str, text: str, depth: int) -> Node | None:
        if isinstance(item, (Opaque, EmptyTensor)):
            item = self._plain(item)
        if isinstance(item, ViewRef) and item.storage.location != "meta":
            return self._tensor(item, full, text)
        if isinstance(item, UnknownTensor):
            self._report_unknown(item, full)
            return None
        if isinstance(item, Mapping) or (
            isinstance(item, Sequence | tuple) and self._unfolds(item, depth)
        ):
            return self._directory(item, full, depth + 1)
        if isinstance(item, Opaque | StorageRef | EmptyTensor | ViewRef):
            held = self.search.below(item)
            part = part_of(item)
            if part is not None:
                found = slice_of(
                    part, text, kind_of(item), held, lambda view: self._tensor(view, full, text)
                )
                # One object can be many entries, and have many boxes in each.
                self._count(0, again=False, entries=0 if found is None else len(found.boxes))
                return found
            if held.tensors:
                return self._unread(
                    text, META if isinstance(item, ViewRef) else kind_of(item), held
                )
        return NonTensor(text, kind_of(item))

    def _plain(self, item: Opaque | EmptyTensor) -> object:
        """The tensor that an object represents, where it is one that can be read."""
        if isinstance(item, EmptyTensor):
            return item if item.view is None else item.view
        if isinstance(item, TensorWithAttributes) and not any(
            self.search.below(part).tensors for part in item.parts[1:]
        ):
            return item.parts[0]
        return item

    def _unread(self, text: str, kind: str, held: Held) -> NonTensor:
        nbytes = sum(ref.nbytes for ref in held.storages.values())
        return NonTensor(text, kind, unread=True, storages=len(held.storages), nbytes=nbytes)

    def _with_key(self, key: object, node: Node, text: str) -> Node:
        """The node; where its key holds a tensor, an entry that is not read."""
        if isinstance(key, str | int | NumberKey) or not self.search.below(key).tensors:
            return node
        return NonTensor(text, "torch.Tensor as a key", unread=True)

    def _report_unknown(self, item: UnknownTensor, full: str) -> None:
        self.search.below(item)
        message = (
            f"the tensor has an element type that shardctl does not know: {escape(item.dtype)}"
        )
        hint = "convert it in torch to a type that safetensors has, or update shardctl"
        self._report(Finding("tensor-dtype-unknown", "error", message, hint, self._path, full))

    def _unfolds(self, value: Sequence | tuple[object, ...], depth: int) -> bool:
        """Whether a list is worth unfolding.

        One of numbers is one value, one of tensors is many.
        """
        known = self._unfolded.get(id(value))
        if known is not None:
            return known
        if depth > MAX_DEPTH:
            return True  # unfolding it says that it is too deep
        self._unfolded[id(value)] = False  # a list that holds itself adds nothing
        items = value.items if isinstance(value, Sequence) else value
        found = (
            any(
                isinstance(item, (Mapping, Sequence, tuple))
                and (isinstance(item, Mapping) or self._unfolds(item, depth + 1))
                for item in items
            )
            or self.search.below(value).tensors
        )
        self._unfolded[id(value)] = found
        return found

    def _tensor(self, view: ViewRef, full: str, text: str) -> Tensor | None:
        self.used.add(view.storage.key)
        storage = self._storages.get(view.storage.key)
        if storage is None:
            self.lost.setdefault(view.storage.key, []).append(full)
            return None
        return tensor_within(storage, view, text, full, self._path, self._report)


def _items(value: Mapping | Sequence | tuple[object, ...]) -> Iterable[tuple[object, object]]:
    if isinstance(value, Mapping):
        return value.items.items()
    return enumerate(value.items if isinstance(value, Sequence) else value)
