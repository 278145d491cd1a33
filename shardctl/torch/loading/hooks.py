"""Modules that change a state dict before they take tensors from it, or that hold extra state.

Source: `Module.load_state_dict` and `Module._load_from_state_dict` of torch 2.13. A module can have
hooks, or override that method, to give old names new ones, leave tensors out, or add some. They
are run here before anything is read, on tensors of the meta device that stand for those of the
files. So the model stays as it is, and each stand-in says by its new name where its tensor goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from shardctl.errors import InputError
from shardctl.model import Tensor
from shardctl.torch.dtypes import torch_dtype, torch_shape

#: The name of a module's extra state (`torch.nn.modules.module._EXTRA_STATE_KEY_SUFFIX`).
_EXTRA = "_extra_state"
#: What torch says of copies that fail. All copies from stand-ins do, and those that would fail
#: because of a shape are found without torch.
_OF_COPIES = ("While copying", "While swapping", "size mismatch for")


@dataclass(slots=True)
class Adapted:
    """The tensors of a checkpoint as the modules of a model take them, by name.

    `values` are tensors that a module adds itself. `computed` are names whose tensors would be
    computed from those of the files. `extra` are modules with the tensors for their extra state,
    and `errors` what a module has against the checkpoint.
    """

    tensors: dict[str, Tensor]
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    computed: list[str] = field(default_factory=list)
    extra: list[tuple[torch.nn.Module, Tensor]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def adapted(model: torch.nn.Module, tensors: Mapping[str, Tensor], *, assign: bool) -> Adapted:
    """Return the tensors under the names that the modules of a model give them; change nothing.

    `assign` says that tensors will be put in the place of theirs; modules can ask for it.
    """
    found = Adapted(dict(tensors))
    special = [(prefix, module) for prefix, module in _modules(model) if _is_special(module)]
    names = _Names([prefix for prefix, _ in special], tensors)
    stand_ins = _StandIns()
    for prefix, module in special:
        inside = {name: found.tensors.pop(name) for name in names.take(prefix)}
        taken = _run(module, prefix, inside, found, stand_ins, assign=assign)
        found.tensors.update(taken)
        names.add(taken)
    for prefix, module in _modules(model):
        tensor = found.tensors.pop(f"{prefix}{_EXTRA}", None) if has_extra_state(module) else None
        if tensor is not None:
            found.extra.append((module, tensor))
    return found


def has_extra_state(module: torch.nn.Module) -> bool:
    """Whether a module takes extra state from a state dict."""
    return type(module).set_extra_state is not torch.nn.Module.set_extra_state


def persistent_names(model: torch.nn.Module, extra: Sequence[torch.nn.Module]) -> Iterator[str]:
    """Yield the names that a model wants of a state dict, without the extra state of `extra`."""
    there = set(map(id, extra))
    for prefix, module in _modules(model):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield f"{prefix}{name}"
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                yield f"{prefix}{name}"
        if has_extra_state(module) and id(module) not in there:
            yield f"{prefix}{_EXTRA}"


def run_after_load(model: torch.nn.Module, incompatible: tuple[list[str], list[str]]) -> None:
    """Call the hooks that modules have for the time after a load, inner modules first."""
    for _, module in reversed(list(_modules(model))):
        for hook in module._load_state_dict_post_hooks.values():
            hook(module, incompatible)


def _modules(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield each module with the prefix of its names, an outer one before those within."""
    for name, module in model.named_modules(remove_duplicate=False):
        yield f"{name}." if name else "", module


def _is_special(module: torch.nn.Module) -> bool:
    own = type(module)._load_from_state_dict is not torch.nn.Module._load_from_state_dict
    return own or bool(module._load_state_dict_pre_hooks)


class _StandIns:
    """Tensors without data, each for one tensor of a file."""

    def __init__(self) -> None:
        self._tensors: dict[int, tuple[torch.Tensor, Tensor]] = {}

    def stand_in(self, tensor: Tensor) -> torch.Tensor:
        try:
            dtype = torch_dtype(tensor)
        except InputError:
            dtype = torch.uint8  # said where the tensor is needed
        made = torch.empty(torch_shape(tensor), dtype=dtype, device="meta")
        self._tensors[id(made)] = made, tensor
        return made

    def meant_by(self, value: object) -> Tensor | None:
        return self._tensors.get(id(value), (None, None))[1]


class _Names:
    """Names of tensors by the prefixes that they have, of some: each is looked at a few times only.

    A model can have thousands of modules that change a state dict, and many more tensors.
    """

    def __init__(self, prefixes: Iterable[str], names: Iterable[str]) -> None:
        self._below: dict[str, dict[str, None]] = {prefix: {} for prefix in prefixes}
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Add names, to all of their prefixes."""
        for name in names:
            for prefix in self._prefixes(name):
                self._below[prefix][name] = None

    def take(self, prefix: str) -> list[str]:
        """Return the names with a prefix, and remove them from every prefix."""
        taken = list(self._below[prefix])
        for name in taken:
            for each in self._prefixes(name):
                self._below[each].pop(name, None)
        return taken

    def _prefixes(self, name: str) -> Iterator[str]:
        ends = (number + 1 for number, letter in enumerate(name) if letter == ".")
        return (name[:end] for end in (0, *ends) if name[:end] in self._below)


def _run(
    module: torch.nn.Module,
    prefix: str,
    tensors: Mapping[str, Tensor],
    found: Adapted,
    stand_ins: _StandIns,
    *,
    assign: bool,
) -> dict[str, Tensor]:
    """Let a module change the tensors below its prefix; return those of the files that are left.

    What else it has to say is added to `found`.
    """
    extra = f"{prefix}{_EXTRA}"
    left = {name: tensor for name, tensor in tensors.items() if name == extra}
    inside: dict[str, object] = {
        name: stand_ins.stand_in(tensor) for name, tensor in tensors.items() if name != extra
    }
    twin = _twin(module)
    own = {id(each) for each in (*module._parameters.values(), *module._buffers.values())}
    told = {"assign_to_params_buffers": True} if assign else {}
    errors: list[str] = []
    with torch.no_grad():
        twin._load_from_state_dict(inside, prefix, told, True, [], [], errors)
    found.errors.extend(error for error in errors if not error.startswith(_OF_COPIES))
    for name, value in inside.items():
        tensor = stand_ins.meant_by(value)
        if tensor is not None:
            left[name] = tensor
        elif isinstance(value, torch.Tensor) and value.is_meta and id(value) not in own:
            found.computed.append(name)
        elif isinstance(value, torch.Tensor):
            found.values[name] = value
    return left


def _twin(module: torch.nn.Module) -> torch.nn.Module:
    """Return a module with the same tensors, which takes what is assigned to this one.

    Nothing is copied into the tensors, since a stand-in has no data. (`copy.copy` would call
    methods by which some modules refuse to be copied.)
    """
    twin: torch.nn.Module = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    for members in ("_parameters", "_buffers", "_modules"):
        twin.__dict__[members] = dict(module.__dict__[members])
    return twin
