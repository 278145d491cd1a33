"""The stack and the memo of the pickle machine, and the weight of what is made there."""

from __future__ import annotations

from shardctl.formats.limits import CONTAINER_WEIGHT, KEY_WEIGHT
from shardctl.formats.pickle.cursor import U32, Cursor
from shardctl.formats.pickle.recalls import recalled_places


class Stack(Cursor):
    """Values with marks among them, a memo, and the sum of what the values weigh (see `limits`).

    Taking a value from an empty stack, or past a mark, raises IndexError.
    """

    def __init__(self, data: bytes, start: int) -> None:
        super().__init__(data, start)
        self._stack: list[object] = []
        #: Where the values above each mark begin; below all marks is the whole stack.
        self._marks = [0]
        # Picklers fill the memo in order: so many places from 0 on, and others far from them. Only
        # what may be recalled is kept.
        self._recalled = recalled_places(data, start)
        self._memo: dict[int, object] = {}
        self._filled = 0
        self._far: set[int] = set()
        self._texts: dict[str, str] = {}
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

    def pop(self) -> object:
        if self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack.pop()

    def top(self) -> object:
        if self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack[-1]

    def pop_or_unmark(self) -> None:
        """POP: removes a mark where that is on top."""
        if self._marks[-1] == len(self._stack):
            self._unmark()
        else:
            self.pop()

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def _unmark(self) -> int:
        """Remove the last mark, and return where it was."""
        if len(self._marks) == 1:
            raise IndexError
        return self._marks.pop()

    def pop_mark(self) -> list[object]:
        at = self._unmark()
        values = self._stack[at:]
        del self._stack[at:]
        return values

    def make_tuple(self) -> None:
        """TUPLE: what is above the last mark."""
        self.make(tuple(self.pop_mark()))

    def several(self, count: int) -> None:
        """TUPLE1 to TUPLE3: the last values."""
        stack = self._stack
        begin = len(stack) - count
        if begin < self._marks[-1]:
            raise IndexError
        values = tuple(stack[begin:])
        del stack[begin:]
        self.make(values)

    def push_text(self) -> None:
        """Push the text after its length in four bytes."""
        at = self._at + U32.size
        if at > self._size:
            raise self._cut_short()
        end = at + U32.unpack_from(self._data, self._at)[0]
        if end > self._size:
            raise self._cut_short()
        self._at = end
        self._stack.append(self._data[at:end].decode("utf-8", "surrogatepass"))

    # the memo

    def put(self, place: int) -> None:
        """Fill a place of the memo with the value on top."""
        value = self.top()
        if place == self._filled:
            self._filled += 1
            self._far.discard(place)
        elif place > self._filled:
            self._weight += KEY_WEIGHT
            self._far.add(place)
        if place in self._recalled:
            self._memo[place] = value

    def get(self, place: int) -> None:
        """Push what is in a place of the memo."""
        if place not in self._memo:
            raise self.fault(f"memo place {place} was never filled")
        self._stack.append(self._memo[place])

    def memoize(self) -> None:
        """Fill the next place."""
        self.put(self.remembered)

    @property
    def remembered(self) -> int:
        """How many places are filled."""
        return self._filled + len(self._far)
