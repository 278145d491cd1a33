"""SIGKILL before every change of the run after a killed one; then the invariants, and a third run.

The number of moments goes to the report as the property `moments`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.killing import INDEX, SCENARIOS, kill_everywhere
from tests.faults.machinery import STAGING, Point, needs_strace, run_held, run_killed

pytestmark = [pytest.mark.faults, pytest.mark.slow, needs_strace]


@dataclass(frozen=True, slots=True)
class Interruption:
    """A run of a scenario that is killed before a call on a file of its target: what the next run
    meets. A call in an open directory gives the bare name of the file.

    With `receipts`, the call is that of a thread which writes a file, and the run is killed once so
    many finished files are noted, which another thread does meanwhile.
    """

    scenario: str
    call: str
    name: str
    receipts: int = 0

    def carry_out(self, directory: Path) -> None:
        """Run the scenario below a directory, and kill it."""
        scenario = SCENARIOS[self.scenario]
        target = directory / scenario.target
        if not self.receipts:
            point = Point(self.call, self.name, 1)
            ended = run_killed(point, *scenario.arguments(directory))
        else:
            held = target / self.name
            noted = target / STAGING / "receipts.jsonl"

            def reached() -> bool:
                return (
                    held.exists()
                    and noted.exists()
                    and noted.read_bytes().count(b"\n") == self.receipts
                )

            point = Point(self.call, str(held), 1)
            ended = run_held(point, reached, *scenario.arguments(directory))
        assert ended == -signal.SIGKILL, f"{point} was not reached"


SHARD = f"{STAGING}/files/model-0000{{}}-of-00003.safetensors"
#: Midway in the copying, with receipts of some files; when a commit is durable, and nothing of it
#: is done; and midway in it, with old files aside, and with new ones in place.
INTERRUPTIONS = {
    "split, resumed": Interruption("split", "ftruncate", SHARD.format(2), receipts=2),
    "in place, resumed": Interruption(
        "in place, same names", "ftruncate", SHARD.format(3), receipts=2
    ),
    "three to one, finished": Interruption(
        "in place, three to one", "renameat2", "model.safetensors"
    ),
    "three to two, finished": Interruption(
        "in place, three to two", "renameat2", "model-00002-of-00003.safetensors"
    ),
    "two to three, finished": Interruption(
        "in place, two to three", "renameat2", "model-00002-of-00003.safetensors"
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
    moments = kill_everywhere(scenario, pristine, memory_path, first.carry_out)
    record_property("moments", moments)
    print(f"{name}: killed at {moments} moments")
