"""Results, kept as JSON by work: one run adds to those of others on the same machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, NamedTuple

from benchmarks.contenders import Contender, versions
from benchmarks.disks import filesystem
from benchmarks.measure import Sample, Scene, run

SCHEMA_VERSION = 1


class Ratio(NamedTuple):
    """How many times as long as its limit something takes at the least.

    `spread` is how many times as long the middle runs of both took as the least ones.
    """

    value: float
    spread: float


@dataclass(frozen=True)
class Measured:
    """A work: what it was done on (`nbytes` of tensors), and each contender's samples.

    `yardstick` names one of the contenders. `floor` is the peak memory, in bytes, that a child of
    the measuring program begins with.
    """

    filesystem: str
    nbytes: int
    tensors: int
    yardstick: str | None
    floor: int
    samples: Mapping[str, Sequence[Sample]]

    def document(self) -> dict[str, Any]:
        """Return it as JSON, of each sample what was measured."""
        samples = {
            by: [
                {name: value for name, value in asdict(each).items() if value is not None}
                for each in taken
            ]
            for by, taken in self.samples.items()
        }
        return {**asdict(self), "samples": samples}

    def to_limit(self, limit: str) -> Ratio:
        """Return the least time of shardctl by that of the contender `limit`; both were timed."""
        ours = [sample.seconds for sample in self.samples["shardctl"]]
        limits = [sample.seconds for sample in self.samples[limit]]
        spread = median(ours) / min(ours) * median(limits) / min(limits)
        return Ratio(min(ours) / min(limits), spread)


@dataclass
class Results:
    """All that is kept: the machine, the versions, and the works by name."""

    machine: dict[str, Any]
    versions: dict[str, str]
    works: dict[str, Measured] = field(default_factory=dict)

    def save(self, path: str) -> None:
        """Write them, whole or not at all."""
        head = {
            "schema_version": SCHEMA_VERSION,
            "machine": self.machine,
            "versions": self.versions,
        }
        # A line for each work: short enough to be compared, and whole where only one was measured
        # again.
        works = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(self.works[name].document())}"
            for name in sorted(self.works)
        )
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(f'{json.dumps(head)[:-1]}, "works": {{\n{works}\n}}}}\n')
        os.replace(f"{path}.new", path)


def load(path: str) -> Results:
    """Read what was kept; raises OSError, and ValueError where it is of another version."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"'{path}' is not of version {SCHEMA_VERSION}: measure again, into another file"
        )
    works = {}
    for name, kept in document["works"].items():
        samples = {
            by: [Sample(**each) for each in taken] for by, taken in kept.pop("samples").items()
        }
        works[name] = Measured(**kept, samples=samples)
    return Results(document["machine"], document["versions"], works)


def here(path: str) -> Results:
    """Return the results in a file, if any; raise ValueError for those of another machine."""
    found = machine()
    if not os.path.exists(path):
        return Results(found, versions())
    kept = load(path)
    if kept.machine != found:
        raise ValueError(
            f"'{path}' was measured on another machine; name another file with --results"
        )
    kept.versions = versions()
    return kept


def add(
    results: Results, scene: Scene, measured: Mapping[Contender, list[Sample]], directory: str
) -> None:
    """Put the works of a scene in place of what was kept of them."""
    floor = run(("true",)).peak
    for work in dict.fromkeys(filter(None, (each.work for each in scene.contenders))):
        samples = {each.name: taken for each, taken in measured.items() if each.work in ("", work)}
        name = scene.yardstick.name if scene.yardstick else None
        results.works[work] = Measured(
            filesystem(directory), scene.nbytes, scene.tensors, name, floor, samples
        )


def machine() -> dict[str, Any]:
    """What kind of machine this is; nothing that tells which one."""
    # Rounded: what the kernel keeps for itself differs from one start to the next.
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30) * 2**30
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": platform.system(),
        # Without what a distributor adds, which changes with each image of one machine.
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names: Iterable[str] = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = ()
    return next(iter(names), platform.processor() or platform.machine())
