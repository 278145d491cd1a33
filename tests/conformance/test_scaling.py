"""The page about scaling is what its figures and its model give, and the model is sound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import scaling, scaling_measure
from benchmarks.scaling import MIB, PLACES, Kind, Place, Planned

PLAIN = Place(
    "plain",
    each=10.0,
    together=40.0,
    per_file=0,
    per_header=1,
    headers_at_once=2,
    headers_together=100,
)


def test_the_page_is_made_of_what_is_kept() -> None:
    """The page is what would be written from the kept figures."""
    assert scaling.PAGE.read_text(encoding="utf-8") == scaling.page(scaling.load())


def test_the_kept_plan_is_of_the_size_that_the_page_claims() -> None:
    """The plan has a million tensors of 100 TB in some 10,000 files, none above its limit."""
    plan = scaling.planned(scaling.load())
    assert plan.tensors == sum(1 for _ in scaling_measure.shapes(128, 2_600))
    assert plan.tensors == pytest.approx(10**6, rel=0.01)
    assert plan.nbytes == pytest.approx(10**14, rel=0.01)
    assert plan.files == pytest.approx(10**4, rel=0.05)
    assert plan.sizes()[0] < scaling_measure.TARGET_BYTES + MIB


def test_the_planner_makes_such_files() -> None:
    """The files of a smaller model of the same kind are as large as the kept ones, and made of as
    many ranges, so that the kept plan is still that of this planner.
    """
    kept = scaling.load()["plan"]
    small = scaling_measure.summary(scaling_measure.model(layers=2, experts=400))
    usual = {tuple(kind[:2]) for kind in kept["kinds"]}
    found = [tuple(kind[:2]) for kind in small["kinds"] for _ in range(kind[2])]
    assert len(found) > 20
    assert sum(kind in usual for kind in found) > len(found) / 2


def test_shares_are_balanced() -> None:
    """Every file is in one share, and no share is above another by more than the largest file."""
    sizes = [7, 3, 9, 1, 4, 4, 8, 2, 6]
    given = scaling.shares(sizes, 4)
    assert sorted(size for files in given for size in files) == sorted(sizes)
    loads = [sum(files) for files in given]
    assert max(loads) - min(loads) <= max(sizes)


@pytest.mark.parametrize(
    ("given", "place", "expected"),
    [
        ([[100]], PLAIN, 10),  # the worker's own limit
        ([[100]] * 4, PLAIN, 10),  # four of them fill the place
        ([[100]] * 8, PLAIN, 20),  # eight share it
        ([[100, 50], [20]], PLAIN, 15),
        ([[100, 100]], replace(PLAIN, per_file=3), 26),
        # Eight at 5 until the small ones end, then one at 10.
        ([[20]] * 7 + [[120]], PLAIN, 4 + 10),
        ([[], [10]], PLAIN, 1),
        ([[]], PLAIN, 0),
    ],
)
def test_transfers_share_a_place(given: list[list[int]], place: Place, expected: float) -> None:
    """Times are those that follow by hand from the bandwidths."""
    assert scaling.seconds(given, place) == pytest.approx(expected)


def test_headers_are_limited_alone_and_together() -> None:
    """One reader is limited by its own requests, many by what the place answers."""
    plan = Planned(1, 1_000, (Kind(10, 1, 1),))
    assert scaling.headers_seconds(plan, PLAIN, 1) == 500
    assert scaling.headers_seconds(plan, PLAIN, 100) == 1_000


def test_requests_are_counted() -> None:
    """Each file begins and completes an upload; parts and further ranges are one request each, and
    what is streamed is fetched too.
    """
    plan = Planned(1, 7, (Kind(130 * MIB, 1, 2), Kind(64 * MIB, 3, 1)))
    streamed, copied = PLACES[1:]
    parts = 2 * 3 + 1 + 2
    assert scaling.requests(plan, streamed, readers=2) == (2 * 3 + parts, 2 * 7 + parts)
    assert scaling.requests(plan, copied, readers=1) == (2 * 3 + parts, 7)
    assert scaling.requests(plan, PLACES[0], readers=5) == (0, 0)


def test_the_engine_keeps_workers_busy() -> None:
    """A run of the engine in a simulated place takes at least the predicted time, and its files are
    written by all workers at once.
    """
    sizes = [10**9] * 24
    place = replace(PLACES[0], per_file=0.01)
    expected = scaling.seconds(scaling.shares(sizes, 8), place)
    took = scaling_measure.simulated(sizes, 8, place, speed=expected / 2)
    assert 0.9 * expected < took < 6 * expected  # eight times as long, one after another
