"""Where the tensors of a model go: a device for each, or left on disk and read at use."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch

from shardctl.errors import UsageError
from shardctl.text import escape
from shardctl.torch.loading.places import Place
from shardctl.torch.state_dict import StateDict

#: What a device map says of tensors that stay in their files, as Accelerate spells it.
DISK = "disk"

Device: TypeAlias = "str | int | torch.device"
#: Prefixes of names, "" for all, and the device of each: a name, a number, or "disk".
DeviceMap: TypeAlias = "Mapping[str, Device]"


def device_of(name: str, device_map: DeviceMap) -> Device | None:
    """Return the device of a tensor: that of its name, or of the longest prefix; None for none."""
    while True:
        if name in device_map:
            return device_map[name]
        if not name:
            return None
        name = name.rpartition(".")[0]


def devices(places: Sequence[Place], device_map: DeviceMap) -> list[Device]:
    """Return the device of each place: that of its first name.

    Raises UsageError, which names them, for those that no prefix covers.
    """
    found = [device_of(place.names[0], device_map) for place in places]
    uncovered = [
        place.names[0] for place, device in zip(places, found, strict=True) if device is None
    ]
    if uncovered:
        names = ", ".join(map(escape, uncovered[:10])) + (", …" if len(uncovered) > 10 else "")
        raise UsageError(
            f"`device_map` has no device for {names}",
            hint='add their prefixes, or "" for all that is left',
            tensor=uncovered[0],
        )
    return [device for device in found if device is not None]


def main_device(device_map: DeviceMap) -> Device:
    """Return where tensors that are on disk are used: the first device of the map, or the CPU."""
    return next((device for device in device_map.values() if device != DISK), "cpu")


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Tensors that are read before the `forward` of a module, and dropped after it.

    `tensors` are attributes of the module or of those within it, as paths with dots, with the names
    in `state`; `dtype` is the type of the floating-point ones, None for that of the file. An
    attribute that was given data by something else is left alone.
    """

    module: torch.nn.Module
    state: StateDict
    tensors: dict[str, str]
    dtype: torch.dtype | None
    #: What each call that is not over yet has read.
    _read_now: list[list[str]] = field(default_factory=list)

    def attach(self) -> None:
        """Leave the module without data, and read it at each use."""
        for path, name in self.tensors.items():
            like = self.state.get_slice(name)
            dtype = self._dtype(like.dtype)
            self._put(path, torch.empty(like.shape, dtype=dtype, device="meta"))
        self.module.register_forward_pre_hook(self._read)
        # Also after an error, so that memory does not fill with what was read.
        self.module.register_forward_hook(self._drop, always_call=True)

    def forget(self, attributes: Container[tuple[torch.nn.Module, str]]) -> None:
        """Leave attributes of modules to what they are now."""
        for path in [path for path in self.tensors if self._place(path) in attributes]:
            del self.tensors[path]

    def _read(self, _: torch.nn.Module, __: object) -> None:
        read: list[str] = []
        self._read_now.append(read)
        for path, name in self.tensors.items():
            owner, attribute = self._place(path)
            if getattr(owner, attribute).is_meta:
                tensor = self.state[name]
                self._put(path, tensor.to(self._dtype(tensor.dtype)))
                read.append(path)

    def _drop(self, _: torch.nn.Module, __: object, ___: object) -> None:
        # Where a hook before `_read` fails, nothing was read.
        for path in self._read_now.pop() if self._read_now else ():
            owner, attribute = self._place(path)
            self._put(path, torch.empty_like(getattr(owner, attribute), device="meta"))

    def _dtype(self, own: torch.dtype) -> torch.dtype:
        return self.dtype if self.dtype is not None and own.is_floating_point else own

    def _place(self, path: str) -> tuple[torch.nn.Module, str]:
        within, _, attribute = path.rpartition(".")
        return self.module.get_submodule(within), attribute

    def _put(self, path: str, tensor: torch.Tensor) -> None:
        owner, attribute = self._place(path)
        if isinstance(getattr(owner, attribute), torch.nn.Parameter):
            # What is dropped after its use cannot be trained.
            tensor = torch.nn.Parameter(tensor, requires_grad=False)
        setattr(owner, attribute, tensor)


def leave_on_disk(
    model: torch.nn.Module,
    kept: Sequence[tuple[Place, str]],
    state: StateDict,
    dtype: torch.dtype | None,
) -> None:
    """Have modules read what is on disk when they are used; each place has its name in `state`."""
    forget(model, [place for place, _ in kept])
    parents = _parents(model)
    by_module: dict[torch.nn.Module, dict[str, str]] = {}
    for place, name in kept:
        for owner, attribute in place.owners:
            for module, path in _users(owner, attribute, parents):
                by_module.setdefault(module, {})[path] = name
    for module, tensors in by_module.items():
        OnDisk(module, state, tensors, dtype).attach()


def forget(model: torch.nn.Module, places: Iterable[Place]) -> None:
    """Have no module read what was left on disk before for these places."""
    attributes = {owner for place in places for owner in place.owners}
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():  # noqa: SLF001 - where torch keeps them
            left = getattr(hook, "__self__", None)
            if isinstance(left, OnDisk):
                left.forget(attributes)


#: For each module those that hold it, with its name there.
_Parents: TypeAlias = "Mapping[torch.nn.Module, Sequence[tuple[torch.nn.Module, str]]]"


def _parents(model: torch.nn.Module) -> _Parents:
    found: dict[torch.nn.Module, list[tuple[torch.nn.Module, str]]] = {}
    for parent in model.modules():
        for name, module in parent.named_children():
            found.setdefault(module, []).append((parent, name))
    return found


def _users(
    module: torch.nn.Module, path: str, parents: _Parents
) -> Iterator[tuple[torch.nn.Module, str]]:
    """Yield the modules whose `forward` uses a tensor, with its path from there.

    A list of parameters has no `forward`, and attention uses the parameters of its last layer
    itself.
    """
    alone = type(module).forward is torch.nn.Module.forward
    above = [
        (parent, f"{name}.{path}")
        for parent, name in parents.get(module, ())
        if alone or isinstance(parent, torch.nn.MultiheadAttention)
    ]
    if not above:
        yield module, path
    for parent, longer in above:
        yield from _users(parent, longer, parents)
