"""The pickle machine, symbolic: a stack, a memo, and one method for each thing that opcodes do.

It knows no opcode and nothing of torch: `unpickle` has the table of opcodes, `torch_calls` what
torch's pickles call.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Table
from dataclasses import dataclass

from shardctl.formats.limits import (
    MAX_KEY_PARTS,
    MAX_MARKS,
    MAX_MEMO,
    MAX_NAME,
    MAX_OBJECTS,
    MAX_OPCODES,
    MAX_STACK,
)
from shardctl.formats.pickle.cursor import Cursor
from shardctl.formats.pickle.values import (
    Global,
    Mapping,
    Opaque,
    PickleCutShortError,
    Sequence,
    StorageRef,
)
from shardctl.model import MadeName
from shardctl.text import escape

#: The shortest pair that a pickle can spell, in bytes: more pairs than that are the same ones used
#: again.
MIN_PAIR_BYTES = 5
STOP = ord(".")
#: Opcodes between two looks at how large everything has become: none makes more than a few values.
_UNWATCHED = 1000


@dataclass(frozen=True, slots=True)
class Unpickled:
    """The object, the offset at which its pickle ends, the names that it would import, the storages it refers to."""

    root: object
    end: int
    globals: tuple[str, ...]
    storages: dict[str, StorageRef]


Step = Callable[["Machine"], None]
#: What is built from known names: each gets the machine, for its faults, and the arguments.
Calls = dict[str, Callable[["Machine", tuple[object, ...]], object]]
#: The storage that a persistent id names, whole, and the part of it that is meant.
StorageOf = Callable[["Machine", object], tuple[StorageRef, StorageRef]]


class Machine(Cursor):
    """The unpickling machine, symbolic: a stack, a memo, and one method an opcode."""

    def __init__(self, data: bytes, start: int, calls: Calls, storage_of: StorageOf) -> None:
        super().__init__(data, start)
        self._calls = calls
        self._storage_of = storage_of
        self._stack: list[object] = []
        self._marks: list[int] = []
        # Picklers fill the places of the memo one after another; what stands elsewhere is kept
        # apart.
        self._memo: list[object] = []
        self._far_memo: dict[int, object] = {}
        self._globals: dict[str, None] = {}
        self._storages: dict[str, StorageRef] = {}
        self._pairs = 0
        self._objects = 0

    def run(self, table: Table[Step]) -> Unpickled:
        """Carry out the opcodes up to STOP; `table` has a step for each byte. Raises PickleFaultError."""
        for _ in range(0, MAX_OPCODES, _UNWATCHED):
            if self._reaches_stop(table):
                break
            if (
                len(self._stack) > MAX_STACK
                or len(self._marks) > MAX_MARKS
                or self._objects > MAX_OBJECTS
            ):
                raise self.fault(
                    "the pickle nests deeper, or makes more values, than any checkpoint"
                )
        else:
            raise self.fault("the pickle has more opcodes than any checkpoint's")
        if len(self._stack) != 1 or self._marks:
            raise self.fault(f"STOP with {len(self._stack)} values on the stack instead of one")
        return Unpickled(self._stack[0], self._at, tuple(self._globals), self._storages)

    def _reaches_stop(self, table: Table[Step]) -> bool:
        """Carry out some opcodes; whether STOP was among them, and the last."""
        data, size = self._data, len(self._data)
        try:
            for _ in range(_UNWATCHED):
                at = self._at
                if at >= size:
                    raise PickleCutShortError("the pickle ends without STOP", at)
                self._at = at + 1
                code = data[at]
                if code == STOP:
                    return True
                table[code](self)
        except IndexError:
            raise self.fault("a value is taken from an empty stack") from None
        except (UnicodeError, ValueError) as error:
            raise self.fault(f"an argument is malformed ({error})") from None
        return False

    def refuse(self) -> None:
        """An opcode that is not known."""
        raise self.fault(f"opcode 0x{self._data[self.offset]:02x} is none that a checkpoint needs")

    # the stack

    def make(self, value: object) -> None:
        """Push a value that takes memory of its own, and count it."""
        self._objects += 1
        self._stack.append(value)

    def push(self, value: object) -> None:
        self._stack.append(value)

    def pop(self) -> object:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack.pop()

    def top(self) -> object:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack[-1]

    def pop_or_unmark(self) -> None:
        """POP: takes a mark away where that is on top."""
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
        self.make(values)

    # the memo

    def put(self, place: int) -> None:
        value, memo = self.top(), self._memo
        if place == len(memo):
            memo.append(value)
            self._far_memo.pop(place, None)
        elif place < 0:
            raise self.fault("the memo has no negative places")
        elif place < len(memo):
            memo[place] = value
        else:
            self._far_memo[place] = value
        if len(memo) + len(self._far_memo) > MAX_MEMO:
            raise self.fault("the pickle remembers more values than any checkpoint's")

    def get(self, place: int) -> None:
        if 0 <= place < len(self._memo):
            self._stack.append(self._memo[place])
        elif place in self._far_memo:
            self._stack.append(self._far_memo[place])
        else:
            raise self.fault(f"memo place {place} was never filled")

    def memoize(self) -> None:
        self.put(len(self._memo) + len(self._far_memo))

    # filling containers

    def set_items(self, values: list[object]) -> None:
        target = self.top()
        if len(values) % 2:
            raise self.fault("a dict item without a value")
        if isinstance(target, Opaque):
            return
        if not isinstance(target, Mapping):
            raise self.fault("items are set on what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            known = key if type(key) is str else self.key(key)
            if known in target.items:
                shown = escape(known[:100]) if isinstance(known, str) else "…"
                raise self.fault(f"the key '{shown}' stands twice in one dict")
            target.items[known] = value

    def key(self, key: object) -> object:
        """The key, where comparing it is cheap and safe: a scalar, a flat tuple of scalars, or an opaque value.

        Numbers become text: their hashes can be chosen so that all of them collide, those of texts
        cannot.
        """
        if not isinstance(key, tuple):
            return self._scalar(key)
        if len(key) > MAX_KEY_PARTS:
            raise self.fault(f"a dict key of {len(key):,} parts")
        return tuple(map(self._scalar, key))

    def _scalar(self, value: object) -> object:
        if isinstance(value, int | float):
            return MadeName(value)
        if not isinstance(value, str | bytes | None | Opaque | Global):
            raise self.fault("a dict key is a container")
        return value

    def count_pairs(self, count: int) -> None:
        """Take note of pairs that a dict is made of; a list of them that is used again and again is a bomb."""
        self._pairs += count
        if self._pairs * MIN_PAIR_BYTES > len(self._data):
            raise self.fault("dictionaries are made of the same pairs again and again")

    def append(self, values: list[object]) -> None:
        target = self.top()
        if isinstance(target, Opaque):
            return
        if not isinstance(target, Sequence):
            raise self.fault("values are appended to what is no list")
        target.items.extend(values)

    # names and what would be built from them

    def find(self, module: str, name: str) -> None:
        self._note(module, name)
        self.make(Global(module, name))

    def _note(self, module: str, name: str) -> str:
        if len(module) + len(name) > MAX_NAME:
            raise self.fault("the name to import is longer than any")
        full = f"{module}.{name}"
        self._globals.setdefault(full)
        return full

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise self.fault("the name to import is no text")
        self.find(module, name)

    def inst(self) -> None:
        module, name = self.line().decode(), self.line().decode()
        self.pop_mark()
        self.make(Opaque(self._note(module, name)))

    def new_object(self, count: int) -> None:
        """NEWOBJ and NEWOBJ_EX: a class and its arguments."""
        for _ in range(count - 1):
            self.pop()
        self.make(Opaque(kind_of(self.pop())))

    def obj(self) -> None:
        values = self.pop_mark()
        self.make(Opaque(kind_of(values[0])))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise self.fault("REDUCE without a tuple of arguments")
        self.make(self.call(function, arguments))

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        build = self._calls.get(str(function)) if isinstance(function, Global) else None
        return Opaque(kind_of(function)) if build is None else build(self, arguments)

    def build(self) -> None:
        """The state of an object: that of an OrderedDict is torch's `_metadata`, which nothing here needs."""
        state, target = self.pop(), self.top()
        if isinstance(target, Opaque):
            return
        if not isinstance(target, Mapping) or not isinstance(state, Mapping):
            raise self.fault("BUILD on what has no state")
        if any(name != "_metadata" for name in state.items):
            raise self.fault("an OrderedDict has a state other than `_metadata`")

    def persistent(self) -> None:
        """A persistent id: torch's way to name a storage."""
        whole, used = self._storage_of(self, self.pop())
        known = self._storages.setdefault(whole.key, whole)
        if known.nbytes != whole.nbytes or known.kind != whole.kind:
            # Torch takes the first of the two for both.
            raise self.fault(f"the storage '{escape(whole.key)}' has two different sizes or types")
        self.make(used)


def kind_of(function: object) -> str:
    """What calling this would give, as `module.name`."""
    if isinstance(function, Opaque):
        return function.kind
    return str(function) if isinstance(function, Global) else f"builtins.{type(function).__name__}"
