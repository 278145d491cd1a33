"""SIGKILL before every system call that changes something below the target; then the invariants,
and the run again.

The number of moments goes to the report as the property `moments`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.killing import SCENARIOS, kill_everywhere
from tests.faults.machinery import needs_strace

pytestmark = [pytest.mark.faults, needs_strace]


#: Those that are run each time; the others are slow together.
_ALWAYS = ("split", "in place, three to two")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in _ALWAYS else [pytest.mark.slow]) for name in SCENARIOS],
)
def test_killed_before_any_change(
    name: str, memory_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Wherever a run is killed, nothing partial has a final name, and the same command again
    completes it.
    """
    scenario = SCENARIOS[name]
    pristine = memory_path / "pristine"
    scenario.prepare(pristine)
    moments = kill_everywhere(scenario, pristine, memory_path)
    record_property("moments", moments)
    print(f"{name}: killed at {moments} moments")
