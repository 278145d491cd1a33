"""Calls that take memory by a number in the pickle.

Examples are `bytearray(1 << 40)` and `torch.FloatTensor(2**28)`.
Torch's `weights_only` allows some of them, and a file of a few bytes takes all the memory there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from shardctl.formats.limits import MAX_DIMS
from shardctl.formats.torch.calls.types import TENSOR_CLASSES, TYPED_STORAGES

_BYTES = ("builtins.bytearray", "builtins.bytes", "__builtin__.bytearray", "__builtin__.str")
_ARRAYS = (
    "numpy.ndarray", "numpy.empty", "numpy.zeros", "numpy.ones", "numpy.core.multiarray.empty",
    "numpy._core.multiarray.empty", "numpy.core.multiarray.zeros", "numpy._core.multiarray.zeros",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "torch.empty", "torch.zeros", "torch.ones", "torch.rand", "torch.randn",
)  # fmt: skip

#: Bytes that a call takes for each element of the shape that its arguments give.
_WIDTHS = {
    **dict.fromkeys(_BYTES, 1),
    **dict.fromkeys(_ARRAYS, 8),
    "torch.UntypedStorage": 1,
    "torch.storage.UntypedStorage": 1,
    "torch.storage.TypedStorage": 4,
    **{
        f"{module}.{name}": dtype.itemsize
        for module in ("torch", "torch.cuda")
        for name, dtype in (*TYPED_STORAGES.items(), *TENSOR_CLASSES.items())
    },
}
#: Bytes that a call may take without being noted: any computer has them.
_HARMLESS = 64 * 1024


def allocated(path: str, arguments: tuple[object, ...]) -> int:
    """The bytes that calling `path` with these arguments takes.

    0 where they are harmless or not known.
    """
    width = _WIDTHS.get(path)
    if width is None or not arguments:
        return 0
    sizes = list(_sizes(arguments))
    nbytes = width * math.prod(sizes) if sizes else 0
    return nbytes if nbytes > _HARMLESS else 0


def _sizes(arguments: tuple[object, ...]) -> Iterable[int]:
    """The numbers of a shape: those of the arguments, and of tuples among them."""
    for value in arguments[:MAX_DIMS]:
        if type(value) is int and value > 0:
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value[:MAX_DIMS] if type(part) is int and part > 0)
