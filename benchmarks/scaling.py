"""What a checkpoint of 100 TB takes on many machines: from its real plan, by a stated model.

    python -m benchmarks.scaling              print the tables of docs/scaling.md
    python -m benchmarks.scaling --write      write the page
    python -m benchmarks.scaling_measure      measure again what the page has of measurements

Workers take files one after another. In each place a worker moves so many bytes a second, all
together no more than the place does, shared evenly; each file takes some time besides. Nothing here
measures: what was measured is in scaling.json.
"""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from shardctl.sizes import format_size

KEPT = Path(__file__).with_name("scaling.json")
TEMPLATE = Path(__file__).with_name("scaling.md.in")
PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"

WORKERS = (1, 16, 256)
GB, MIB = 10**9, 2**20


@dataclass(frozen=True)
class Place:
    """Where source and target are. These are assumptions, not measurements.

    A worker moves `each` bytes a second, all workers together `together`. A file takes `per_file`
    seconds beside its bytes, and reading a header `per_header` seconds, `headers_at_once` at once;
    `headers_together` headers a second are all that the place answers. `part` is the bytes of one
    request that moves data, and `whole` says that data passes through the worker.
    """

    name: str
    each: float
    together: float
    per_file: float
    per_header: float
    headers_at_once: int
    headers_together: float
    part: int | None = None
    through_worker: bool = True


PLACES = (
    Place("shared filesystem", 3 * GB, 100 * GB, 0.05, 0.002, 1, 20_000),
    Place("S3, streamed", 2.5 * GB, 3_500 * 64 * MIB, 0.3, 0.06, 16, 5_500, part=64 * MIB),
    Place(
        "S3, server-side copies",
        16 * 0.1 * GB,
        3_500 * 64 * MIB,
        0.3,
        0.06,
        16,
        5_500,
        part=64 * MIB,
        through_worker=False,
    ),
)

#: US dollars, list prices of us-east-1 as remembered in November 2026: to be checked before use.
PRICES = {
    "1,000 PUT, COPY or POST requests": 0.005,
    "1,000 GET requests": 0.0004,
    "a GB of storage for a month": 0.022,
    "a worker for an hour (c6in.8xlarge)": 1.81,
}
_PUT, _GET, _STORED, _HOUR = PRICES.values()


@dataclass(frozen=True)
class Kind:
    """Files of the plan that are alike: their bytes, and the source ranges in each."""

    nbytes: int
    ranges: int
    count: int


@dataclass(frozen=True)
class Planned:
    """What the real planner makes of the model: the kinds of its files, in order of size."""

    tensors: int
    sources: int
    kinds: tuple[Kind, ...]

    @property
    def files(self) -> int:
        """How many files are written."""
        return sum(kind.count for kind in self.kinds)

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        return sum(kind.count * kind.nbytes for kind in self.kinds)

    def sizes(self) -> list[int]:
        """Return the bytes of every file, the largest first."""
        return [kind.nbytes for kind in reversed(self.kinds) for _ in range(kind.count)]


def planned(kept: Mapping[str, Any]) -> Planned:
    """Return the plan that was kept."""
    kinds = tuple(Kind(*each) for each in kept["plan"]["kinds"])
    return Planned(kept["plan"]["tensors"], kept["plan"]["sources"], kinds)


def shares(sizes: Sequence[int], workers: int) -> list[list[int]]:
    """Give each file, the largest first, to the worker that has the fewest bytes."""
    loads = [(0, number) for number in range(workers)]
    given: list[list[int]] = [[] for _ in range(workers)]
    for size in sorted(sizes, reverse=True):
        load, number = heapq.heappop(loads)
        given[number].append(size)
        heapq.heappush(loads, (load + size, number))
    return given


def seconds(given: Sequence[Sequence[int]], place: Place) -> float:
    """Return when the last worker is done, each with its files one after another.

    Transfers that are going on share the place evenly. The clock of a transfer is what each of them
    was served so far, in bytes: it ends when that has grown by its size.
    """
    now = served = 0.0
    waiting = [(0.0, number) for number in range(len(given))]  # when the next file can begin
    going: list[tuple[float, int]] = []  # what will be served when it ends
    following = [iter(files) for files in given]
    while waiting or going:
        rate = min(place.each, place.together / len(going)) if going else 0.0
        ends = now + (going[0][0] - served) / rate if going else float("inf")
        if waiting and waiting[0][0] <= ends:
            at, number = heapq.heappop(waiting)
            served += (at - now) * rate
            now = at
            size = next(following[number], None)
            if size is not None:
                heapq.heappush(going, (served + size, number))
        else:
            served, number = heapq.heappop(going)
            now = ends
            heapq.heappush(waiting, (now + place.per_file, number))
    return now


def headers_seconds(plan: Planned, place: Place, readers: int) -> float:
    """Return how long so many machines take to read all headers of the source at the same time."""
    alone = plan.sources * place.per_header / place.headers_at_once
    return max(alone, readers * plan.sources / place.headers_together)


def requests(plan: Planned, place: Place, readers: int) -> tuple[int, int]:
    """Return the requests of a run on S3: those that write, and those that read.

    A file takes one to begin and one to complete, and one for each part; of a range that does not
    begin or end with a part there is one more. A header takes one request.
    """
    part = place.part
    if part is None:
        return 0, 0
    parts = sum(kind.count * (-(-kind.nbytes // part) + kind.ranges - 1) for kind in plan.kinds)
    reads = readers * plan.sources + (parts if place.through_worker else 0)
    return 2 * plan.files + parts, reads


def plan_table(plan: Planned) -> str:
    """Return what the planner makes of the model."""
    sizes = plan.sizes()
    rows = (
        ("tensors", f"{plan.tensors:,}"),
        ("source", f"{plan.sources:,} files"),
        ("target", f"{plan.files:,} files, {format_size(plan.nbytes)}"),
        ("largest file", format_size(sizes[0])),
        ("smallest file", format_size(sizes[-1])),
        ("source ranges of a file", f"at most {max(kind.ranges for kind in plan.kinds)}"),
    )
    return _table(("", "the plan"), rows)


def places_table() -> str:
    """Return the assumptions about places."""
    rows = (
        (
            place.name,
            f"{format_size(int(place.each))}/s",
            f"{format_size(int(place.together))}/s",
            f"{place.per_file:g} s",
            f"{1000 * place.per_header:g} ms, {place.headers_at_once} at once",
            f"{place.headers_together:,.0f}/s",
        )
        for place in PLACES
    )
    titles = ("place", "a worker", "together", "each file, besides", "a header", "headers together")
    return _table(titles, rows)


def prices_table() -> str:
    """Return the assumptions about prices."""
    return _table(("price of", "US$"), ((what, f"{price:g}") for what, price in PRICES.items()))


def times_table(plan: Planned, measured: Mapping[str, Any]) -> str:
    """Return predicted and measured times, and what limits each."""
    rows = []
    for place in PLACES:
        for workers in WORKERS:
            given = shares(plan.sizes(), workers)
            move = seconds(given, place)
            once = headers_seconds(plan, place, 1)
            each = headers_seconds(plan, place, workers)
            full = workers * place.each >= place.together
            found = measured.get(place.name, {}).get(str(workers))
            rows.append(
                (
                    place.name,
                    str(workers),
                    f"{100 * max(map(sum, given)) * workers / plan.nbytes - 100:.2f} %",
                    _time(move),
                    "-" if found is None else _time(found),
                    _time(once),
                    _time(each),
                    "the place" if full else "the worker" if workers == 1 else "the workers",
                )
            )
    titles = (
        "place",
        "workers",
        "largest share above the mean",
        "predicted",
        "measured",
        "headers, read once",
        "headers, read by each",
        "limit",
    )
    return _table(titles, rows)


def costs_table(plan: Planned) -> str:
    """Return requests and money of a run on S3."""
    rows = []
    for place in PLACES:
        for workers in WORKERS if place.part else ():
            time = seconds(shares(plan.sizes(), workers), place)
            for way, readers in (("one", 1), ("each worker", workers)):
                writes, reads = requests(plan, place, readers)
                asked = writes / 1000 * _PUT + reads / 1000 * _GET
                hours = workers * (time + headers_seconds(plan, place, readers)) / 3600
                rows.append(
                    (
                        place.name,
                        str(workers),
                        way,
                        f"{writes:,}",
                        f"{reads:,}",
                        f"{asked:,.2f}",
                        f"{hours * _HOUR:,.2f}",
                    )
                )
    titles = (
        "place",
        "workers",
        "headers read by",
        "PUT, COPY, POST",
        "GET",
        "requests, US$",
        "machines, US$",
    )
    return _table(titles, rows)


def measured_table(kept: Mapping[str, Any]) -> str:
    """Return what was measured of planning."""
    rows = (
        (
            verb,
            f"{each['seconds']:.1f} s",
            f"{each['processor']:.1f} s",
            format_size(each["peak"]),
        )
        for verb, each in kept["headers"]["verbs"].items()
    )
    return _table(("command", "time", "of the processor", "peak memory"), rows)


def page(kept: Mapping[str, Any]) -> str:
    """Return the page's text."""
    plan = planned(kept)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        plan=plan_table(plan),
        places=places_table(),
        prices=prices_table(),
        times=times_table(plan, kept["runs"]["seconds"]),
        costs=costs_table(plan),
        headers=measured_table(kept),
        headers_facts=kept["headers"]["facts"],
        runs_facts=kept["runs"]["facts"],
        coordination=f"{1000 * kept['dask']['seconds_per_file']:.1f} ms",
        coordination_facts=kept["dask"]["facts"],
        dispatch=_time(plan.files * kept["dask"]["seconds_per_file"]),
        full=f"{-(-PLACES[0].together // PLACES[0].each):.0f}",
        stored=f"{plan.nbytes / GB * _STORED:,.0f}",
    )


def _time(value: float) -> str:
    if value < 100:
        return f"{value:.1f} s"
    minutes = value / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _table(titles: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    cells = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def load() -> dict[str, Any]:
    """Return what was kept."""
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    text = page(load())
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)
