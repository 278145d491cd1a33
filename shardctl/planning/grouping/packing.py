"""Packing: dividing units of tensors into shards by size or by count. Pure functions.

`pack` is the rule of huggingface_hub's planner (`split_state_dict_into_shards_factory`), shard for
shard.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence

from shardctl.errors import UsageError
from shardctl.model import Tensor
from shardctl.planning.grouping.units import Stretches, Units
from shardctl.planning.request import Limits
from shardctl.storages import Unit
from shardctl.text import escape, plural


def divide(
    units: Units, limits: Limits, measure: Callable[[Sequence[Tensor]], int]
) -> list[Stretches]:
    """Divide units into shards by the limits; `measure` gives the exact bytes of a file.

    Raises UsageError where that cannot be done.
    """
    every = range(len(units))
    if limits.num_shards is not None:
        count = max(min(limits.num_shards, len(units)), 1) if limits.or_fewer else limits.num_shards
        return [[every]] if count == 1 else balance(units.sizes, count)
    if not units:
        return [[every]]
    if limits.each_group:
        return [[every[number : number + 1]] for number in every]
    if limits.max_shard_bytes is None:
        return [[every]]
    if limits.strict:
        return pack_strict(units, limits.max_shard_bytes, measure)
    return pack(units.sizes, limits.max_shard_bytes)


def pack(sizes: Sequence[int], limit: int) -> list[Stretches]:
    """Pack as the hub does: fill shards in order; a unit over the limit gets its own shard at once.

    `sizes` are the bytes of the units. The shard that is being filled stays open past a unit over
    the limit, so it may come after it.
    """
    sums = [0, *itertools.accumulate(sizes)]
    shards: list[Stretches] = []
    current: list[range] = []
    begin = used = 0
    over = [number for number, nbytes in enumerate(sizes) if nbytes > limit]
    for large in (*over, len(sizes)):
        # None of the units up to this one is over the limit.
        while begin < large:
            end = min(_reach(sums, begin, limit - used), large)
            if begin < end:
                current.append(range(begin, end))
                used += sums[end] - sums[begin]
                begin = end
            if begin < large:
                shards.append(current)
                current, used = [], 0
        if large < len(sizes):
            shards.append([range(large, large + 1)])
            begin = large + 1
    if current:
        shards.append(current)
    return shards


def pack_strict(
    units: Units, limit: int, measure: Callable[[Sequence[Tensor]], int]
) -> list[Stretches]:
    """Fill shards in order, so that no file, header included, is larger than `limit` bytes.

    A file's exact size is known only as a whole, so each shard's end is guessed from what the last
    one's header took for each unit, and found from there in growing steps: a handful of
    measurements a shard.
    """
    sums = [0, *itertools.accumulate(units.sizes)]
    shards: list[Stretches] = []
    begin = overhead = 0
    while begin < len(units):

        def size(end: int, begin: int = begin) -> int:
            return measure(units.held([range(begin, end)]))

        most = _reach(sums, begin, limit)
        if most == begin or size(begin + 1) > limit:
            raise _cannot_fit(units[begin], limit, measure)
        # The first end that is too much, if headers take as much as they did in the shard before.
        guess = bisect.bisect_right(
            range(begin + 1, most + 1),
            limit,
            key=lambda end: sums[end] - sums[begin] + overhead * (end - begin),
        )
        end = _last_fitting(lambda end: size(end) <= limit, begin + 1, most, begin + max(guess, 1))
        overhead = (size(end) - (sums[end] - sums[begin])) // (end - begin)
        shards.append([range(begin, end)])
        begin = end
    return shards


def _last_fitting(fits: Callable[[int], bool], low: int, high: int, guess: int) -> int:
    """Return the largest end of low..high that fits.

    `low` fits, and past the first end that does not, none does. The search begins at `guess`, so
    that a good one takes few calls of `fits`.
    """
    step = 1
    if fits(guess):
        low = guess
        while low < high and fits(min(low + step, high)):
            low = min(low + step, high)
            step *= 2
        high = min(low + step, high + 1)
    else:
        high = guess
        while high - step > low and not fits(high - step):
            high -= step
            step *= 2
        low = max(high - step, low)
    # Now `low` fits and `high` does not.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _cannot_fit(unit: Unit, limit: int, measure: Callable[[Sequence[Tensor]], int]) -> UsageError:
    name, others = unit.name, len(unit.tensors) - 1
    need = measure(unit.tensors)
    what = f"tensor '{escape(name)}'"
    if unit.group is not None:
        what = f"group '{escape(unit.group)}' ({plural(others + 1, 'tensor')})"
    elif others:
        what += f", with what cannot be divided from it ({plural(others, 'tensor')}),"
    return UsageError(
        f"{what} needs a file of {need:,} bytes, over the strict limit of {limit:,}",
        hint=f"choose `max_shard_size` {need} or more, or leave out `strict_size`",
        tensor=name,
    )


def balance(sizes: Sequence[int], count: int) -> list[Stretches]:
    """Fill exactly `count` shards, in order, so that the largest is as small as possible.

    `sizes` are the bytes of the units. The others are near the average.
    Raises UsageError where there are fewer units than shards.
    """
    if count > len(sizes):
        raise UsageError(
            f"{plural(len(sizes), 'tensor')} (those that stay together counted once) cannot fill "
            f"{count} shards",
            hint=f"choose `num_shards` {max(len(sizes), 1)} or fewer",
        )
    sums = [0, *itertools.accumulate(sizes)]
    capacity = _least_capacity(sums, count)
    needed = _shards_needed(sums, capacity)
    shards: list[Stretches] = []
    begin = 0
    for left in range(count, 0, -1):
        end = _balanced_end(sums, needed, begin, left, capacity)
        shards.append([range(begin, end)])
        begin = end
    return shards


def _reach(sums: Sequence[int], begin: int, capacity: int) -> int:
    """Return the largest end for which units begin:end stay within the capacity."""
    return bisect.bisect_right(sums, sums[begin] + capacity, lo=begin) - 1


def _least_capacity(sums: Sequence[int], count: int) -> int:
    """Return the least size of the largest shard for which `count` shards in order are enough."""
    largest = max(after - before for before, after in itertools.pairwise(sums))

    def enough(capacity: int) -> bool:
        begin = 0
        for _ in range(count):
            begin = _reach(sums, begin, capacity)
            if begin == len(sums) - 1:
                return True
        return False

    low = max(largest, -(-sums[-1] // count))
    high = low + largest  # every shard but the last is then filled past the average
    return low + bisect.bisect_left(range(low, high), True, key=enough)


def _shards_needed(sums: Sequence[int], capacity: int) -> list[int]:
    """Return for each unit the number of shards that it and all after it need at least."""
    needed = [0] * len(sums)
    for begin in range(len(sums) - 2, -1, -1):
        needed[begin] = 1 + needed[_reach(sums, begin, capacity)]
    return needed


def _balanced_end(
    sums: Sequence[int], needed: Sequence[int], begin: int, left: int, capacity: int
) -> int:
    """Return the end of a shard that is nearest to the average of what is left.

    The rest must still fit into the shards that follow.
    """
    total = len(sums) - 1
    if left == 1:
        return total
    latest = min(_reach(sums, begin, capacity), total - (left - 1))
    goal = sums[begin] + (sums[-1] - sums[begin]) / left
    end = min(max(bisect.bisect_left(sums, goal, lo=begin + 1), begin + 1), latest)
    if end > begin + 1 and goal - sums[end - 1] <= sums[end] - goal:
        end -= 1
    while needed[end] > left - 1:
        end += 1
    return end
