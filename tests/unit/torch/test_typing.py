"""Programs that use the extra are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.typed import said_of

pytest.importorskip("torch")

#: torch itself is left out: to analyse it takes most of a minute.
CONFIG = """
[mypy]
strict = True
disallow_subclassing_any = False
[mypy-torch.*]
follow_imports = skip
"""

PROGRAM = """
import torch
from shardctl.torch import load_sharded_checkpoint, open, save_sharded


def copy(model: torch.nn.Module, directory: str) -> list[str]:
    plan = save_sharded(model, directory, max_shard_size="2GB", replace="same", exclude="*.bias")
    reveal_type(plan.total_size)
    missing, unexpected = load_sharded_checkpoint(
        model, directory, assign=True, mmap=True, rename={"module.": "", "ema.": None}
    )
    found = load_sharded_checkpoint(model, directory, device_map={"": "disk"}, rename=str)
    with open(directory, variant="fp16") as weights:
        reveal_type(weights.metadata)
    return missing + unexpected + found.missing_keys


save_sharded({}, "directory", replace="some")
"""


REFUSED = (
    """error: Argument "replace" to "save_sharded" has incompatible type "Literal['some']"; """
    """expected "Literal['nothing', 'same', 'all']\""""
)


def test_programs_are_typed(tmp_path: Path) -> None:
    """The type checker knows the functions, their settings and their results."""
    (tmp_path / "mypy.ini").write_text(CONFIG)
    assert said_of(PROGRAM, tmp_path) == [
        'note: Revealed type is "int"',
        'note: Revealed type is "typing.Mapping[str, str]"',
        REFUSED,
    ]
