"""Load a checkpoint into a model, tensor by tensor, without a second copy of the weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from shardctl.api.settings import Location, run_options
from shardctl.errors import ShardctlError, UsageError
from shardctl.model import Tensor
from shardctl.text import escape
from shardctl.torch.dtypes import not_plain, torch_dtype, torch_shape
from shardctl.torch.loading.fill import Fill, Progress, fill
from shardctl.torch.loading.hooks import Adapted, adapted, persistent_names, run_after_load
from shardctl.torch.loading.mapped import MappedFiles
from shardctl.torch.loading.mismatch import mismatch, partly_loaded
from shardctl.torch.loading.placement import (
    DISK,
    Device,
    DeviceMap,
    devices,
    leave_on_disk,
    main_device,
)
from shardctl.torch.loading.places import Match, Place, Rename, match, places_of, renamed
from shardctl.torch.opened import Opened, read_headers
from shardctl.torch.state_dict import StateDict

_SHOWN = 10


class IncompatibleKeys(NamedTuple):
    """The names that only the model has, and those that only the checkpoint has."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_sharded_checkpoint(
    model: torch.nn.Module,
    folder: Location,
    *,
    strict: bool = True,
    assign: bool = False,
    mmap: bool = False,
    device: Device | None = None,
    dtype: torch.dtype | None = None,
    key: str | None = None,
    variant: str | None = None,
    rename: Rename | None = None,
    device_map: DeviceMap | None = None,
    jobs: int | None = None,
) -> IncompatibleKeys:
    """Load the weights of a checkpoint into a model; return the missing and unexpected keys.

    The checkpoint is a directory, an index or a file, of any format and number of shards. All its
    headers and its index are checked first, and the model is compared with them; only then are
    tensors read, straight into the memory of the parameters, by `jobs` threads. So memory holds the
    model and a few MiB for each thread. Values are converted where a parameter has another type.

    With `assign` parameters are replaced by new ones, of the types that the checkpoint has, in the
    place of such on the meta device, for example; `dtype` is another type for the floating-point
    ones, `device` where they are made. `device_map` gives a device by prefixes of names, and
    includes `assign`; what is on "disk" stays there and is read whenever its module is used. With
    `mmap` new tensors on the CPU lie in the files themselves where they can: nothing is read until
    it is used, and a file must not be changed or cut short as long as the model lives.

    `key` chooses the state dict of a training checkpoint, `variant` one of several checkpoints in a
    directory. `rename` maps names of the checkpoint to those of the model: by prefixes, where None
    leaves tensors out, or a function. Hooks by which modules of the model rename tensors, leave
    some out or add some are called as by `load_state_dict`.

    With `strict`, missing or unexpected keys are an error; shapes that differ always are. Raises
    MismatchError for these, with all of them in torch's words; InputError for a damaged checkpoint;
    UsageError for parameters that are not plain data, tensors that a hook would compute, and
    settings that contradict each other. Nothing is changed then. Raises PartlyLoadedError, with the
    names of the new tensors, where reading fails later.
    """
    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"cannot load into a {type(model).__qualname__}",
            hint="give a model; `shardctl.torch.open` gives tensors without one",
        )
    how = _How(assign or device_map is not None, mmap, device, dtype, device_map)
    run = run_options(jobs, restart=False)
    opened = read_headers(folder, key, variant)
    places = places_of(model)
    _refuse(
        {place.names[0]: not_plain(place.tensor) for place in places},
        hint="load into a model of plain tensors, before it is distributed or quantised",
    )
    taken = adapted(model, renamed(opened.tensors, rename), assign=how.assign)
    found = _matched(model, places, taken, opened)
    if found.shapes or taken.errors or (strict and (found.missing or found.unexpected)):
        missing, unexpected = (found.missing, found.unexpected) if strict else ((), ())
        raise mismatch(type(model).__name__, missing, unexpected, found.shapes, taken.errors)
    _warn_of_no_data(places, found, how)
    read, kept = _divided(places, found, how)
    mapped = _mapped(opened, read, how)
    fills = [
        Fill(place.names[0], tensor, how.target(place, tensor, device))
        for place, tensor, device in read
        if place.names[0] not in mapped
    ]
    lazy = StateDict(opened, main_device(how.device_map or {}))
    extra = [(module, lazy[tensor.name]) for module, tensor in taken.extra]
    _fill(opened, fills, run.jobs, how)
    if how.assign:
        made = {each.name: each.target for each in fills} | mapped
        for place, _, _ in read:
            place.replace(made[place.names[0]])
    for place, value in found.given:
        place.set(value, assign=how.assign)
    for module, state in extra:
        module.set_extra_state(state)
    if kept:
        leave_on_disk(model, kept, lazy, dtype)
    incompatible = IncompatibleKeys(found.missing, found.unexpected)
    run_after_load(model, incompatible)
    return incompatible


def _matched(model: torch.nn.Module, places: list[Place], taken: Adapted, opened: Opened) -> Match:
    """Compare a model with what its modules take. Raises UsageError for what they would compute."""
    names = {name for place in places for name in place.names}
    _refuse(
        {name: "is computed by the model's own code" for name in taken.computed if name in names},
        hint="give `shardctl.torch.open(…)` to the model's `load_state_dict`, which computes it",
    )
    aliases = {new for new, each in taken.tensors.items() if each.name in opened.checkpoint.aliases}
    persistent = list(persistent_names(model, [module for module, _ in taken.extra]))
    return match(places, persistent, taken.tensors, taken.values, aliases)


@dataclass(frozen=True, slots=True)
class _How:
    """How tensors are made: in the place of the model's, or in its memory."""

    assign: bool
    mmap: bool
    device: Device | None
    dtype: torch.dtype | None
    device_map: DeviceMap | None

    def __post_init__(self) -> None:
        if not self.assign and (self.device is not None or self.dtype is not None):
            raise UsageError(
                "`device` and `dtype` say how new tensors are made, and the model's own are filled",
                hint="add `assign=True`, or move the model with `model.to` first",
            )
        if self.dtype is not None and not _is_of_weights(self.dtype):
            raise UsageError(
                f"`dtype` is {escape(str(self.dtype))}, which weights cannot be converted to",
                hint="give a floating-point type of torch, such as torch.bfloat16",
            )
        if self.mmap and not self.assign:
            raise UsageError(
                "`mmap` puts tensors of files in the place of the model's, and those are filled",
                hint="add `assign=True`",
            )
        if self.device_map is not None and not isinstance(self.device_map, Mapping):
            raise UsageError(
                f"`device_map` is a {type(self.device_map).__name__}",
                hint="give a dictionary, such as Accelerate's `infer_auto_device_map` makes",
            )
        if self.device is not None and self.device_map is not None:
            raise UsageError(
                "`device` and `device_map` cannot be used together", hint="give just one of them"
            )

    def target(self, place: Place, tensor: Tensor, device: Device) -> torch.Tensor:
        """Return the tensor to be filled for a place."""
        if not self.assign:
            return place.tensor.detach()
        return torch.empty(torch_shape(tensor), dtype=self.dtype_of(tensor), device=device)

    def dtype_of(self, tensor: Tensor) -> torch.dtype:
        """Return the type that a new tensor gets."""
        own = torch_dtype(tensor)
        return own if self.dtype is None or not own.is_floating_point else self.dtype

    def maps(self, tensor: Tensor, device: Device) -> bool:
        """Whether a new tensor can be the one in the file."""
        on_cpu = torch.device(device).type == "cpu"
        return self.mmap and on_cpu and self.dtype_of(tensor) == torch_dtype(tensor)

    def device_of(self, place: Place) -> Device:
        """Return where the new tensor of a place is made, without a map."""
        if self.device is not None:
            return self.device
        return "cpu" if place.tensor.is_meta else place.tensor.device


def _is_of_weights(dtype: object) -> bool:
    """Whether a type is one that torch's `Module.to` takes: integers would lose fractions."""
    return isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)


def _divided(
    places: Sequence[Place], found: Match, how: _How
) -> tuple[list[tuple[Place, Tensor, Device]], list[tuple[Place, str]]]:
    """Return what is read, with its device, and what stays on disk, with its name there.

    Raises UsageError and InputError for what cannot be loaded, before memory is taken.
    """
    if not how.assign:
        _refuse(
            {place.names[0]: _unfillable(place.tensor) for place, _ in found.pairs},
            hint="add `assign=True` to put new tensors in their place",
        )
    for _, tensor in found.pairs:
        torch_dtype(tensor)
    where = (
        devices(places, how.device_map)
        if how.device_map is not None
        else [how.device_of(place) for place in places]
    )
    by_place = {id(place): device for place, device in zip(places, where, strict=True)}
    placed = [(place, tensor, by_place[id(place)]) for place, tensor in found.pairs]
    kept = [(place, tensor.name) for place, tensor, device in placed if device == DISK]
    return [each for each in placed if each[2] != DISK], kept


def _mapped(
    opened: Opened, read: Sequence[tuple[Place, Tensor, Device]], how: _How
) -> dict[str, torch.Tensor]:
    """Return the tensors that are those in the files, by the first names of their places."""
    files = MappedFiles(opened)
    found = (
        (place.names[0], files.tensor(tensor))
        for place, tensor, device in read
        if how.maps(tensor, device)
    )
    return {name: tensor for name, tensor in found if tensor is not None}


def _refuse(reasons: Mapping[str, str | None], hint: str) -> None:
    """Raise UsageError, which names them, for tensors that have a reason not to be loaded."""
    refused = [f"'{escape(name)}' {reason}" for name, reason in reasons.items() if reason]
    if refused:
        more = f", and {len(refused) - _SHOWN:,} more" if len(refused) > _SHOWN else ""
        raise UsageError(f"cannot load: {', '.join(refused[:_SHOWN])}{more}", hint=hint)


def _unfillable(tensor: torch.Tensor) -> str | None:
    """Return why a tensor has no memory to be filled, or None."""
    if tensor.is_meta:
        return "is on the meta device"
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    if any(size > 1 and step == 0 for size, step in steps):
        return "has elements that share memory"
    return None


def _warn_of_no_data(places: Sequence[Place], found: Match, how: _How) -> None:
    """Warn of tensors on the meta device that stay without data although no key is missing."""
    if not how.assign:
        return
    filled = {id(place.tensor) for place, _ in (*found.pairs, *found.given)}
    missing = set(found.missing)
    empty = [
        place.names[0]
        for place in places
        if place.tensor.is_meta
        and id(place.tensor) not in filled
        and missing.isdisjoint(place.names)
    ]
    if empty:
        names = ", ".join(map(escape, empty[:_SHOWN])) + (", …" if len(empty) > _SHOWN else "")
        warnings.warn(
            f"stays on the meta device, since no checkpoint holds it: {names}; make such buffers "
            "on a real device, for example with Accelerate's init_empty_weights",
            stacklevel=3,
        )


def _fill(opened: Opened, fills: Sequence[Fill], jobs: int, how: _How) -> None:
    """Read the tensors; new ones are not the model's yet, so that a failure leaves it as it was."""
    progress = Progress()
    try:
        with opened.sources() as sources:
            fill(sources, fills, jobs, progress)
    except ShardctlError as error:
        if how.assign or not progress.begun:
            raise
        loaded = [fills[number].name for number in progress.finished]
        partial = [fills[number].name for number in progress.partial]
        raise partly_loaded(error, loaded, partial, len(fills)) from error
