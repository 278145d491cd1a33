"""Put together the tensors that packing must not divide. Pure functions.

Some belong together because they share a storage, others by their names: bitsandbytes saves a
four-bit weight as `X.weight` with `X.weight.absmax`, `X.weight.quant_map` and
`X.weight.quant_state.bitsandbytes__nf4`, and transformers and diffusers make the weight from what
one shard holds of it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from shardctl.columns import Tensors, names_of
from shardctl.formats.base import Format
from shardctl.model import Tensor
from shardctl.planning.grouping.units import Units
from shardctl.storages import Unit, storage_units

#: The characters that are sorted before a dot.
_BEFORE_A_DOT = bytes(range(ord(".")))
#: What follows a module's name in that of a tensor: the number of a layer, or a parameter.
_OF_A_MODULE = re.compile(r"\.[0-9]+(?:\.|\Z)|\.(?:weight|bias)\Z")


def units_of(
    tensors: Sequence[Tensor], written: Format, aliases: Mapping[str, str] | None = None
) -> Units:
    """Return what packing cannot divide in a format, in order of first appearance.

    `aliases` gives for each name that is only recorded the name that is kept: what continues such a
    name belongs to the kept tensor. A unit counts the bytes of all that is in it.
    """
    aliases = aliases or {}
    # Before there are units, since sorting a million names takes as much memory for a while.
    owners = owners_of([*names_of(tensors), *aliases])
    # What is kept as columns shares no storage.
    shares = written.shares_storages and not isinstance(tensors, Tensors)
    units = Units(tensors, storage_units(tensors) if shares else None)
    return Units(tensors, _joined(units, owners, aliases)) if owners else units


def owners_of(names: Iterable[str]) -> dict[str, str]:
    """Return by name the shortest other name that it continues, with a dot between them.

    Names that continue no other are left out, and so are those that continue a module's name only.
    The time is that of sorting the names.
    """
    ordered = list(names)
    # A key takes time, and is only of use for names with a character that is sorted before a dot.
    text = "".join(ordered).encode("utf-8", "surrogatepass")
    ordered.sort(key=_dots_first if len(text.translate(None, _BEFORE_A_DOT)) < len(text) else None)
    # What continues a name follows it at once, since nothing is sorted before a dot.
    begin_alike = list(map(str.startswith, itertools.islice(ordered, 1, None), ordered))
    following = itertools.compress(itertools.pairwise(ordered), begin_alike)
    if not any(name.startswith(f"{before}.") for before, name in following):
        return {}
    modules = _modules_among(ordered)
    owners: dict[str, str] = {}
    owner, beginning = "", None
    for name in ordered:
        if beginning is not None and name.startswith(beginning):
            owners[name] = owner
        elif name not in modules:
            owner, beginning = name, f"{name}."
    return owners


def _modules_among(ordered: Iterable[str]) -> set[str]:
    """Return the names that are those of modules too, by what continues them.

    That is a parameter, or one of several layers: a tensor `model` beside `model.norm.weight` and
    `model.layers.0.scale` owns neither. `ordered` are all names, each followed by what continues
    it.
    """
    modules: set[str] = set()
    continued: list[str] = []
    for name in ordered:
        while continued and not name.startswith(f"{continued[-1]}."):
            continued.pop()
        if continued and _OF_A_MODULE.search(name, len(continued[-1])):
            # What is known for a module is not looked at again, or deep names would take long.
            modules.update(continued)
            continued.clear()
        continued.append(name)
    return modules


def _dots_first(name: str) -> str:
    """Return a key that sorts a dot before every other character, those below it included."""
    return name.replace("\1", "\1\1").replace("\0", "\1\0").replace(".", "\0")


def _joined(
    units: Sequence[Unit], owners: Mapping[str, str], aliases: Mapping[str, str]
) -> list[Unit]:
    """Join the units of tensors that belong to one another."""
    home = {tensor.name: number for number, unit in enumerate(units) for tensor in unit.tensors}
    home |= {alias: home[kept] for alias, kept in aliases.items()}
    return joined(units, ((home[name], home[owner]) for name, owner in owners.items()))


def joined(units: Sequence[Unit], pairs: Iterable[tuple[int, int]]) -> list[Unit]:
    """Join units that are paired, given by their numbers, each at the place of its first unit."""
    # A forest of disjoint sets: each unit has an earlier one of its set, the first one itself.
    earlier = list(range(len(units)))

    def first(number: int) -> int:
        while earlier[number] != number:
            earlier[number] = earlier[earlier[number]]
            number = earlier[number]
        return number

    for pair in pairs:
        one, other = map(first, pair)
        earlier[max(one, other)] = min(one, other)
    sets: dict[int, list[Unit]] = {}
    for number, unit in enumerate(units):
        sets.setdefault(first(number), []).append(unit)
    return [
        some[0]
        if len(some) == 1
        else Unit(
            tuple(tensor for unit in some for tensor in unit.tensors),
            sum(unit.nbytes for unit in some),
        )
        for some in sets.values()
    ]
