"""The stack and the memo of the pickle machine, and the weight of what is made there."""

from __future__ import annotations

from shardctl.formats.limits import CONTAINER_WEIGHT, KEY_WEIGHT
from shardctl.formats.pickle.cursor import U32, Cursor

#: Reads a length, or the number of a place, from data at an offset.
_LENGTH = U32.unpack_from


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

    def make_tuple(self) -> None:
        """TUPLE: what is above the last mark."""
        at = self._marks.pop()
        stack = self._stack
        values = tuple(stack[at:])
        del stack[at:]
        self._weight += 1
        stack.append(values)

    def several(self, count: int) -> None:
        """TUPLE1 to TUPLE3: the last values."""
        stack = self._stack
        begin = len(stack) - count
        if begin < (self._marks[-1] if self._marks else 0):
            raise IndexError
        values = tuple(stack[begin:])
        del stack[begin:]
        self._weight += 1
        stack.append(values)

    # What most opcodes of a checkpoint do has no call within it: there are thirty for each tensor.

    def push_byte(self) -> None:
        """Push the number in the next byte."""
        at = self._at
        if at >= self._size:
            raise self._cut_short()
        self._at = at + 1
        self._stack.append(self._data[at])

    def push_text(self) -> None:
        """Push the text after its length in four bytes."""
        at = self._at + 4
        if at > self._size:
            raise self._cut_short()
        end = at + _LENGTH(self._data, at - 4)[0]
        if end > self._size:
            raise self._cut_short()
        self._at = end
        self._stack.append(self._data[at:end].decode("utf-8", "surrogatepass"))

    # the memo

    def put_far(self) -> None:
        """Fill the place whose number is in the next four bytes."""
        at = self._at
        end = at + 4
        if end > self._size:
            raise self._cut_short()
        self._at = end
        place, stack, memo = _LENGTH(self._data, at)[0], self._stack, self._memo
        in_order = place == len(memo) and not self._far_memo
        if in_order and len(stack) > (self._marks[-1] if self._marks else 0):
            memo.append(stack[-1])
        else:
            self.put(place)

    def put(self, place: int) -> None:
        """Fill a place with the value on top."""
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

    def get_far(self) -> None:
        """Push what is in the place whose number is in the next four bytes."""
        at = self._at
        end = at + 4
        if end > self._size:
            raise self._cut_short()
        self._at = end
        self.get(_LENGTH(self._data, at)[0])

    def get_near(self) -> None:
        """Push what is in the place whose number is in the next byte."""
        at = self._at
        if at >= self._size:
            raise self._cut_short()
        self._at = at + 1
        self.get(self._data[at])

    def get(self, place: int) -> None:
        """Push what is in a place."""
        if place < len(self._memo):
            self._stack.append(self._memo[place])
        elif place in self._far_memo:
            self._stack.append(self._far_memo[place])
        else:
            raise self.fault(f"memo place {place} was never filled")

    def memoize(self) -> None:
        """Fill the next place."""
        self.put(self.remembered)

    @property
    def remembered(self) -> int:
        """How many places are filled."""
        return len(self._memo) + len(self._far_memo)
