"""Random pickles of torch's own vocabulary, to compare readers; arguments are often wrong.

Only names that torch's `weights_only` allows are written, and only small numbers, so that its
loader can be given every one of them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from tests.corruption.hostile_pickles import number, text

T = TypeVar("T")

_STORAGES = {"0": ("Float", 4), "1": ("Half", 2), "2": ("Long", 8)}
#: The records of the storages, by key.
STORAGES = {
    key: bytes((17 * place + 3) % 251 for place in range(6 * width))
    for key, (_, width) in _STORAGES.items()
}
_ORDERED = b"ccollections\nOrderedDict\n)R"
_CLASSES = ("Tensor", "FloatTensor", "HalfTensor", "LongTensor")


class Maker:
    """Makes values as opcodes; the same seed makes the same values."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._memo = 0

    def pickle(self) -> bytes:
        """A whole pickle: mostly a dict, and sometimes with opcodes lost, doubled or swapped."""
        root = self._dict(3) if self._chance(0.9) else self.value(3)
        return b"\x80\x02" + root + b"."

    def value(self, depth: int) -> bytes:
        """Any value, with those in it nested up to `depth`."""
        kinds = [self._scalar, self.tensor, self.tensor, self._parameter, self._recalled]
        if depth > 0:
            deeper = (self._dict, self._list, self._tuple, self._ordered, self._built)
            kinds += [partial(make, depth - 1) for make in deeper]
        made = self._pick(kinds)()
        if self._chance(0.1) and self._memo < 200:
            self._memo += 1
            made += b"q" + bytes([self._memo])
        return made

    def _pick(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _scalar(self) -> bytes:
        return self._pick(
            [
                b"N", b"\x88", b"\x89", b"K\x01", b"K\x00", number(-1), number(300),
                b"G" + struct.pack(">d", self._pick([0.0, -0.0, 1.0, 0.5])), text("a"), text("1"),
                b"U\x01a", b")", b"]", b"}", b"\x8f", text("\u017c"),
                b"c_codecs\nencode\n" + text("b") + text("latin1") + b"\x86R",
                b"ctorch\ndevice\n" + text("cpu") + b"\x85R", b"ctorch\nfloat32\n",
                b"ctorch\nSize\n" + number(2) + b"\x85\x85R", b"cbuiltins\nset\n]\x85R",
                b"cbuiltins\nbytearray\n)R",
            ]
        )  # fmt: skip

    def _recalled(self) -> bytes:
        return b"h" + bytes([self._random.randint(1, self._memo)]) if self._memo else b"N"

    def _key(self) -> bytes:
        if self._chance(0.85):
            return text(f"k{self._random.randint(0, 50)}")
        return self._pick([self._scalar(), b"K\x01" + self._scalar() + b"\x86", self._recalled()])

    def _items(self, depth: int) -> bytes:
        count = self._random.randint(0, 4)
        pairs = [self._key() + self.value(depth) for _ in range(count)]
        if self._chance(0.5):
            return b"(" + b"".join(pairs) + b"u"
        return b"".join(pair + b"s" for pair in pairs)

    def _dict(self, depth: int) -> bytes:
        return b"}" + self._items(depth)

    def _ordered(self, depth: int) -> bytes:
        made = self._pick([_ORDERED, _ORDERED, b"ccollections\nOrderedDict\n)\x81"])
        if self._chance(0.2):
            pairs = (self._key() + self.value(depth) + b"\x86" for _ in range(2))
            made = b"ccollections\nOrderedDict\n](" + b"".join(pairs) + b"e\x85R"
        return made + self._items(depth)

    def _list(self, depth: int) -> bytes:
        values = b"".join(self.value(depth) for _ in range(self._random.randint(0, 3)))
        return b"](" + values + b"e"

    def _tuple(self, depth: int) -> bytes:
        return b"(" + b"".join(self.value(depth) for _ in range(self._random.randint(0, 4))) + b"t"

    def _built(self, depth: int) -> bytes:
        """BUILD, on values that have a state and on others."""
        target = self._pick([_ORDERED, self.value(depth), self.tensor(), b"}", b")"])
        state = self._pick(
            [b"}" + text("_metadata") + b"}s", self._dict(depth), b"N", self.value(depth), b")"]
        )
        return target + state + b"b"

    def _persid(self) -> bytes:
        key = self._pick(list(_STORAGES))
        kind, _ = _STORAGES[key]
        if self._chance(0.03):
            kind = self._pick(["Float", "Half", "Byte"])
        place = text(self._pick(["cpu"] * 20 + ["meta", "foo"]))
        count = number(6) if self._chance(0.97) else number(self._random.randint(0, 8))
        return (
            b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + place + count
            + b"tQ"
        )  # fmt: skip

    def _sizes(self) -> tuple[bytes, bytes]:
        shape = self._pick([(), (6,), (2, 3), (1, 6), (2,), (0,), (3, 1, 2)])
        strides, step = [], 1
        for size in reversed(shape):
            strides.append(step)
            step *= max(size, 1)
        strides.reverse()
        if self._chance(0.2):
            strides = [self._random.randint(0, 3) for _ in strides]
        if self._chance(0.02):
            strides = [*strides, 1]
        return (
            b"(" + b"".join(map(number, shape)) + b"t",
            b"(" + b"".join(map(number, strides)) + b"t",
        )

    def tensor(self) -> bytes:
        """A tensor by one of torch's functions, its arguments mostly right."""
        shape, strides = self._sizes()
        offset = number(self._pick([0, 0, 0, 1, 2, 7]))
        gradient = self._pick([b"\x89"] * 8 + [b"\x88", b"K\x01", b"N"])
        hooks = self._pick([_ORDERED] * 8 + [b"N", b"}", self._scalar()])
        base = [self._persid(), offset, shape, strides]
        flags = self._pick([b"N", b"}", b"}" + text("conj") + b"\x89s", self._scalar()])
        more = [flags] if self._chance(0.1) else []
        name, arguments = self._pick(
            [
                ("_rebuild_tensor_v2", [*base, gradient, hooks, *more]),
                ("_rebuild_tensor_v2", [*base, gradient, hooks]),
                ("_rebuild_tensor", base),
                ("_rebuild_tensor_v3", [*base, gradient, hooks, b"ctorch\nfloat32\n", *more]),
            ]
        )
        if self._chance(0.04):
            arguments = self._spoiled(arguments)
        if self._chance(0.1):
            kind = self._pick(list(_CLASSES))
            made = f"ctorch\n{kind}\n".encode() + self._pick([b")R", b")\x81"])
            return made + b"(" + b"".join(base) + b"tb"
        return f"ctorch._utils\n{name}\n(".encode() + b"".join(arguments) + b"tR"

    def _spoiled(self, arguments: list[bytes]) -> list[bytes]:
        place = self._random.randrange(len(arguments))
        wrong = self._pick([[], [self._scalar()], [arguments[place]] * 2])
        return [*arguments[:place], *wrong, *arguments[place + 1 :]]

    def _parameter(self) -> bytes:
        tensor = self.tensor() if self._chance(0.9) else self._scalar()
        gradient = self._pick([b"\x88", b"\x89", b"\x89", b"K\x01"])
        state = self._pick(
            [b"N", b"}", b"}" + text("note") + self._scalar() + b"s", self._scalar(),
             b"}" + text("data") + self.tensor() + b"s", b"}K\x01K\x02s"]
        )  # fmt: skip
        utils, parameter = b"ctorch._utils\n", b"ctorch.nn.parameter\nParameter\n"
        arguments = [tensor, gradient, _ORDERED]
        if self._chance(0.05):
            arguments = self._spoiled(arguments)
        plain = b"(" + b"".join(arguments) + b"tR"
        return self._pick(
            [
                utils + b"_rebuild_parameter\n" + plain,
                utils + b"_rebuild_parameter\n" + plain,
                utils + b"_rebuild_parameter_with_state\n(" + b"".join(arguments) + state + b"tR",
                parameter + tensor + b"\x85\x81",
                parameter + tensor + gradient + b"\x86\x81",
                b"ctorch\nTensor\n" + tensor + b"\x85R",
                utils + b"_rebuild_device_tensor_from_cpu_tensor\n(" + tensor
                + b"ctorch\nfloat32\n" + text("cpu") + b"\x89tR",
                b"ctorch._tensor\n_rebuild_from_type_v2\n(" + utils + b"_rebuild_parameter\n"
                + parameter + b"(" + b"".join(arguments) + b"t" + state + b"tR",
            ]
        )  # fmt: skip
