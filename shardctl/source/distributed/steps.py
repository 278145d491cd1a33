"""The files of one step of training with DeepSpeed, and which step of several is meant: by names.

Source: `_get_zero_ckpt_name` and `_get_ckpt_name` in `deepspeed/runtime/engine.py` of DeepSpeed
0.19, and its `latest`, a file with the name of the directory that was saved last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from shardctl.errors import InputError, MissingError
from shardctl.naming import check_shard_name
from shardctl.stores.base import Store
from shardctl.text import escape, plural

#: The file with the name of a step's directory.
LATEST = "latest"
#: Bytes of it that are read: more than a name can have, and a line's end.
_LATEST_BYTES = 1024
_OPTIMIZER = re.compile(
    r"(?:bf16_|fp16_)?zero_pp_rank_(?P<rank>[0-9]{1,6})_mp_rank_(?P<model>[0-9]{2,6})"
    r"_?optim_states\.pt"
)
_MODEL = re.compile(
    r"(?:zero_pp_rank_(?P<rank>[0-9]{1,6})_)?mp_rank_(?P<model>[0-9]{2,6})_model_states\.pt"
)
#: Parts of a model that other files have: layers of a pipeline, and experts.
_ELSEWHERE = re.compile(r"layer_.*[_-]model_states\.pt|expp_rank_.*_optim_states\.pt", re.DOTALL)


class StepFile(NamedTuple):
    """What the name of a step's file says.

    `rank` is None for the one file of the model. `optimizer`: it has the state of an optimizer.
    """

    name: str
    optimizer: bool
    rank: int | None
    model_rank: int


def step_file(name: str) -> StepFile | None:
    """Return what the name of a file says; None for a name that a step's files do not have."""
    for pattern, optimizer in ((_OPTIMIZER, True), (_MODEL, False)):
        match = pattern.fullmatch(name)
        if match is not None:
            rank = None if match["rank"] is None else int(match["rank"])
            return StepFile(name, optimizer, rank, int(match["model"]))
    return None


def step_files(store: Store, directory: str, names: Sequence[str]) -> list[str]:
    """Return the paths of a step's files, by rank; none where no rank has a file.

    Raises InputError where parameters are divided in other ways too, or several saves are mixed.
    """
    found = _step_files(names)
    if not any(each.optimizer for each in found):
        return []
    refuse_parts(directory, names)
    first: dict[tuple[bool, int | None], str] = {}
    for each in found:
        other = first.setdefault((each.optimizer, each.rank), each.name)
        if other != each.name:
            raise InputError(
                f"'{escape(directory)}' holds the files of several saves: "
                f"'{escape(other)}' and '{escape(each.name)}'",
                hint="move one of the saves to another directory",
                code="tensor-in-several-shards",
                file=directory,
            )
    ordered = sorted(found, key=lambda each: (each.optimizer, each.rank or 0))
    return [store.join(directory, each.name) for each in ordered]


def refuse_parts(directory: str, names: Sequence[str]) -> None:
    """Raise InputError for files of DeepSpeed that each hold a part of the model, with ZeRO or not.

    Any one of them would be taken for the model.
    """
    found = _step_files(names)
    models = sorted({each.model_rank for each in found})
    if models and models != [0]:
        shown = ", ".join(f"mp_rank_{model:02d}" for model in models)
        raise _other_ranks(directory, f"of a model in parts ({shown})")
    elsewhere = next((name for name in sorted(names) if _ELSEWHERE.fullmatch(name)), None)
    if found and elsewhere is not None:
        raise _other_ranks(directory, f"with layers or experts apart ('{escape(elsewhere)}')")


def _step_files(names: Sequence[str]) -> list[StepFile]:
    return [each for each in map(step_file, sorted(names)) if each is not None]


def latest_step(store: Store, directory: str) -> str:
    """Return the path of the directory that `latest` names.

    Raises InputError for what is not the name of a directory, MissingError where it is not there.
    """
    path = store.join(directory, LATEST)
    with store.open(path) as reader:
        data = reader.read(0, min(reader.version.size, _LATEST_BYTES))
    name = data.decode("utf-8", "replace").strip()
    wrong = check_shard_name(name) or ("it is a path" if "/" in name else None)
    if wrong is not None:
        raise InputError(
            f"'{escape(path)}' should have the name of a directory beside it, and cannot be used: "
            f"{wrong}",
            hint="name the directory of a step",
            code="metadata-invalid",
            file=path,
        )
    step = store.join(directory, name)
    if store.kind(step) != "directory":
        raise MissingError(
            f"'{escape(path)}' names the step '{escape(name)}', which is not there",
            hint="copy the whole directory again, or name the directory of another step",
            file=path,
        )
    return step


def without_ranks(store: Store, step: str, names: Sequence[str]) -> MissingError:
    """Return the error for the directory of a step that no rank has a file in."""
    models = _step_files(names)
    hint = "name the directory of another step"
    if models and models[0].rank is None:
        whole = store.join(step, models[0].name)
        hint = f'name the file of the model, with `key="module"`: {whole}'
    elif models:  # without parameters, which are with the optimizer of each rank
        hint = "copy the whole directory again, with the files of all ranks"
    return MissingError(
        f"'{escape(step)}' holds {plural(len(names), 'file')}, and none with the parameters of a "
        "rank (zero_pp_rank_0_mp_rank_00_optim_states.pt)",
        hint=escape(hint),
        file=step,
    )


def _other_ranks(directory: str, what: str) -> InputError:
    return InputError(
        f"'{escape(directory)}' holds a DeepSpeed checkpoint {what}, of which nothing says how the "
        "parts belong together",
        hint="convert it where it was trained, with a tool of the framework that divided it: "
        "Megatron-DeepSpeed has tools/convert_checkpoint, GPT-NeoX tools/ckpts",
        code="tensor-slices",
        file=directory,
    )
