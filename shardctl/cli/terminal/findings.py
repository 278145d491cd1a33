"""What `verify` draws: the findings with their hints, and where in its file each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from shardctl.cli.terminal.canvas import Canvas
from shardctl.cli.terminal.charts import Mark, file_map
from shardctl.errors import ShardctlError
from shardctl.findings import Finding, ignore
from shardctl.formats.detection import read_file
from shardctl.sizes import format_size
from shardctl.stores.base import Store
from shardctl.view.findings import placed, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Files that are drawn at most, and places in one file.
MOST_FILES, MOST_MARKS = 8, 6
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}

#: Returns a file's size and the end of its header, in bytes. None for the header where the file
#: does not begin with one, None for both where it cannot be read.
Measure = Callable[[str], tuple[int, int | None] | None]


def measure_of(store: Store) -> Measure:
    """Return a function that measures the files of a store."""

    def measure(path: str) -> tuple[int, int | None] | None:
        try:
            with store.open(path) as reader:
                size, file = reader.version.size, read_file(reader, ignore)
        except ShardctlError:
            return None
        return size, None if file is None else file.data_offset or None

    return measure


def findings(found: Sequence[Finding], measure: Measure, on: Canvas) -> Iterator[RenderableType]:
    """Yield the findings, and then the files in which one has a place."""
    for finding in found:
        yield _finding(shown(finding), on)
    yield from _places(found, measure, on)


def _finding(finding: Finding, on: Canvas) -> Text:
    line = Text()
    places = [on.escaped(place) for place in (finding.file, finding.tensor) if place is not None]
    where = f"{', '.join(places)}: " if places else ""
    line.append(f"{finding.severity}", style=STYLES[finding.severity])
    line.append(f" {finding.code}", style="bold")
    line.append(
        f"  {where}{on.text(finding.message)}\n    {on.glyphs.arrow} {on.text(finding.hint)}"
    )
    return line


def _places(found: Sequence[Finding], measure: Measure, on: Canvas) -> Iterator[Text]:
    files = placed(found)
    headers = False
    for path in list(files)[:MOST_FILES]:
        measured = measure(path)
        if measured is not None:
            size, header = measured
            headers = headers or header is not None
            yield from _file(path, size, header, files[path], on)
    if len(files) > MOST_FILES:
        more = f"{on.glyphs.ellipsis} {len(files) - MOST_FILES:,} more files with findings"
        yield Text(more, style="dim")
    if headers:
        shade = on.glyphs.shades
        yield Text(f"  {shade[1]} header  {shade[-1]} tensors", style="dim")
    if files:
        yield Text()


def _file(
    path: str, size: int, header: int | None, here: Sequence[Finding], on: Canvas
) -> Iterator[Text]:
    yield Text()
    tail = f"  {format_size(size)}"
    yield Text(f"{on.name(path, on.width - 1 - len(tail))}{tail}", style="bold")
    marks = [_mark(finding) for finding in sorted(here[:MOST_MARKS], key=_offset)]
    yield from file_map(size, header, marks, on)
    if len(here) > MOST_MARKS:
        yield Text(f"  {on.glyphs.ellipsis} {len(here) - MOST_MARKS:,} more places", style="dim")


def _offset(finding: Finding) -> int:
    return finding.offset or 0


def _mark(finding: Finding) -> Mark:
    offset = _offset(finding)
    return Mark(offset, f"byte {offset:,} {finding.code}", finding.tensor, STYLES[finding.severity])
