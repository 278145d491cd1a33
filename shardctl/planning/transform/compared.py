"""Choose, rename, stack or split, and convert the tensors of a checkpoint that is compared.

A writer does the same (`plan.make_plan`), and looks at ties, orders and counts in between.
"""

from __future__ import annotations

from shardctl.model import Checkpoint
from shardctl.planning.request import Transform
from shardctl.planning.transform.cast import convert_all
from shardctl.planning.transform.experts import arrange
from shardctl.planning.transform.select import Selected, select


def transformed(checkpoint: Checkpoint, transform: Transform) -> Selected:
    """Return what a copy of a checkpoint holds that was made with a transform, and what it lacks.

    No bytes are read: what is stacked or converted is made when it is compared. Raises UsageError
    as `select`, `arrange` and `convert_all` do.
    """
    chosen = select(checkpoint, transform.selection)
    made = chosen.checkpoint
    if transform.experts is not None:
        made = arrange(made, transform.experts).checkpoint
    if transform.conversion is not None:
        made = convert_all(made, transform.conversion)
    return Selected(made, chosen.left_out)
