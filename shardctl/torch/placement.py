"""Where the tensors of a model go: a device for each, or left on disk and read at use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from shardctl.errors import UsageError
from shardctl.text import escape
from shardctl.torch.places import Place
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
    """Tensors of one module that are read before its `forward`, and dropped after it.

    `tensors` are attributes, with the names in `state`; `dtype` is the type of the floating-point
    ones, None for that of the file.
    """

    module: torch.nn.Module
    state: StateDict
    tensors: Mapping[str, str]
    dtype: torch.dtype | None

    def attach(self) -> None:
        """Leave the module without data, and read it at each use."""
        for attribute, name in self.tensors.items():
            like = self.state.get_slice(name)
            dtype = self._dtype(like.dtype)
            self._put(attribute, torch.empty(like.shape, dtype=dtype, device="meta"))
        self.module.register_forward_pre_hook(self._read)
        # Also after an error, so that memory does not fill with what was read.
        self.module.register_forward_hook(self._drop, always_call=True)

    def _read(self, _: torch.nn.Module, __: object) -> None:
        for attribute, name in self.tensors.items():
            tensor = self.state[name]
            self._put(attribute, tensor.to(self._dtype(tensor.dtype)))

    def _drop(self, module: torch.nn.Module, _: object, __: object) -> None:
        for attribute in self.tensors:
            held = getattr(module, attribute)
            self._put(attribute, torch.empty_like(held, device="meta"))

    def _dtype(self, own: torch.dtype) -> torch.dtype:
        return self.dtype if self.dtype is not None and own.is_floating_point else own

    def _put(self, attribute: str, tensor: torch.Tensor) -> None:
        if isinstance(getattr(self.module, attribute), torch.nn.Parameter):
            # What is dropped after its use cannot be trained.
            tensor = torch.nn.Parameter(tensor, requires_grad=False)
        setattr(self.module, attribute, tensor)


def leave_on_disk(
    kept: Sequence[tuple[Place, str]], state: StateDict, dtype: torch.dtype | None
) -> None:
    """Have modules read what is on disk when they are used; each place has its name in `state`."""
    by_module: dict[torch.nn.Module, dict[str, str]] = {}
    for place, name in kept:
        for module, attribute in place.owners:
            by_module.setdefault(module, {})[attribute] = name
    for module, tensors in by_module.items():
        OnDisk(module, state, tensors, dtype).attach()
