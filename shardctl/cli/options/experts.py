"""The options that stack the tensors of experts, or split them, for writers and for comparisons."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from shardctl.cli.options.panels import BECOME
from shardctl.cli.options.shared import option

if TYPE_CHECKING:
    from shardctl.planning.keywords import TransformKeywords
    from shardctl.planning.request import Experts as Asked

#: Bytes of a map at most: it has a line for each kind of tensor.
_MOST_BYTES = 1024 * 1024


class ExpertsName(StrEnum):
    """What becomes of the tensors of experts."""

    # A member cannot have the name of a method of texts, such as `split`.
    STACK = "stack"
    SPLIT = "split"


Experts = Annotated[
    ExpertsName | None,
    option(
        BECOME,
        "--experts",
        text="Stack the experts of each layer into one tensor, or split them",
        details="The names are those of Mixtral, Qwen-MoE, DeepSeek and others, as transformers 5 "
        "has them: `experts.0.gate_proj.weight` and `experts.0.up_proj.weight` are joined in "
        "`experts.gate_up_proj`. transformers loads both forms.",
    ),
]
ExpertsMap = Annotated[
    str | None,
    option(
        BECOME,
        "--experts-map",
        metavar="FILE",
        text="Names of stacked tensors and of their parts, for other models",
        details="JSON or TOML, for example "
        '{"mlp.experts.down_proj": ["mlp.experts.*.down_proj.weight"]}.',
    ),
]


def keywords_of(action: ExpertsName | None, path: str | None) -> TransformKeywords:
    """Return what was asked for as the library takes it.

    Raises UsageError for a map that is not needed or not readable.
    """
    return {"experts": _experts(action, path)}


def _experts(action: ExpertsName | None, path: str | None) -> Asked | None:
    if action is None and path is None:
        return None
    from shardctl.errors import UsageError  # noqa: PLC0415 - `--help` needs none of this
    from shardctl.planning.request import Experts as Asked  # noqa: PLC0415 - as above
    from shardctl.planning.transform.expert_rules import parse_map  # noqa: PLC0415 - as above
    from shardctl.text import escape  # noqa: PLC0415 - as above

    if action is None:
        raise UsageError(
            "`experts_map` needs something to do",
            hint="add --experts stack, or --experts split",
        )
    if path is None:
        return Asked(action.value)
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        reason = "it is too large" if len(data) > _MOST_BYTES else ""
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
    if reason:
        raise UsageError(
            f"`experts_map` '{escape(path)}' cannot be read: {reason}",
            hint="give the path of a JSON or TOML file",
        )
    return Asked(action.value, parse_map(text))
