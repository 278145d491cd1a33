"""What the names of a set's files, and what its index lists, say is wrong with the set."""

from __future__ import annotations

from collections.abc import Sequence

from shardctl.findings import Finding
from shardctl.source.candidates import Candidate

_SHOWN_NUMBERS = 10


def set_findings(candidate: Candidate, path: str, unlisted: Sequence[str]) -> list[Finding]:
    """Return what the names alone say is wrong; `path` is that of the index or the first file.

    `unlisted` are the paths of `candidate.unlisted`.
    """
    found = [
        Finding(
            "shard-unlisted",
            "error",
            "the file is numbered like the index's shards, and the index does not list it",
            "repair the index with `reindex`, or remove the file if it is left over from another "
            "save",
            file,
        )
        for file in unlisted
    ]
    if candidate.missing:
        found.append(incomplete(candidate, path))
    elif candidate.index is None and candidate.style not in ("none", "rank"):
        message = "the numbered files have no index, and most loaders find them only through one"
        found.append(Finding("index-missing", "warning", message, "write it with `reindex`", path))
    return found


def incomplete(candidate: Candidate, path: str) -> Finding:
    """Return the finding for a set that lacks the numbers `candidate.missing`."""
    numbers = ", ".join(map(str, candidate.missing[:_SHOWN_NUMBERS]))
    more = ", …" if len(candidate.missing) > _SHOWN_NUMBERS else ""
    if candidate.index is None:
        total = len(candidate.files) + len(candidate.missing)
        message = (
            f"{len(candidate.missing):,} of {total:,} numbered files are missing: "
            f"number {numbers}{more}"
        )
        hint = "fetch the missing files"
    else:
        message = (
            f"the index lists a part of a numbered set: number {numbers}{more} is neither listed "
            "nor there, and loaders fill the tensors with random numbers"
        )
        hint = "fetch the missing files and the index again"
    return Finding("shard-set-incomplete", "error", message, hint, path)
