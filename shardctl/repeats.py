"""Views that repeat the bytes of their storage: a few bytes can have any number of elements."""

from __future__ import annotations

import math
from dataclasses import replace

from shardctl.model import Cast, Tensor, made_tensor

#: Views may take this many times the bytes that they share without a word from the user.
MOST_GROWTH = 16


def compared_parts(tensor: Tensor, twin: Tensor) -> tuple[Tensor, Tensor]:
    """Return what of two tensors has to be read to compare them.

    That is themselves, unless both repeat the same bytes: a view of a few bytes can have more
    elements than anybody can read. Where both repeat along a dimension, once is enough; where they
    still are the same view of few bytes, the elements that it shares are compared once, as tensors
    of fewer dimensions. Of one that is converted, so many elements are converted.
    """
    made = twin.storage.made
    if isinstance(made, Cast):
        mine, its = compared_parts(tensor, made.tensor)
        return mine, made_tensor(twin.name, twin.dtype, its.shape, Cast(its), twin.storage.key)
    if tensor.strides is None or twin.strides is None:
        return tensor, twin
    shape = tuple(
        1 if not step and not other and size else size
        for size, step, other in zip(tensor.shape, tensor.strides, twin.strides, strict=True)
    )
    mine, its = replace(tensor, shape=shape), replace(twin, shape=shape)
    span = mine.span
    if mine.strides == its.strides and mine.nbytes > MOST_GROWTH * max(span.length, 1):
        return _each_once(mine), _each_once(its)
    return mine, its


def _each_once(tensor: Tensor) -> Tensor:
    """Return a view of the same elements that does not repeat them, in the order of the file.

    Where the steps of dimensions that overlap are not multiples of each other, it is all that lies
    at multiples of their divisor, up to the last element: some of that may not be in `tensor`.
    """
    axes: list[tuple[int, int]] = []
    for step, size in sorted(zip(tensor.strides or (), tensor.shape, strict=True)):
        if size > 1:
            base, count = axes[-1] if axes else (step, 1)
            if step % base == 0 and step <= base * count:  # continues where the one below ends
                axes[-1:] = [(base, count + (size - 1) * step // base)]
            else:
                axes.append((step, size))
    once = _with_axes(tensor, axes)
    if once.nbytes > MOST_GROWTH * once.span.length:
        step = math.gcd(*(step for step, _ in axes))
        reach = sum((size - 1) * step for step, size in axes)
        once = _with_axes(tensor, [(step, reach // step + 1)])
    return once


def _with_axes(tensor: Tensor, axes: list[tuple[int, int]]) -> Tensor:
    """Return a view from the same element on, of other dimensions: step and size, inner first."""
    strides, shape = zip(*reversed(axes), strict=True)
    return replace(tensor, shape=shape, strides=None if strides == (1,) else strides)
