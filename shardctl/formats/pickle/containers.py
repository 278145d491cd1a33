"""Filling dicts, lists and sets of a pickle, as far as a checkpoint of its size would."""

from __future__ import annotations

from shardctl.formats.limits import KEY_WEIGHT
from shardctl.formats.pickle.keys import NumberKey, key_of
from shardctl.formats.pickle.objects import takes_items
from shardctl.formats.pickle.stack import Stack
from shardctl.formats.pickle.values import Mapping, Sequence
from shardctl.text import escape


class Containers(Stack):
    """A stack whose containers can be filled."""

    def __init__(self, data: bytes, start: int, limit: int) -> None:
        """`limit` is what the values may weigh; see `limits`."""
        super().__init__(data, start)
        self._spent = 0
        self._limit = limit

    def set_items(self, values: list[object]) -> None:
        target = self.top()
        if len(values) % 2:
            raise self.fault("a dict item without a value")
        if isinstance(target, Mapping):
            self.fill(target, values)
        elif takes_items(target):
            target.parts.extend(values)
        else:
            raise self.fault("items are set on something that is not a dict")

    def fill(self, target: Mapping, values: list[object]) -> None:
        """Set items of a dict: keys and values in turn. Raises KeyRefusedError."""
        items = target.items
        for key, value in zip(values[::2], values[1::2], strict=True):
            known = key if type(key) is str else self._counted_key(key)
            if known in items and not isinstance(known, NumberKey | tuple):
                shown = escape(known[:100]) if isinstance(known, str) else "…"
                raise self.fault(f"duplicate key '{shown}' in one dict")
            items[known] = value

    def _counted_key(self, key: object) -> object:
        self._weight += KEY_WEIGHT
        if self._weight > self._limit:
            raise self.fault("the pickle has more keys than any checkpoint of its size")
        return key_of(key)

    def spend(self, count: int) -> None:
        """Note bytes that are read again.

        A value that is recalled from the memo again and again is a bomb.
        """
        self._spent += count
        if self._spent > len(self._data):
            raise self.fault("a value is made of the same parts again and again")

    def append(self, values: list[object]) -> None:
        self._extend(values, "list")

    def add(self, values: list[object]) -> None:
        self._extend(values, "set")

    def _extend(self, values: list[object], kind: str) -> None:
        target = self.top()
        if isinstance(target, Sequence) and target.kind == kind:
            target.items.extend(values)
        elif takes_items(target):
            target.parts.extend(values)
        else:
            raise self.fault(f"values are added to something that is not a {kind}")
