"""What a model and a checkpoint do not have in common, and how a load fails."""

from __future__ import annotations

from collections.abc import Sequence

from shardctl.errors import InputError, ShardctlError
from shardctl.text import escape

_SHOWN = 10


class MismatchError(InputError, RuntimeError):
    """Keys or shapes do not fit; nothing was changed. The message is that of torch's own error.

    It is a RuntimeError too, as torch raises. `missing_keys`, `unexpected_keys` and `mismatched`,
    the names of different shape, are tuples of names.
    """

    code = "state-dict-mismatch"
    missing_keys: tuple[str, ...] = ()
    unexpected_keys: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()


class PartlyLoadedError(InputError):
    """Reading failed after tensors of the model had been changed.

    `loaded` are the names of those that are new, `partial` of those that are so in part.
    """

    code = "partly-loaded"
    loaded: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()


def mismatch(
    model: str,
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
    others: Sequence[str] = (),
) -> MismatchError:
    """Return the error for a model, by its class, with all that does not fit.

    Source of the words: `Module.load_state_dict` of torch 2.13. `shapes` are a name with the
    checkpoint's shape and the model's, `others` what modules of the model say themselves.
    """
    errors = []
    if missing:
        errors.append(f"Missing key(s) in state_dict: {_listed(missing)}. ")
    if unexpected:
        errors.append(f"Unexpected key(s) in state_dict: {_listed(unexpected)}. ")
    errors += [
        f"size mismatch for {name}: copying a param with shape torch.Size({list(theirs)}) from "
        f"checkpoint, the shape in current model is torch.Size({list(ours)})."
        for name, theirs, ours in shapes
    ]
    errors += others
    error = MismatchError(
        "Error(s) in loading state_dict for {}:\n\t{}".format(model, "\n\t".join(errors)),
        hint="load the checkpoint of this very model; `rename` maps other names, `strict=False` "
        "allows missing and unexpected keys",
    )
    error.missing_keys, error.unexpected_keys = tuple(missing), tuple(unexpected)
    error.mismatched = tuple(name for name, _, _ in shapes)
    return error


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def partly_loaded(
    cause: ShardctlError, loaded: Sequence[str], partial: Sequence[str], tensors: int
) -> PartlyLoadedError:
    """Return the error for a read that failed after some of `tensors` tensors were changed."""
    said = f"{len(loaded):,} of {tensors:,} tensors are new"
    if loaded:
        said += f" ({_some(loaded)})"
    if partial:
        said += f", {len(partial):,} in part ({_some(partial)})"
    error = PartlyLoadedError(
        f"{cause.message}; {said}, the others are as they were",
        hint="load the model again from a sound checkpoint",
        file=cause.file,
        tensor=cause.tensor,
        offset=cause.offset,
    )
    error.loaded, error.partial = tuple(loaded), tuple(partial)
    return error


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(escape, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
