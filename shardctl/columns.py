"""Many tensors without an object for each: their names, forms and places, as columns.

Most tensors of a large checkpoint are alike: each has a whole buffer for itself, and there are few
dtypes and shapes. Such tensors are kept here in a name and 24 bytes each, and what is asked of all
of them (`names_of`, `forms_of`, …) is answered from the columns. They are a sequence of `Tensor`
all the same: each is made when it is looked at, and not kept.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, overload

from shardctl.model import Dtype, Extent, Storage, Tensor


@dataclass(slots=True, eq=False)
class Form:
    """What many tensors have in common; `nbytes` are the bytes of each.

    Two are equal if they are one object, which takes no time to see: those of a file are one where
    they are alike.
    """

    dtype: Final[Dtype]
    shape: Final[tuple[int, ...]]
    nbytes: Final[int]


class Columns:
    """Tensors of one file, each the whole of a buffer that has its name and no checksum.

    `path` is the file's. The columns have an entry for each tensor: its name, which no other of
    them has, its form, and where it begins in the file, in bytes. They are not changed.
    """

    __slots__ = ("forms", "names", "offsets", "path")

    def __init__(
        self, path: str, names: Sequence[str], forms: Sequence[Form], offsets: Sequence[int]
    ) -> None:
        self.path = path
        self.names = names
        self.forms = forms
        self.offsets = offsets

    @classmethod
    def of(cls, path: str, tensors: Iterable[Tensor]) -> Columns:
        """Return the columns of tensors that are as this class says, in their order."""
        held = list(tensors)
        return cls(
            path,
            [tensor.name for tensor in held],
            forms_of(held),
            [tensor.storage.extent.offset for tensor in held],
        )

    def __reduce__(self) -> tuple[object, ...]:
        return Columns, (self.path, self.names, self.forms, self.offsets)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Tensor]:
        return map(self._tensor, self.names, self.forms, self.offsets)

    def __getitem__(self, number: int) -> Tensor:
        return self._tensor(self.names[number], self.forms[number], self.offsets[number])

    def _tensor(self, name: str, form: Form, offset: int) -> Tensor:
        return Tensor(
            name, form.dtype, form.shape, Storage(Extent(self.path, offset, form.nbytes), name)
        )

    def part(self, begin: int, end: int) -> Columns:
        """Return the tensors whose numbers are from `begin` to before `end`."""
        if begin == 0 and end == len(self.names):
            return self
        some = slice(begin, end)
        return Columns(self.path, self.names[some], self.forms[some], self.offsets[some])


class Tensors(Sequence[Tensor]):
    """Tensors that are kept as columns, those of one file after those of another.

    They equal a tuple of the same tensors.
    """

    __slots__ = ("_begins", "parts")

    def __init__(self, parts: Iterable[Columns]) -> None:
        self.parts = tuple(parts)
        # The number of the first tensor of each part, and of the tensors of all.
        self._begins = [0, *itertools.accumulate(map(len, self.parts))]

    def __reduce__(self) -> tuple[object, ...]:
        return Tensors, (self.parts,)

    def __len__(self) -> int:
        return self._begins[-1]

    def __iter__(self) -> Iterator[Tensor]:
        return itertools.chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            numbers = range(len(self))[index]
            return self.taken([numbers]) if numbers.step == 1 else tuple(self)[index]
        number = range(len(self))[index]
        part = bisect.bisect_right(self._begins, number) - 1
        return self.parts[part][number - self._begins[part]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensors | tuple):
            return NotImplemented
        return len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def taken(self, stretches: Iterable[range]) -> Tensors:
        """Return the tensors of some numbers, in the order in which they are given."""
        return Tensors(part for stretch in stretches for part in self._stretch(stretch))

    def _stretch(self, numbers: range) -> Iterator[Columns]:
        begin = numbers.start
        place = bisect.bisect_right(self._begins, begin) - 1
        while begin < numbers.stop:
            first, after = self._begins[place : place + 2]
            end = min(after, numbers.stop)
            if begin < end:
                yield self.parts[place].part(begin - first, end - first)
            begin, place = end, place + 1


class OneLevel(Mapping[str, Tensor]):
    """What a file holds whose tensors are not nested, by their names."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self)}

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[self._numbers[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(names_of(self.tensors))

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        return repr(dict(self))


def names_of(tensors: Iterable[Tensor]) -> list[str]:
    """Return the name of each tensor."""
    if isinstance(tensors, Tensors):
        return list(itertools.chain.from_iterable(part.names for part in tensors.parts))
    return [tensor.name for tensor in tensors]


def forms_of(tensors: Iterable[Tensor]) -> list[Form]:
    """Return the form of each tensor; those of a file are one object where they are alike.

    Raises ValueError for a tensor whose elements do not fill whole bytes.
    """
    if isinstance(tensors, Tensors):
        return list(itertools.chain.from_iterable(part.forms for part in tensors.parts))
    forms: dict[tuple[str, tuple[int, ...]], Form] = {}
    found: list[Form] = []
    for tensor in tensors:
        kind = tensor.dtype.name, tensor.shape
        form = forms.get(kind)
        if form is None:
            form = forms[kind] = Form(tensor.dtype, tensor.shape, tensor.nbytes)
        found.append(form)
    return found


def sizes_of(tensors: Iterable[Tensor]) -> list[int]:
    """Return the bytes of each tensor's own elements. Raises as `forms_of` does."""
    if isinstance(tensors, Tensors):
        return [form.nbytes for part in tensors.parts for form in part.forms]
    return [tensor.nbytes for tensor in tensors]


def spans_of(tensors: Iterable[Tensor]) -> Iterator[tuple[int, int]]:
    """Yield where each tensor's bytes begin in its file, and how many there are to the last."""
    if isinstance(tensors, Tensors):
        for part in tensors.parts:
            yield from zip(part.offsets, [form.nbytes for form in part.forms], strict=True)
        return
    for tensor in tensors:
        span = tensor.span
        yield span.offset, span.length


def rows_of(tensors: Iterable[Tensor]) -> Iterator[tuple[str, Form, str, int]]:
    """Yield each tensor's name, form and file, and where its first element is there, in bytes.

    Raises as `forms_of` does.
    """
    if isinstance(tensors, Tensors):
        for part in tensors.parts:
            path = itertools.repeat(part.path)
            yield from zip(part.names, part.forms, path, part.offsets, strict=False)
        return
    held = list(tensors)
    for tensor, form in zip(held, forms_of(held), strict=True):
        yield tensor.name, form, tensor.storage.extent.path, tensor.begin


def joined(some: Iterable[Sequence[Tensor]]) -> Sequence[Tensor]:
    """Return the tensors of several sequences, as columns where all of them are."""
    sequences = list(some)
    columns = [tensors.parts for tensors in sequences if isinstance(tensors, Tensors)]
    if sequences and len(columns) == len(sequences):
        return Tensors(itertools.chain.from_iterable(columns))
    return tuple(itertools.chain.from_iterable(sequences))
