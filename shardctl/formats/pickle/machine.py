"""The pickle machine, symbolic: a stack, a memo, and one method for each thing that opcodes do.

It knows no opcode and nothing of torch: `opcodes` has the table of opcodes, `torch.calls` what
torch's pickles call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from shardctl.formats.hazards import DO_NOT_LOAD
from shardctl.formats.limits import MAX_NAME
from shardctl.formats.pickle.containers import Containers
from shardctl.formats.pickle.objects import constructed, kind_of
from shardctl.formats.pickle.values import (
    Global,
    Opaque,
    PickleCutShortError,
    PickleFaultError,
    StorageRef,
)
from shardctl.text import escape


@dataclass(frozen=True, slots=True)
class Unpickled:
    """What a pickle holds. `end` is the offset just past its STOP.

    `globals` are the names that it would import, `storages` those that it refers to by key.
    `refused` are opcodes and calls that torch's `weights_only` refuses, whatever they are given;
    `allocations` are calls that would take memory by a number in the pickle, in bytes by call.
    """

    root: object
    end: int
    globals: tuple[str, ...]
    storages: dict[str, StorageRef]
    refused: tuple[str, ...] = ()
    allocations: tuple[tuple[str, int], ...] = ()


class Form(NamedTuple):
    """A tensor's shape and strides, in elements; `strides` is None where it is contiguous.

    `reach` is how many elements there are from the first to the last, both counted.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    reach: int


class FrameBeginsError(Exception):
    """A frame begins: the opcodes up to its end are watched for that end."""


Step = Callable[["Machine"], None]
#: What is built from known names: each gets the machine, for its faults, and the arguments.
Calls = dict[str, Callable[["Machine", tuple[object, ...]], object]]
#: The storage that a persistent id names, whole, and the part of it that is meant.
StorageOf = Callable[["Machine", object], tuple[StorageRef, StorageRef]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of pickle means by its names.

    `calls` are functions, `news` constructors (NEWOBJ). `storage_of` reads a persistent id. `build`
    gets an object and its state (BUILD). `allocates` gives the bytes that calling a name with these
    arguments would take, beyond what the pickle holds.
    """

    calls: Calls
    news: Calls
    storage_of: StorageOf
    build: Callable[[Machine, object, object], None]
    allocates: Callable[[str, tuple[object, ...]], int]


class Machine(Containers):
    """The unpickling machine, symbolic: a stack, a memo, and one method an opcode."""

    def __init__(self, data: bytes, start: int, dialect: Dialect, limit: int) -> None:
        """`limit` is what the values may weigh; see `limits`."""
        super().__init__(data, start, limit)
        self._dialect = dialect
        self._calls = dialect.calls
        self._storage_of = dialect.storage_of
        self._globals: dict[str, Global] = {}
        self._storages: dict[str, StorageRef] = {}
        self._refused: dict[str, None] = {}
        self._allocations: dict[str, int] = {}
        #: What a dialect needs to remember of this pickle.
        self.notes: dict[object, object] = {}
        #: Shapes with strides that a dialect has looked at, of which a checkpoint has few.
        self.forms: dict[tuple[tuple[int, ...], tuple[int, ...]], Form] = {}
        self._frame_end = 0

    def begin_frame(self, length: int) -> None:
        """FRAME: the opcodes of so many bytes.

        Unpicklers differ in what they read where a frame is wrong.
        """
        end = self._at + length
        if self._frame_end:
            raise self.frame_fault("a frame lies within another frame")
        if end > len(self._data):
            raise PickleCutShortError("a frame reaches past the pickle's end", self.offset)
        self._frame_end = end
        raise FrameBeginsError

    def frame_over(self, at: int) -> int:
        """At the end of a frame or of the bytes: the next end to watch for."""
        size = len(self._data)
        if self._frame_end and at > self._frame_end:
            raise self.frame_fault("an argument crosses the end of a frame")
        if at >= size:
            raise PickleCutShortError("the pickle ends without STOP", at)
        self._frame_end = 0
        return size

    def frame_fault(self, message: str) -> PickleFaultError:
        """Unpicklers read such a pickle differently, so it may run what is not seen here."""
        return PickleFaultError(message, self.offset, DO_NOT_LOAD)

    def refuse(self) -> None:
        """An opcode that is not known."""
        raise self.fault(
            f"opcode 0x{self._data[self.offset]:02x} is not one that a checkpoint needs"
        )

    def note_refused(self, what: str) -> None:
        """Note something that torch's `weights_only` refuses: an opcode, or a call."""
        self._refused.setdefault(what)

    # names and what would be built from them

    def find(self, module: str, name: str) -> None:
        if not module or not name:
            raise self.fault("the name to import is empty")
        self._weight += 1
        self._stack.append(self._global(module, name))

    def _global(self, module: str, name: str) -> Global:
        """The name to import, noted; one object for each."""
        if len(module) + len(name) > MAX_NAME:
            raise self.fault("the name to import is too long")
        path = f"{module}.{name}"
        return self._globals.setdefault(path, Global(path))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise self.fault("the name to import is not text")
        self.find(module, name)

    def inst(self) -> None:
        name = self._global(self.line().decode(), self.line().decode())
        self.make(self.call(name, tuple(self.pop_mark())))

    def obj(self) -> None:
        values = self.pop_mark()
        self.make(self.call(values[0], tuple(values[1:])))

    def new_object(self, keywords: tuple[object, ...] = ()) -> None:
        """NEWOBJ and NEWOBJ_EX: a class and its arguments."""
        arguments, cls = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise self.fault("an object is made without a tuple of arguments")
        new = self._dialect.news.get(cls.path) if isinstance(cls, Global) else None
        if new is not None and not keywords:
            self.make(new(self, arguments))
        else:
            self.make(self.unknown(cls, arguments + keywords))

    def reduce(self) -> None:
        stack = self._stack
        if len(stack) < 2 + self._marks[-1]:
            raise IndexError
        arguments, function = stack.pop(), stack.pop()
        if not isinstance(arguments, tuple):
            raise self.fault("REDUCE without a tuple of arguments")
        stack.append(self.call(function, arguments))
        self._weight += 1

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        """What calling a name gives; of one that is not known, an object that is only named."""
        if isinstance(function, Global):
            build = self._calls.get(function.path)
            if build is not None:
                return build(self, arguments)
        return self.unknown(function, arguments)

    def unknown(self, function: object, arguments: tuple[object, ...]) -> Opaque:
        """What calling a name that is not known gives: an object that is only named."""
        made = constructed(function, arguments)
        if made is None:
            raise self.fault(f"{kind_of(function)} is called, which is not a function or class")
        if isinstance(function, Global):
            nbytes = self._dialect.allocates(function.path, arguments)
            if nbytes:
                self._allocations[function.path] = self._allocations.get(function.path, 0) + nbytes
        else:
            self.note_refused(f"a call of what {kind_of(function)} gives")
        self.weigh_container()
        return made

    def build(self) -> None:
        """BUILD: gives the object on the stack its state."""
        state = self.pop()
        self._dialect.build(self, self.top(), state)

    def persistent(self) -> None:
        """A persistent id: torch's way to name a storage."""
        whole, used = self._storage_of(self, self.pop())
        known = self._storages.setdefault(whole.key, whole)
        # Torch takes the first of the two for both, and saves views of several types of none but an
        # empty one.
        other_kind = known.kind != whole.kind and whole.nbytes > 0
        if known is not whole and (known.nbytes != whole.nbytes or other_kind):
            raise self.fault(f"the storage '{escape(whole.key)}' has two different sizes or types")
        self._weight += 1
        self._stack.append(used)
