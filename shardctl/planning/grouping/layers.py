"""Group tensors by the layer or the expert that they are in, so that no shard divides one.

A reader of one layer then needs one file. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from shardctl.chains import numbers
from shardctl.errors import UsageError
from shardctl.planning.grouping.groups import joined
from shardctl.storages import Unit
from shardctl.text import escape

#: The name of the group that a tensor of a name is in, None where it is in none.
_GroupOf = Callable[[str], str | None]


def grouped(units: Sequence[Unit], group_by: str) -> list[Unit]:
    """Return the units of each group joined, at the place of the first of them.

    `group_by` is "layer", "expert", or a regular expression whose first group has the group's name.
    With "layer", a group is a link of the outermost numbered chain in its names (`layers.3`); with
    "expert", one of the chain within it (`layers.3.mlp.experts.5`), and what else is in the layer
    is a group too. What is in none stays with the other tensors of its module. Raises UsageError
    for an expression that cannot be used, or that finds no group.
    """
    names = [tensor.name for unit in units for tensor in unit.tensors]
    group_of = _links(names, group_by) if group_by in _CHAIN else _by_pattern(names, group_by)

    def home(name: str) -> tuple[bool, str]:
        group = group_of(name)
        # A group can be called like a module.
        return (False, _module(name)) if group is None else (True, group)

    first: dict[tuple[bool, str], int] = {}
    pairs = [
        (number, first.setdefault(home(tensor.name), number))
        for number, unit in enumerate(units)
        for tensor in unit.tensors
    ]
    return [unit._replace(group=home(unit.tensors[0].name)[1]) for unit in joined(units, pairs)]


#: Which chain of a name a way to group goes by, counted from the outermost.
_CHAIN = {"layer": 0, "expert": 1}


def _links(names: Sequence[str], group_by: str) -> _GroupOf:
    """Group by a numbered chain: a place in the names where several numbers are found.

    A number that is the only one there (`0.auto_model.encoder.layer.5`) is passed over, unless a
    name has no other.
    """
    found: dict[str, str] = {}
    chains: set[str] = set()
    for name in names:
        for begin, end in numbers(name):
            number = name[begin:end]
            if found.setdefault(name[:begin], number) != number:
                chains.add(name[:begin])

    def group_of(name: str) -> str | None:
        spans = list(numbers(name))
        in_chains = [span for span in spans if name[: span[0]] in chains] or spans[:1]
        if not in_chains:
            return None
        _, end = in_chains[min(_CHAIN[group_by], len(in_chains) - 1)]
        return name[:end]

    return group_of


def _by_pattern(names: Sequence[str], pattern: str) -> _GroupOf:
    what = f"`group_by` '{escape(pattern)}'"
    example = "for example 'blocks\\.(\\d+)\\.', or say 'layer' or 'expert'"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"{what} cannot be used: {error}",
            hint=f"it takes a regular expression of Python, {example}",
        ) from error
    if not compiled.groups:
        raise UsageError(
            f"{what} has no group, whose text would name the group of a tensor",
            hint=f"put the part that tells groups apart in parentheses, {example}",
        )

    def group_of(name: str) -> str | None:
        found = compiled.search(name)
        return None if found is None else found[1]

    if names and all(group_of(name) is None for name in names):
        raise UsageError(
            f"{what} finds no group in any tensor's name",
            hint="an expression is looked for anywhere in a name; see the names with `inspect`",
        )

    return group_of


def _module(name: str) -> str:
    """Return the name of the module that a tensor is of: all but the last part."""
    return name.rpartition(".")[0] or name
