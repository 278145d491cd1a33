"""The stack and the memo of the pickle machine, and the weight of what is made there."""

from __future__ import annotations

from shardctl.formats.limits import CONTAINER_WEIGHT, KEY_WEIGHT, MAX_MEMO
from shardctl.formats.pickle.cursor import Cursor

#: Shapes that are kept once. A pickle can choose ones that Python's hash does not distinguish.
_MOST_SIZES = 1_000


class Stack(Cursor):
    """Values with marks among them, a memo, and the sum of what the values weigh (see `limits`).

    Taking a value from an empty stack, or past a mark, raises IndexError.
    """

    def __init__(self, data: bytes, start: int) -> None:
        super().__init__(data, start)
        self._stack: list[object] = []
        self._marks: list[int] = []
        # Picklers fill the memo in order; what is put elsewhere is kept apart.
        self._memo: list[object] = []
        self._far_memo: dict[int, object] = {}
        self._texts: dict[str, str] = {}
        self._sizes: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._weight = 0

    def make(self, value: object) -> None:
        """Push a value that takes up memory, and count it."""
        self._weight += 1
        self._stack.append(value)

    def make_container(self, value: object) -> None:
        """Push a dict or a list, and count it."""
        self._weight += CONTAINER_WEIGHT
        self._stack.append(value)

    def weigh_container(self) -> None:
        """Count a dict or an object that a call gives: what a call gives is itself counted as 1."""
        self._weight += CONTAINER_WEIGHT - 1

    def push(self, value: object) -> None:
        self._stack.append(value)

    def shared_text(self, text: str) -> str:
        """One object for equal texts."""
        return self._texts.setdefault(text, text)

    def shared_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """One object for equal shapes, of which a checkpoint has few."""
        if len(self._sizes) < _MOST_SIZES:
            return self._sizes.setdefault(sizes, sizes)
        return self._sizes.get(sizes, sizes)

    def pop(self) -> object:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack.pop()

    def top(self) -> object:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack[-1]

    def pop_or_unmark(self) -> None:
        """POP: removes a mark where that is on top."""
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self.pop()

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop_mark(self) -> list[object]:
        at = self._marks.pop()
        values = self._stack[at:]
        del self._stack[at:]
        return values

    def several(self, count: int) -> None:
        stack = self._stack
        begin = len(stack) - count
        if begin < (self._marks[-1] if self._marks else 0):
            raise IndexError
        values = tuple(stack[begin:])
        del stack[begin:]
        self._weight += 1
        stack.append(values)

    # the memo

    def put(self, place: int) -> None:
        value, memo = self.top(), self._memo
        if place == len(memo):
            memo.append(value)
            if self._far_memo:
                self._far_memo.pop(place, None)
        elif place < len(memo):
            memo[place] = value
        else:
            self._weight += KEY_WEIGHT
            self._far_memo[place] = value
        if len(memo) + len(self._far_memo) > MAX_MEMO:
            raise self.fault("the pickle remembers more values than any checkpoint's")

    def get(self, place: int) -> None:
        if place < len(self._memo):
            self._stack.append(self._memo[place])
        elif place in self._far_memo:
            self._stack.append(self._far_memo[place])
        else:
            raise self.fault(f"memo place {place} was never filled")

    def memoize(self) -> None:
        self.put(len(self._memo) + len(self._far_memo))
