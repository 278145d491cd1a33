"""What DeepSpeed's files of a ZeRO checkpoint say of the tensors in them.

Source: `deepspeed/utils/zero_to_fp32.py` and `deepspeed/runtime` (`engine.py`,
`zero/stage_1_and_2.py`, `zero/stage3.py`, `bf16_optimizer.py`) of DeepSpeed 0.19. A file with
`_model_states` has the state dict of the module, which the trained parameters are in as they were
computed with, and what the parameters are; one with `_optim_states` has the state of the optimizer
of one rank, and its part of the parameters as they are trained, in flat vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shardctl.formats.limits import MAX_SIZE
from shardctl.formats.pickle.objects import kind_of
from shardctl.formats.pickle.values import Mapping, Opaque, Sequence
from shardctl.formats.torch.calls.views import numbers_of
from shardctl.text import escape

#: The entry of a rank's file with the state of its optimizer.
OPTIMIZER = "optimizer_state_dict"
#: The entries of that state with flat vectors: of parameters joined before they were divided, and
#: of parameters that were divided one by one.
JOINED, DIVIDED = "single_partition_of_fp32_groups", "fp32_flat_groups"
#: The state dict, and the frozen parameters, of which a rank has its part where all are divided.
MODULE, FROZEN = "module", "frozen_param_fragments"
#: The entries of a model's file that are read.
DESCRIBED = frozenset(
    {MODULE, FROZEN, "param_shapes", "frozen_param_shapes", "buffer_names", "shared_params"}
)
#: The entries of an optimizer's state that are read, beside the vectors.
DESCRIPTION = ("zero_stage", "partition_count", "param_alignment_paddings")
#: The first stage that divides parameters one by one.
ONE_BY_ONE = 3
_STAGES = (1, 2, ONE_BY_ONE)
#: Paddings of all groups: one list can be used for many groups.
_MOST_PADDINGS = 4_000_000
#: Entries of experts that are divided over some of the ranks only.
_EXPERTS = ("ds_autoep_layers", "autoep_layers")
#: What the pickles of DeepSpeed's own files import, beside what any of torch's may.
_IMPORTED = frozenset(
    {
        "deepspeed.runtime.fp16.loss_scaler.LossScaler",
        "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
        "deepspeed.runtime.zero.config.ZeroStageEnum",
        "deepspeed.utils.tensor_fragment.fragment_address",
    }
)

Shape = tuple[int, ...]


class ZeroFaultError(Exception):
    """Why a file is not what DeepSpeed saves, or is of a kind that is not read."""

    def __init__(self, message: str, tensor: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.tensor = tensor


@dataclass(frozen=True, slots=True)
class ModelStates:
    """What a file says of the parameters.

    `groups` are the shapes of those that are trained, by name, in the order of the vectors;
    `frozen` those of the others. `shared` are names of parameters with the one that has the values.
    `step` is how many steps the model was trained for, where the file says so.
    """

    groups: tuple[dict[str, Shape], ...]
    frozen: dict[str, Shape]
    shared: dict[str, str]
    step: int | None = None

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of all trained parameters, by name, in order."""
        return {name: shape for group in self.groups for name, shape in group.items()}


@dataclass(frozen=True, slots=True)
class OptimizerStates:
    """What a rank's file says: the stage, and the number of ranks.

    `paddings` are the elements that follow each parameter of a group, for every group; empty where
    there are none.
    """

    stage: int
    ranks: int
    paddings: tuple[tuple[int, ...], ...] = ()

    @property
    def one_by_one(self) -> bool:
        """Whether parameters were divided one by one; else they were joined first."""
        return self.stage >= ONE_BY_ONE

    @property
    def vectors(self) -> str:
        """The name of the entry of the optimizer's state that has the flat vectors."""
        return DIVIDED if self.one_by_one else JOINED


def is_known(name: str) -> bool:
    """Whether a name to import is one that DeepSpeed's own files import."""
    return name in _IMPORTED


def model_states(root: object) -> ModelStates:
    """Return what a file of model states says. Raises ZeroFaultError."""
    entries = _entries(root)
    if entries.get("param_shapes") is None:
        raise ZeroFaultError("it does not say the shapes of the parameters, as ZeRO's files do")
    if any(entries.get(key) is not None for key in _EXPERTS):
        raise ZeroFaultError("it has experts that were divided over some ranks only: not read")
    listed = entries["param_shapes"]
    groups = listed.items if isinstance(listed, Sequence) else [listed]
    states = ModelStates(
        groups=tuple(map(_shapes, groups)),
        frozen=_shapes(entries.get("frozen_param_shapes")),
        shared=_pairs(entries.get("shared_params")),
        step=steps if type(steps := entries.get("global_steps")) is int else None,
    )
    trained = states.shapes
    if len(trained) != sum(map(len, states.groups)):
        raise ZeroFaultError("it lists a parameter in two groups")
    for name, kept in states.shared.items():
        if name in trained or name in states.frozen:
            raise ZeroFaultError(f"it has values, and is said to be '{escape(kept)}'", name)
        if kept in states.shared:
            raise ZeroFaultError(f"it is said to be '{escape(kept)}', which is another", name)
    return states


def optimizer_states(root: object) -> OptimizerStates:
    """Return what the file of a rank says. Raises ZeroFaultError."""
    state = _entries(_entries(root).get(OPTIMIZER))
    if JOINED not in state and DIVIDED not in state:
        raise ZeroFaultError("it has no vectors of parameters, as ZeRO's files have")
    # The optimizer for bfloat16 divides as the first stages do, and does not name one.
    stage = _number(state.get("zero_stage", 1 if JOINED in state else ONE_BY_ONE))
    counts = state.get("partition_count")
    listed = counts.items if isinstance(counts, Sequence) else [counts]
    ranks = sorted({count for count in map(_number, listed) if count is not None})
    if stage not in _STAGES or not ranks:
        raise ZeroFaultError("it does not say the stage of ZeRO, or the number of ranks")
    if len(ranks) > 1:
        raise ZeroFaultError(
            f"its groups are divided over {' and '.join(map(str, ranks))} ranks: experts that were "
            "divided over some ranks only are not read"
        )
    found = OptimizerStates(stage, ranks[0], _paddings(state.get("param_alignment_paddings")))
    if found.vectors not in state:
        raise ZeroFaultError(f"it has no vectors of parameters for stage {stage} of ZeRO")
    return found


def _entries(value: object) -> dict[object, object]:
    return value.items if isinstance(value, Mapping) else {}


def _shapes(value: object) -> dict[str, Shape]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ZeroFaultError("the shapes of the parameters are not by name")
    return {_text(name): _shape(_text(name), sizes) for name, sizes in value.items.items()}


def _shape(name: str, value: object) -> Shape:
    shape = numbers_of(value)
    if shape is None or math.prod(filter(None, shape)) > MAX_SIZE:
        raise ZeroFaultError("its shape is not one", name)
    return shape


def _pairs(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ZeroFaultError("the names of shared parameters are not by name")
    return {_text(name): _text(kept) for name, kept in value.items.items()}


def _paddings(value: object) -> tuple[tuple[int, ...], ...]:
    if value is None:
        return ()
    groups = value.items if isinstance(value, Sequence) else [value]
    lists = [group.items if isinstance(group, Sequence) else [group] for group in groups]
    if sum(map(len, lists)) > _MOST_PADDINGS:
        raise ZeroFaultError("it has more paddings than any model has parameters")
    found = tuple(
        tuple(each for each in some if type(each) is int and 0 <= each <= MAX_SIZE)
        for some in lists
    )
    if list(map(len, found)) != list(map(len, lists)):
        raise ZeroFaultError("the paddings between parameters are not numbers")
    return found if any(map(any, found)) else ()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ZeroFaultError(f"there is a {escape(kind_of(value))} where a name should be")
    return value


def _number(value: object) -> int | None:
    """Return a positive number, which may be that of an enumeration's member."""
    if isinstance(value, Opaque):
        call = value.parts[0] if len(value.parts) == 1 else None
        value = call[0] if isinstance(call, tuple) and len(call) == 1 else None
    return value if type(value) is int and 0 < value <= MAX_SIZE else None
