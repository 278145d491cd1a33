"""What DeepSpeed's files say is read as its releases wrote it; anything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.formats.pickle.values import Global, Mapping, Opaque, Sequence
from shardctl.formats.torch.distributed.zero import (
    ModelStates,
    OptimizerStates,
    ZeroFaultError,
    is_known,
    model_states,
    optimizer_states,
)


def value(plain: Any) -> object:
    """A plain value as the pickle machine gives it."""
    if isinstance(plain, dict):
        return Mapping(items={key: value(each) for key, each in plain.items()})
    return Sequence("list", list(map(value, plain))) if isinstance(plain, list) else plain


def optimizer(**state: Any) -> object:
    """The root of the file of a rank; entries that are None are left out."""
    usual = {"single_partition_of_fp32_groups": [], "zero_stage": 1, "partition_count": [2, 2]}
    entries = {key: each for key, each in (usual | state).items() if each is not None}
    return value({"optimizer_state_dict": entries})


def model(**entries: Any) -> object:
    """The root of a file of model states."""
    return value({"param_shapes": [{"a": (2, 3)}], "buffer_names": [], **entries})


#: One list in the place of many.
MANY = Sequence("list", [Sequence("list", [0] * 10_000)] * 10_000)
STAGE = Opaque("deepspeed.runtime.zero.config.ZeroStageEnum", [(2,)])
THIRD: dict[str, Any] = {
    "fp32_flat_groups": [],
    "single_partition_of_fp32_groups": None,
    "zero_stage": 3,
}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, OptimizerStates(1, 2)),
        ({"zero_stage": STAGE}, OptimizerStates(2, 2)),
        ({"zero_stage": None}, OptimizerStates(1, 2)),
        ({"partition_count": 4}, OptimizerStates(1, 4)),
        (THIRD, OptimizerStates(3, 2)),
        ({**THIRD, "zero_stage": None}, OptimizerStates(3, 2)),
        ({"param_alignment_paddings": [[0, 0], []]}, OptimizerStates(1, 2)),
        ({"param_alignment_paddings": [[0, 3], []]}, OptimizerStates(1, 2, ((0, 3), ()))),
    ],
)
def test_what_a_rank_says(state: dict[str, Any], expected: OptimizerStates) -> None:
    """The stage may be a member of an enumeration, or left out by the optimizer for bfloat16."""
    found = optimizer_states(optimizer(**state))
    assert found == expected
    assert found.one_by_one == (expected.stage == 3)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"single_partition_of_fp32_groups": None}, "no vectors of parameters"),
        ({"zero_stage": 4}, "the stage of ZeRO"),
        ({"zero_stage": 0}, "the stage of ZeRO"),
        ({"zero_stage": "1"}, "the stage of ZeRO"),
        ({"zero_stage": 3}, "no vectors of parameters for stage 3"),
        ({"zero_stage": Opaque("Enum", [(2, 3)])}, "the stage of ZeRO"),
        ({"partition_count": None}, "number of ranks"),
        ({"partition_count": []}, "number of ranks"),
        ({"partition_count": 2**70}, "number of ranks"),
        ({"partition_count": [4, 2]}, "divided over 2 and 4 ranks"),
        ({"param_alignment_paddings": [[-1]]}, "paddings"),
        ({"param_alignment_paddings": [["1"]]}, "paddings"),
        ({"param_alignment_paddings": MANY}, "more paddings"),
    ],
)
def test_what_a_rank_must_not_say(state: dict[str, Any], message: str) -> None:
    """A stage that is not known, and groups that are divided over some ranks only, are refused."""
    with pytest.raises(ZeroFaultError, match=message):
        optimizer_states(optimizer(**state))


@pytest.mark.parametrize("root", [3, value([]), value({"optimizer_state_dict": None})])
def test_other_files_are_none_of_a_rank(root: object) -> None:
    """A file that holds something else is refused."""
    with pytest.raises(ZeroFaultError):
        optimizer_states(root)
    with pytest.raises(ZeroFaultError):
        model_states(root)


def test_what_a_file_of_the_model_says() -> None:
    """Shapes are tuples or lists, in groups, or in one dictionary as in the first releases."""
    full = model(
        param_shapes=[{"a": (2, 3)}, {"b": [], "c": [4]}],
        frozen_param_shapes={"d": (1,)},
        shared_params={"e": "a"},
    )
    expected = ModelStates(({"a": (2, 3)}, {"b": (), "c": (4,)}), {"d": (1,)}, {"e": "a"})
    assert model_states(full) == expected
    assert model_states(model(param_shapes={"a": (1,)})) == ModelStates(({"a": (1,)},), {}, {})


@pytest.mark.parametrize(
    ("entries", "message", "tensor"),
    [
        ({"param_shapes": None}, "shapes of the parameters", None),
        ({"param_shapes": [3]}, "not by name", None),
        ({"param_shapes": [{1: (2,)}]}, "int where a name", None),
        ({"param_shapes": [{"a": 3}]}, "its shape", "a"),
        ({"param_shapes": [{"a": (-1,)}]}, "its shape", "a"),
        ({"param_shapes": [{"a": (True,)}]}, "its shape", "a"),
        ({"param_shapes": [{"a": (1,) * 65}]}, "its shape", "a"),
        ({"param_shapes": [{"a": (2**40, 2**40)}]}, "its shape", "a"),
        ({"param_shapes": [{"a": (2,)}, {"a": (2,)}]}, "in two groups", None),
        ({"frozen_param_shapes": {"a": "x"}}, "its shape", "a"),
        ({"shared_params": [["a", "b"]]}, "shared parameters", None),
        ({"shared_params": {"a": Global("os.system")}}, "os.system where a name", None),
        ({"param_shapes": {"a": (1,), "b": (1,)}, "shared_params": {"a": "b"}}, "has values", "a"),
        ({"frozen_param_shapes": {"a": (1,)}, "shared_params": {"a": "b"}}, "has values", "a"),
        ({"shared_params": {"x": "y", "y": "x"}}, "'y', which is another", "x"),
        ({"shared_params": {"x": "y", "y": "a"}}, "'y', which is another", "x"),
        ({"ds_autoep_layers": [{}]}, "experts", None),
    ],
)
def test_what_a_file_of_the_model_must_not_say(
    entries: dict[str, Any], message: str, tensor: str | None
) -> None:
    """Shapes that are none, and names that are none, are refused with the tensor's name."""
    with pytest.raises(ZeroFaultError, match=message) as caught:
        model_states(model(**entries))
    assert caught.value.tensor == tensor


def test_names_are_compared_whole() -> None:
    """What begins like one of DeepSpeed's classes is not one."""
    assert is_known("deepspeed.runtime.zero.config.ZeroStageEnum")
    assert not is_known("deepspeed.runtime.zero.config.ZeroStageEnum.x")
    assert not is_known("deepspeed.ops.op_builder.builder.run")
