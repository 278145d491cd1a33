"""A pickle read as data: opcodes in, inert values out. Nothing is imported, and nothing is called, ever.

Sources: `pickletools` of CPython for the opcodes, `torch/_utils.py` and `torch/_weights_only_unpickler.py` of torch
2.13 for what its pickles call. A name to import becomes a `Global`; what would be built from any but the few known ones
becomes an `Opaque`, which has a kind and nothing else.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from shardctl.formats.pickle_values import Global, Mapping, Opaque, PickleFaultError, Sequence, StorageRef, ViewRef
from shardctl.formats.torch_types import TORCH_DTYPES, TYPED_STORAGES
from shardctl.model import Dtype, contiguous_strides

#: The pickle of a million tensors has about 150 MB; nothing real is larger.
MAX_PICKLE_BYTES = 512 * 1024 * 1024
#: A real pickle nests a handful of levels; so many open marks or stacked values only a hostile one needs.
MAX_MARKS, MAX_STACK = 1_000, 50_000_000
#: Long integers beyond the size of any number in a checkpoint only cost time; the magic number of torch has 10 bytes.
MAX_INTEGER_BYTES = 64
#: No tensor library has so many dimensions.
MAX_DIMS = 64
MAX_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Unpickled:
    """The object, the offset at which its pickle ends, the names that it would import, the storages it refers to."""

    root: object
    end: int
    globals: tuple[str, ...]
    storages: dict[str, StorageRef]


def unpickle(data: bytes, start: int = 0) -> Unpickled:
    """Read the pickle at `start`. Raises PickleFaultError for what is no valid pickle, or beyond the caps."""
    return _Machine(data, start).run()


_MARK = object()
_EMPTY: tuple[object, ...] = ()


class _Machine:
    """The unpickling machine, symbolic: a stack, a memo, and one method an opcode."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = self._start = start
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._globals: dict[str, None] = {}
        self._storages: dict[str, StorageRef] = {}

    def run(self) -> Unpickled:
        data, table = self._data, _TABLE
        while True:
            if self._at >= len(data):
                raise self.fault("the pickle ends without STOP")
            code = data[self._at]
            self._at += 1
            if code == _STOP:
                break
            handler = table.get(code)
            if handler is None:
                raise self.fault(f"opcode 0x{code:02x} is none that a checkpoint needs")
            try:
                handler(self)
            except (struct.error, IndexError):
                raise self.fault("the pickle is cut short, or takes from an empty stack") from None
            except (UnicodeError, ValueError) as error:
                raise self.fault(f"an argument is malformed ({error})") from None
            if len(self._stack) > MAX_STACK or len(self._marks) > MAX_MARKS:
                raise self.fault("the pickle nests deeper than any checkpoint")
        if len(self._stack) != 1 or self._marks:
            raise self.fault(f"STOP with {len(self._stack)} values on the stack instead of one")
        return Unpickled(self._stack[0], self._at, tuple(self._globals), self._storages)

    def fault(self, message: str) -> PickleFaultError:
        return PickleFaultError(message, self._at - 1)

    # reading arguments

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise IndexError
        data = self._data[self._at : end]
        self._at = end
        return data

    def number(self, form: str, size: int) -> int:
        value = struct.unpack_from(form, self._data, self._at)[0]
        self._at += size
        return int(value)

    def line(self) -> bytes:
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise IndexError
        data = self._data[self._at : end]
        self._at = end + 1
        return data

    # the stack

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

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop_mark(self) -> list[object]:
        at = self._marks.pop()
        values = self._stack[at:]
        del self._stack[at:]
        return values

    def several(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    # the memo

    def put(self, place: int) -> None:
        if place < 0:
            raise self.fault("the memo has no negative places")
        self._memo[place] = self.top()

    def get(self, place: int) -> None:
        if place not in self._memo:
            raise self.fault(f"memo place {place} was never filled")
        self.push(self._memo[place])

    def memoize(self) -> None:
        self.put(len(self._memo))

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
            known = self.key(key)
            if known in target.items:
                raise self.fault(f"the key {known!r} stands twice in one dict")
            target.items[known] = value

    def key(self, key: object) -> object:
        """The key, where comparing it is cheap and safe: a scalar, a flat tuple of scalars, or an opaque value."""
        flat = key if isinstance(key, tuple) else (key,)
        for part in flat:
            if not isinstance(part, str | bytes | int | float | bool | None | Opaque | Global):
                raise self.fault("a dict key is a container")
        return key

    def append(self, values: list[object]) -> None:
        target = self.top()
        if isinstance(target, Opaque):
            return
        if not isinstance(target, Sequence):
            raise self.fault("values are appended to what is no list")
        target.items.extend(values)

    # names and what would be built from them

    def find(self, module: str, name: str) -> None:
        self._globals.setdefault(f"{module}.{name}")
        self.push(Global(module, name))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise self.fault("the name to import is no text")
        self.find(module, name)

    def inst(self) -> None:
        module, name = self.line().decode(), self.line().decode()
        self.pop_mark()
        self._globals.setdefault(f"{module}.{name}")
        self.push(Opaque(f"{module}.{name}"))

    def new_object(self, count: int) -> None:
        """NEWOBJ and NEWOBJ_EX: a class and its arguments."""
        for _ in range(count - 1):
            self.pop()
        self.push(Opaque(_kind(self.pop())))

    def obj(self) -> None:
        values = self.pop_mark()
        self.push(Opaque(_kind(values[0])))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise self.fault("REDUCE without a tuple of arguments")
        self.push(self.call(function, arguments))

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        build = _KNOWN_CALLS.get(str(function)) if isinstance(function, Global) else None
        return Opaque(_kind(function)) if build is None else build(self, arguments)

    def build(self) -> None:
        """The state of an object: that of an OrderedDict is torch's `_metadata`, which nothing here needs."""
        state, target = self.pop(), self.top()
        if isinstance(target, Opaque | ViewRef):
            return
        if not isinstance(target, Mapping) or not isinstance(state, Mapping):
            raise self.fault("BUILD on what has no state")
        if set(map(str, state.items)) - {"_metadata"}:
            raise self.fault("an OrderedDict has a state other than `_metadata`")

    def persistent(self) -> None:
        self.push(self.storage(self.pop()))

    # torch's own

    def storage(self, value: object) -> StorageRef:
        if not isinstance(value, tuple) or len(value) not in (5, 6) or value[0] != "storage":
            raise self.fault("a persistent id is not that of a storage")
        _, kind, key, _location, numel = value[:5]
        if not isinstance(kind, Global) or not isinstance(key, str) or not _is_size(numel):
            raise self.fault("a persistent id is malformed")
        if str(kind) in ("torch.storage.UntypedStorage", "torch.UntypedStorage"):
            dtype, width = None, 1
        elif kind.module in ("torch", "torch.cuda") and kind.name in TYPED_STORAGES:
            dtype = TYPED_STORAGES[kind.name]
            width = dtype.itemsize
        else:
            raise self.fault(f"{kind} is no storage of numbers")
        whole = StorageRef(key, dtype, numel * width)
        if self._storages.setdefault(key, whole).nbytes != whole.nbytes:
            raise self.fault(f"the storage {key!r} has two different sizes")
        return whole if len(value) == 5 or value[5] is None else self.view_of(whole, value[5], width)

    def view_of(self, whole: StorageRef, metadata: object, width: int) -> StorageRef:
        """A legacy storage that is a part of another: (key, offset, size) in elements."""
        if not isinstance(metadata, tuple) or len(metadata) != 3:
            raise self.fault("the view of a storage is malformed")
        _, offset, size = metadata
        if not _is_size(offset) or not _is_size(size) or (offset + size) * width > whole.nbytes:
            raise self.fault("the view of a storage lies outside it")
        return StorageRef(whole.key, whole.dtype, size * width, whole.offset + offset * width)

    def rebuild(self, arguments: tuple[object, ...], dtype: object, extra: tuple[object, ...]) -> ViewRef:
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, StorageRef) or not isinstance(dtype, Dtype):
            raise self.fault("a tensor is rebuilt from what is no storage")
        if not _is_size(offset) or not _are_sizes(shape) or not _are_sizes(strides) or len(shape) != len(strides):
            raise self.fault("a tensor's offset, shape or strides are malformed")
        for flags in extra:
            self.refuse_lazy(flags)
        return ViewRef(storage, dtype, offset, shape, _unless_contiguous(shape, strides))

    def refuse_lazy(self, flags: object) -> None:
        """`conj` and `neg` change the values when they are read: dropping them would be silent damage."""
        pending = [str(name) for name, on in flags.items.items() if on] if isinstance(flags, Mapping) else ["?"]
        if pending:
            raise PickleFaultError(
                f"a tensor is to be changed when it is loaded ({', '.join(pending)})",
                self._at - 1,
                hint="resolve it in torch (`resolve_conj()`, `resolve_neg()`) and save the checkpoint again",
            )


def _kind(function: object) -> str:
    if isinstance(function, Opaque):
        return function.kind
    return str(function) if isinstance(function, Global) else f"builtins.{type(function).__name__}"


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SIZE


def _are_sizes(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= MAX_DIMS and all(map(_is_size, value))


def _unless_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """None where the elements stand in order anyway: strides of empty tensors and of lengths of 1 mean nothing."""
    if 0 in shape:
        return None
    usual = contiguous_strides(shape)
    same = all(size == 1 or step == plain for size, step, plain in zip(shape, strides, usual, strict=True))
    return None if same else strides


# What is built from known names. Each gets the machine, for its faults, and the arguments.


def _ordered_dict(machine: _Machine, arguments: tuple[object, ...]) -> Mapping:
    made = Mapping()
    if arguments:
        pairs = arguments[0]
        if len(arguments) > 1 or not isinstance(pairs, Sequence | tuple):
            raise machine.fault("an OrderedDict is made of what are no pairs")
        machine.push(made)
        for pair in pairs.items if isinstance(pairs, Sequence) else pairs:
            values = pair.items if isinstance(pair, Sequence) else pair
            if not isinstance(values, list | tuple) or len(values) != 2:
                raise machine.fault("an OrderedDict is made of what are no pairs")
            machine.set_items(list(values))
        machine.pop()
    return made


def _tensor(machine: _Machine, arguments: tuple[object, ...]) -> ViewRef:
    """`_rebuild_tensor` (4 arguments) and `_rebuild_tensor_v2` (6, and flags)."""
    if len(arguments) not in (4, 6, 7):
        raise machine.fault("a tensor is rebuilt from another number of arguments")
    storage = arguments[0]
    dtype = storage.dtype if isinstance(storage, StorageRef) else None
    return machine.rebuild(arguments, dtype, arguments[6:])


def _tensor_v3(machine: _Machine, arguments: tuple[object, ...]) -> ViewRef:
    if len(arguments) not in (7, 8):
        raise machine.fault("a tensor is rebuilt from another number of arguments")
    name = arguments[6]
    dtype = TORCH_DTYPES.get(name.name) if isinstance(name, Global) and name.module == "torch" else None
    if dtype is None:
        raise machine.fault(f"a tensor has an element type that is not known: {_kind(name)}")
    return machine.rebuild(arguments, dtype, arguments[7:])


def _parameter(machine: _Machine, arguments: tuple[object, ...]) -> object:
    """The tensor itself: that it is a parameter says nothing about its bytes."""
    if not arguments:
        raise machine.fault("a parameter without a tensor")
    return arguments[0]


def _from_type(machine: _Machine, arguments: tuple[object, ...]) -> object:
    """A tensor with attributes of its own, `(function, type, arguments, state)`: only plain types are known."""
    if len(arguments) != 4 or not isinstance(arguments[2], tuple):
        raise machine.fault("a tensor with attributes is malformed")
    if str(arguments[1]) not in ("torch.Tensor", "torch.nn.parameter.Parameter"):
        return Opaque(_kind(arguments[1]))
    return machine.call(arguments[0], arguments[2])


def _size(machine: _Machine, arguments: tuple[object, ...]) -> object:
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise machine.fault("a torch.Size without a tuple")
    return arguments[0]


_KNOWN_CALLS: dict[str, Callable[[_Machine, tuple[object, ...]], object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": _size,
}


def _long(machine: _Machine, length: int) -> int:
    if not 0 <= length <= MAX_INTEGER_BYTES:
        raise machine.fault(f"an integer of {length} bytes")
    return int.from_bytes(machine.take(length), "little", signed=True)


def _decimal(machine: _Machine, *, long: bool = False) -> object:
    text = machine.line()
    if text in (b"00", b"01") and not long:
        return text == b"01"
    if len(text) > 3 * MAX_INTEGER_BYTES:
        raise machine.fault("an integer of too many digits")
    return int(text.removesuffix(b"L"))


def _quoted(machine: _Machine) -> str:
    text = machine.line().strip()
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise machine.fault("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")  # type: ignore[attr-defined] # as pickle itself does


def _proto(machine: _Machine) -> None:
    version = machine.take(1)[0]
    if version > 5:
        raise machine.fault(f"pickle protocol {version} is not known")


def _frame(machine: _Machine) -> None:
    machine.number("<Q", 8)


def _pop(machine: _Machine) -> None:
    if machine._marks and machine._marks[-1] == len(machine._stack):  # noqa: SLF001 - a method of the machine
        machine._marks.pop()  # noqa: SLF001
    else:
        machine.pop()


def _text(machine: _Machine, form: str, size: int) -> str:
    return machine.take(machine.number(form, size)).decode("utf-8", "surrogatepass")


def _latin(machine: _Machine, form: str, size: int) -> str:
    length = machine.number(form, size)
    if length < 0:
        raise machine.fault("a string of negative length")
    return machine.take(length).decode("latin-1")


def _bytes(machine: _Machine, form: str, size: int) -> bytes:
    return machine.take(machine.number(form, size))


def _new(kind: str, machine: _Machine) -> None:
    machine.push(Sequence(kind, machine.pop_mark()))


_STOP = ord(".")
_Step = Callable[[_Machine], None]
_TABLE: dict[int, _Step] = {
    0x80: _proto,
    0x95: _frame,
    ord("("): _Machine.mark,
    ord("0"): _pop,
    ord("1"): lambda m: _discard(m.pop_mark()),
    ord("2"): lambda m: m.push(m.top()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.push(_decimal(m)),
    ord("L"): lambda m: m.push(_decimal(m, long=True)),
    ord("J"): lambda m: m.push(m.number("<i", 4)),
    ord("K"): lambda m: m.push(m.number("<B", 1)),
    ord("M"): lambda m: m.push(m.number("<H", 2)),
    0x8A: lambda m: m.push(_long(m, m.number("<B", 1))),
    0x8B: lambda m: m.push(_long(m, m.number("<i", 4))),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("S"): lambda m: m.push(_quoted(m)),
    ord("T"): lambda m: m.push(_latin(m, "<i", 4)),
    ord("U"): lambda m: m.push(_latin(m, "<B", 1)),
    ord("V"): lambda m: m.push(m.line().decode("raw-unicode-escape")),
    ord("X"): lambda m: m.push(_text(m, "<I", 4)),
    0x8C: lambda m: m.push(_text(m, "<B", 1)),
    0x8D: lambda m: m.push(_text(m, "<Q", 8)),
    ord("B"): lambda m: m.push(_bytes(m, "<I", 4)),
    ord("C"): lambda m: m.push(_bytes(m, "<B", 1)),
    0x8E: lambda m: m.push(_bytes(m, "<Q", 8)),
    0x96: lambda m: m.push(_bytes(m, "<Q", 8)),
    ord(")"): lambda m: m.push(_EMPTY),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    0x85: lambda m: m.several(1),
    0x86: lambda m: m.several(2),
    0x87: lambda m: m.several(3),
    ord("]"): lambda m: m.push(Sequence("list")),
    ord("l"): lambda m: _new("list", m),
    0x8F: lambda m: m.push(Sequence("set")),
    0x91: lambda m: _new("frozenset", m),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_mark()),
    0x90: lambda m: m.append(m.pop_mark()),
    ord("}"): lambda m: m.push(Mapping()),
    ord("d"): lambda m: _dict(m),
    ord("s"): lambda m: _set_item(m),
    ord("u"): lambda m: m.set_items(m.pop_mark()),
    ord("p"): lambda m: m.put(int(m.line())),
    ord("q"): lambda m: m.put(m.number("<B", 1)),
    ord("r"): lambda m: m.put(m.number("<I", 4)),
    0x94: _Machine.memoize,
    ord("g"): lambda m: m.get(int(m.line())),
    ord("h"): lambda m: m.get(m.number("<B", 1)),
    ord("j"): lambda m: m.get(m.number("<I", 4)),
    ord("c"): lambda m: m.find(m.line().decode(), m.line().decode()),
    0x93: _Machine.stack_global,
    ord("i"): _Machine.inst,
    ord("o"): _Machine.obj,
    0x81: lambda m: m.new_object(2),
    0x92: lambda m: m.new_object(3),
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.persistent,
}


def _dict(machine: _Machine) -> None:
    values = machine.pop_mark()
    machine.push(Mapping())
    machine.set_items(values)


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _discard(_: object) -> None:
    """POP_MARK throws values away."""
