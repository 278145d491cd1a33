"""What of a source does not reach the target, to be named before the work starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from shardctl.sizes import format_size
from shardctl.text import escape, plural

#: A file or a directory beside the weights, an entry of a pickle, a key of metadata, or a name that
#: a pickle would import.
LeftKind = Literal["file", "directory", "entry", "metadata", "import"]

#: Names in one note, and notes, at most; `not_carried` in JSON has them all.
_SHOWN, _MOST_NOTES = 20, 20


@dataclass(frozen=True, slots=True)
class NotCarried:
    """One thing that the target will lack.

    `name` is a name in the source directory, a dotted path in a file, or a key. `reason` says why,
    in a few words. `size` is in bytes, None where there is none.
    """

    name: str
    kind: LeftKind
    reason: str
    size: int | None = None

    @property
    def title(self) -> str:
        """The name with its size, safe to print; a slash marks a directory."""
        name = escape(self.name) + ("/" if self.kind == "directory" else "")
        return name if self.size is None else f"{name} ({format_size(self.size)})"


def notes_on(left: Iterable[NotCarried]) -> Iterator[str]:
    """Yield a note for each reason, with the names and sizes of what is left for it."""
    groups: dict[tuple[str, str], list[NotCarried]] = {}
    for each in left:
        verb = "not copied" if each.kind in ("file", "directory") else "left out"
        groups.setdefault((verb, each.reason), []).append(each)
    for number, ((verb, reason), some) in enumerate(groups.items()):
        if number == _MOST_NOTES:
            rest = sum(map(len, list(groups.values())[number:]))
            yield f"left out for other reasons: {plural(rest, 'more name')}"
            return
        more = f", and {len(some) - _SHOWN:,} more" if len(some) > _SHOWN else ""
        yield f"{verb} ({reason}): {', '.join(each.title for each in some[:_SHOWN])}{more}"
