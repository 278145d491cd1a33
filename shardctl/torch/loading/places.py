"""The parameters and buffers of a model: their names, where they are, and what is tied."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch

from shardctl.errors import UsageError
from shardctl.model import Tensor
from shardctl.text import escape
from shardctl.torch.dtypes import torch_shape

#: How names of a checkpoint become those of a model: prefixes and what replaces them (None leaves
#: the tensors out), or a function.
Rename = Mapping[str, str | None] | Callable[[str], str | None]


@dataclass(slots=True)
class Place:
    """A parameter or a buffer, with all its names and with the modules that have it."""

    tensor: torch.Tensor
    is_parameter: bool
    names: list[str] = field(default_factory=list)
    owners: list[tuple[torch.nn.Module, str]] = field(default_factory=list)

    def replace(self, tensor: torch.Tensor) -> None:
        """Put another tensor into every module that has this one."""
        if self.is_parameter:
            number = tensor.is_floating_point() or tensor.is_complex()
            tensor = torch.nn.Parameter(tensor, requires_grad=number and self.tensor.requires_grad)
        for module, attribute in self.owners:
            setattr(module, attribute, tensor)

    def set(self, value: torch.Tensor, *, assign: bool) -> None:
        """Take a value: a copy of its elements, or with `assign` the tensor itself."""
        if value is self.tensor:
            return
        if assign:
            self.replace(value)
        else:
            self.tensor.detach().copy_(value)


def places_of(model: torch.nn.Module) -> list[Place]:
    """Return the parameters and buffers of a model, those under several names once."""
    found: dict[int, Place] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        own = (
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        )
        for attribute, tensor in own:
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            place = found.setdefault(id(tensor), Place(tensor, is_parameter))
            place.names.append(f"{prefix}.{attribute}" if prefix else attribute)
            place.owners.append((module, attribute))
    return list(found.values())


@dataclass(slots=True)
class Match:
    """What a checkpoint has for a model. `pairs` are a place, and the tensor for it.

    `given` are places with values that the modules of the model supply. `shapes` are names with the
    checkpoint's shape and the model's, where they differ.
    """

    pairs: list[tuple[Place, Tensor]] = field(default_factory=list)
    given: list[tuple[Place, torch.Tensor]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)


def match(
    places: list[Place],
    persistent: Collection[str],
    tensors: Mapping[str, Tensor],
    values: Mapping[str, torch.Tensor],
    aliases: Collection[str],
) -> Match:
    """Compare a model with the tensors of a checkpoint, by name and shape.

    `persistent` are the names in the model's state dict, in order; `values` are those that its
    modules supply, and `aliases` names that the checkpoint only records. A name is not missing
    where a tied one is there. A buffer that the state dict leaves out is loaded where the
    checkpoint has it, as old ones do.
    """
    found = Match()
    known = set(persistent)
    loaded, filled = set[str](), set[str]()
    for place in places:
        given = [name for name in place.names if name in tensors]
        supplied = [name for name in place.names if name in values]
        filled.update(place.names if given or supplied else ())
        if not given:
            found.given.extend((place, values[name]) for name in supplied[-1:])
            loaded.update(supplied)
            continue
        own = tuple(place.tensor.shape)
        shapes = {name: torch_shape(tensors[name]) for name in given}
        wrong = [(name, shape, own) for name, shape in shapes.items() if shape != own]
        if not wrong:
            # The last one counts, as in torch.
            found.pairs.append((place, tensors[given[-1]]))
        elif not known.isdisjoint(given):
            found.shapes += wrong
        else:
            continue  # a buffer that is computed, of another size than this model's
        loaded.update(given)
    found.missing = [name for name in persistent if name not in filled and name not in tensors]
    found.unexpected = [
        name for name in (*tensors, *values) if name not in loaded and name not in aliases
    ]
    return found


def renamed(tensors: Mapping[str, Tensor], rename: Rename | None) -> dict[str, Tensor]:
    """Return the tensors under the names that `rename` gives them.

    Of several prefixes the longest counts. Raises UsageError where two tensors get one name, and
    for a `rename` of other kinds, or that gives other than text.
    """
    if rename is None:
        return dict(tensors)
    if not callable(rename) and not isinstance(rename, Mapping):
        raise UsageError(
            f"`rename` is a {type(rename).__name__}",
            hint='give a mapping of prefixes, such as {"module.": ""}, or a function',
        )
    given = rename if callable(rename) else _by_prefix(rename)
    found: dict[str, Tensor] = {}
    before: dict[str, str] = {}
    for name, tensor in tensors.items():
        new = given(name)
        if new is None:
            continue
        if not isinstance(new, str):
            raise UsageError(
                f"`rename` gives '{escape(name)}' a {type(new).__name__} as its name",
                hint="give text, or None for the tensors to leave out",
                tensor=name,
            )
        if new in found:
            raise UsageError(
                f"`rename` gives '{escape(before[new])}' and '{escape(name)}' one name, "
                f"'{escape(new)}'",
                hint="choose other prefixes, or None for the tensors to leave out",
                tensor=name,
            )
        found[new], before[new] = tensor, name
    return found


def _by_prefix(prefixes: Mapping[str, str | None]) -> Callable[[str], str | None]:
    longest_first = sorted(prefixes, key=len, reverse=True)

    def rename(name: str) -> str | None:
        prefix = next((each for each in longest_first if name.startswith(each)), None)
        if prefix is None:
            return name
        new = prefixes[prefix]
        return None if new is None else f"{new}{name[len(prefix) :]}"

    return rename
