"""SIGKILL before every change of the run after a killed one; then the invariants, and a third run.

The number of moments goes to the report as the property `moments`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.killing import INDEX, SCENARIOS, kill_everywhere
from tests.faults.machinery import STAGING, Point, needs_strace

pytestmark = [pytest.mark.faults, needs_strace]


@dataclass(frozen=True, slots=True)
class Interruption:
    """A run of a scenario that is killed before a call on a file of its target: what the next run
    meets. A call in an open directory gives the bare name of the file.
    """

    scenario: str
    call: str
    name: str

    def point(self, directory: Path) -> Point:
        """The moment, for a run below a directory."""
        if self.call in ("renameat2", "unlinkat"):
            return Point(self.call, self.name, 1)
        target = directory / SCENARIOS[self.scenario].target
        return Point(self.call, str(target / self.name), 1)


SHARD = f"{STAGING}/files/model-0000{{}}-of-00003.safetensors"
#: Midway in the copying, with receipts of some files; and when a commit is durable, and nothing of
#: it is done.
INTERRUPTIONS = {
    "split, resumed": Interruption("split", "ftruncate", SHARD.format(2)),
    "in place, resumed": Interruption("in place, same names", "ftruncate", SHARD.format(3)),
    "three to one, finished": Interruption(
        "in place, three to one", "renameat2", "model.safetensors"
    ),
    "same names, finished": Interruption("in place, same names", "renameat2", INDEX),
}


@pytest.mark.parametrize("name", INTERRUPTIONS)
def test_killed_again(
    name: str, memory_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Wherever the run after a killed one is killed too, the same holds, and the third completes
    it.
    """
    first = INTERRUPTIONS[name]
    scenario = SCENARIOS[first.scenario]
    pristine = memory_path / "pristine"
    scenario.prepare(pristine)
    moments = kill_everywhere(scenario, pristine, memory_path, first.point)
    record_property("moments", moments)
    print(f"{name}: killed at {moments} moments")
