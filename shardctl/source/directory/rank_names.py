"""Files whose names say that each is what one rank holds of a model: slices, alone of no use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from shardctl.errors import InputError
from shardctl.findings import Finding
from shardctl.source.directory.candidates import Candidate
from shardctl.text import escape, plural, some

_SHOWN = 5
_RANK_FILE = re.compile(
    r"(?:.*_world_size_(?P<size>[0-9]{1,9})_rank_|.*[._-]rank[._-]?)(?P<rank>[0-9]{1,9})"
    r"(?:-of-(?P<count>[0-9]{1,9}))?",
    re.DOTALL,
)


def lone_slice(stem: str, path: str) -> Iterator[Finding]:
    """Yield the finding for a file whose name says that other ranks hold more of the model."""
    match = _RANK_FILE.fullmatch(stem)
    count = match and (match["size"] or match["count"])
    if match is None or not count or int(count) < 2:
        return
    yield Finding(
        "shard-set-incomplete",
        "warning",
        f"its name says that it is what rank {int(match['rank']):,} of {int(count):,} holds: its "
        "tensors may be slices, and the other ranks' are not read",
        "name the directory with the files of all ranks, or join them with the program that saved "
        "them",
        path,
    )


def slices(directory: str, found: Sequence[Candidate]) -> InputError | None:
    """Return the error for files that are slices of one model, one for each rank; else None.

    Ranks count from 0, so adapters of rank 8 and 16 are none.
    """
    ranks = [_RANK_FILE.fullmatch(candidate.stem) for candidate in found]
    counted = all(match and (match["size"] or match["count"]) for match in ranks)
    numbers = sorted(int(match["rank"]) for match in ranks if match)
    if len(numbers) < len(found) or not (counted or numbers == list(range(len(found)))):
        return None
    names = some([escape(candidate.choice) for candidate in found], _SHOWN)
    return InputError(
        f"'{escape(directory)}' holds {plural(len(found), 'file')} of one model, sliced for as "
        f"many ranks: {names}",
        hint="join them with the program that saved them",
        file=directory,
    )
