"""The page of the measurements: its tables and charts, from the results and from `remarks`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from string import Template

from benchmarks import layers
from benchmarks.charts import Line, axis, draw
from benchmarks.measure import Sample
from benchmarks.remarks import LIMITS, TITLES
from benchmarks.results import Measured, Results
from benchmarks.scenarios import HEADERS, STAGES
from shardctl.sizes import format_size

PAGE, IMAGES = "performance.md", "images"
TEMPLATE = Path(__file__).with_name("performance.md.in")

SIZE_CHART, TENSORS_CHART = "performance-size.svg", "performance-tensors.svg"
_NO_FIGURE = "-"


def write(results: Results, directory: str) -> list[str]:
    """Write the page and its charts into a directory; return their paths."""
    made = {os.path.join(IMAGES, name): text for name, text in charts(results).items()}
    written = {**made, PAGE: page(results)}
    os.makedirs(os.path.join(directory, IMAGES), exist_ok=True)
    for name, text in written.items():
        Path(directory, name).write_text(text, encoding="utf-8")
    return [os.path.join(directory, name) for name in written]


def page(results: Results) -> str:
    """Return the page's text."""
    machine = results.machine
    facts = (
        f"{machine['cpu']}, {machine['cores']} cores, "
        f"{format_size(machine['memory_bytes'])} of memory, "
        f"{machine['system']} {machine['kernel']}, Python {machine['python']}"
    )
    packages = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    full = [work for name, work in results.works.items() if name.startswith(("disk/", "xfs/"))]
    checkpoints = sorted({f"{work.tensors} tensors, {work.nbytes:,} bytes" for work in full})
    floor = max((work.floor for work in results.works.values()), default=0)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        machine=f"Machine: {facts}.",
        versions=f"Versions: {packages}.",
        checkpoint="; ".join(checkpoints) or "not measured",
        floor=format_size(floor),
        sections="\n\n".join(sections(results)),
        layers=layers.table(),
    )


def sections(results: Results) -> Iterator[str]:
    """Yield the parts of the page, one for each stage that was measured."""
    pictures = charts(results)
    shown = {
        "size": (SIZE_CHART, "Seconds against size"),
        "headers": (TENSORS_CHART, "Seconds against tensors"),
    }
    for stage, (title, introduction) in TITLES.items():
        works = of_stage(results, stage)
        if not works:
            continue
        first = next(iter(works.values()))
        facts = {"filesystem": first.filesystem, "size": format_size(first.nbytes)}
        yield f"## {title}\n\n{Template(introduction).substitute(facts)}"
        yield table(works)
        name, about = shown.get(stage, ("", ""))
        if name in pictures:
            yield f"![{about}]({IMAGES}/{name})"
    if said := list(remarks(results)):
        yield "## Which limit each is near to"
        yield "\n".join(said)


def of_stage(results: Results, stage: str) -> dict[str, Measured]:
    """Return what was measured of a stage's works, in the order of the stage."""
    names = next(each.works for each in STAGES if each.name == stage)
    return {name: results.works[name] for name in names if name in results.works}


def remarks(results: Results) -> Iterator[str]:
    """Yield the remarks on the figures that were measured."""
    for pattern, (heading, sentence) in LIMITS.items():
        if any(fnmatchcase(work, pattern) for work in results.works):
            yield f"- **{heading}:** {sentence}"


def table(works: Mapping[str, Measured]) -> str:
    """Return a Markdown table with a row for each work and contender, without empty columns."""
    titles = (
        *(
            "work",
            "tensors' size",
            "by",
            "seconds (min / median / max)",
            "times (min / median / max)",
        ),
        *("peak memory", "mapped", "read", "written", "disk used"),
        *("received", "sent", "requests", "disk at the peak", "rounds"),
    )
    sizes = {measured.nbytes for measured in works.values()}
    rows = [
        (
            work.partition("/")[2],
            # Where all works are of one size, the text above says it.
            format_size(measured.nbytes) if len(sizes) > 1 else _NO_FIGURE,
            *row(name, samples, measured.yardstick),
        )
        for work, measured in works.items()
        for name, samples in measured.samples.items()
    ]
    columns = list(zip(titles, *rows, strict=True))
    kept = [column for column in columns if any(cell != _NO_FIGURE for cell in column[1:])]
    head, *body = zip(*kept, strict=True)
    rule = ["---" if title in ("work", "by") else "---:" for title in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def row(name: str, samples: Sequence[Sample], yardstick: str | None) -> tuple[str, ...]:
    """The cells of a contender; of bytes the largest peak, and the medians of the rest."""
    ratios = [sample.ratio for sample in samples if sample.ratio is not None]
    return (
        f"`{name}`" if name == yardstick and " app" not in name else name,
        spread([sample.seconds for sample in samples]),
        _NO_FIGURE if name == yardstick or not ratios else spread(ratios),
        format_size(max(sample.peak for sample in samples)),
        _middle([sample.mapped for sample in samples]),
        _middle([sample.read for sample in samples]),
        _middle([sample.written for sample in samples]),
        _middle([sample.room for sample in samples]),
        _middle([sample.received for sample in samples]),
        _middle([sample.sent for sample in samples]),
        _middle([sample.requests for sample in samples], str),
        _middle([sample.disk for sample in samples]),
        str(len(samples)),
    )


def spread(values: Sequence[float]) -> str:
    """The least, the middle and the largest."""
    return " / ".join(f"{value:.2f}" for value in (min(values), median(values), max(values)))


def _middle(values: Sequence[int | None], show: Callable[[int], str] = format_size) -> str:
    known = [value for value in values if value is not None]
    # Room that others gave free meanwhile is none that was won.
    return show(max(round(median(known)), 0)) if known else _NO_FIGURE


def charts(results: Results) -> dict[str, str]:
    """The pictures that can be drawn, by file name: those of which two points were measured."""
    whole = {name: work for name, work in results.works.items() if name == "disk/split-safetensors"}
    sizes = {**of_stage(results, "size"), **whole}
    plans = {
        name: results.works[name]
        for each in HEADERS
        for name in each.works
        if name in results.works
    }
    plans = {
        name: work for name, work in plans.items() if name.removeprefix("headers/plan-").isdecimal()
    }
    found = {}
    if len(sizes) > 1:
        size_axis = (
            "bytes of tensors",
            lambda value: format_size(round(value)).replace(".0 ", " "),
        )
        lines = [
            Line(
                name,
                [
                    (work.nbytes, _seconds(work, name))
                    for work in sizes.values()
                    if name in work.samples
                ],
            )
            for name in ("shardctl", "cp -r")
        ]
        found[SIZE_CHART] = _chart("Seconds to split one safetensors file", size_axis, lines)
    if len(plans) > 1:
        line = Line("plan", [(work.tensors, _seconds(work, "shardctl")) for work in plans.values()])
        tensors_axis = ("tensors", lambda value: f"{round(value):,}")
        found[TENSORS_CHART] = _chart("Seconds to plan a split", tensors_axis, [line])
    return found


def _seconds(work: Measured, name: str) -> float:
    return median(sample.seconds for sample in work.samples[name])


def _chart(title: str, across: tuple[str, Callable[[float], str]], lines: Sequence[Line]) -> str:
    points = [point for line in lines for point in line.points]
    x_axis = axis(*across, [x for x, _ in points])
    y_axis = axis("seconds, median", lambda value: f"{value:g}", [y for _, y in points])
    return draw(title, x_axis, y_axis, lines)
