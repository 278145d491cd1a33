"""What the names of a set's files, and what its index lists, say is wrong with the set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardctl.findings import Finding
from shardctl.source.directory.candidates import Candidate


def set_findings(candidate: Candidate, path: str, unlisted: Sequence[str]) -> Iterator[Finding]:
    """Yield what the names alone say is wrong; `path` is that of the index or the first file.

    `unlisted` are the paths of `candidate.unlisted`.
    """
    for file in unlisted:
        yield Finding(
            "shard-unlisted",
            "error",
            "the file is numbered like the index's shards, and the index does not list it",
            "repair the index with `reindex`, or remove the file if it is left over from another "
            "save",
            file,
        )
    if candidate.missing:
        yield incomplete(candidate, path)
    elif candidate.index is None and candidate.style not in ("none", "rank"):
        message = "the numbered files have no index, and most loaders find them only through one"
        yield Finding("index-missing", "warning", message, "write it with `reindex`", path)


def incomplete(candidate: Candidate, path: str) -> Finding:
    """Return the finding for a set that lacks the numbers `candidate.missing`, and maybe more."""
    numbers = ", ".join(map(str, candidate.missing))
    more = ", …" if candidate.lacks > len(candidate.missing) else ""
    if candidate.index is None:
        total = len(candidate.files) + candidate.lacks
        message = (
            f"{candidate.lacks:,} of {total:,} numbered files are missing: number {numbers}{more}"
        )
        hint = "fetch the missing files"
    else:
        message = (
            f"the index lists a part of a numbered set: number {numbers}{more} is neither listed "
            "nor there, and loaders fill the tensors with random numbers"
        )
        hint = "fetch the missing files and the index again"
    return Finding("shard-set-incomplete", "error", message, hint, path)
