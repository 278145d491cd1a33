"""What of a source does not reach the target, to be named before the work starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from shardctl.model import Checkpoint, NonTensor, Tensor
from shardctl.sizes import format_size
from shardctl.text import escape, plural

#: A file or a directory beside the weights, an entry of a pickle, a key of metadata, a name that a
#: pickle would import, or a tensor that was not chosen.
LeftKind = Literal["file", "directory", "entry", "metadata", "import", "tensor"]

#: Names in one note, and notes, at most; `not_carried` in JSON has them all.
_SHOWN, _MOST_NOTES = 20, 20
_WOULD_IMPORT = "would import"


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


def left_of(checkpoint: Checkpoint) -> Iterator[NotCarried]:
    """Yield what is left of the source's files: entries, metadata, and imports of pickles.

    `checkpoint` is the source as it was read, since its files record ties by the names there.
    """
    for value in checkpoint.non_tensors:
        yield _entry(value, f"not a tensor: {value.kind}")
    for value in checkpoint.beside:
        yield _entry(value, "beside the chosen key")
    for file in checkpoint.files:
        for value in file.beside:
            yield _entry(value, "training state")
    known = {*checkpoint.metadata, *checkpoint.aliases}
    odd = {
        key: text
        for file in checkpoint.files
        for key, text in file.metadata.items()
        if key not in known
    }
    for key, text in odd.items():
        yield left_pair(key, text, "of another form in other files of the set")
    importing: dict[str, str] = {}
    for file in checkpoint.files:
        for name in file.unsafe_globals:
            importing.setdefault(name, file.path)
    for name, path in importing.items():
        yield NotCarried(name, "import", f"'{escape(path)}' {_WOULD_IMPORT} it")


def left_tensors(tensors: Iterable[Tensor]) -> Iterator[NotCarried]:
    """Yield the tensors that the selection leaves out."""
    for tensor in tensors:
        yield NotCarried(tensor.name, "tensor", "not chosen", tensor.nbytes)


def left_pair(key: str, value: object, reason: str) -> NotCarried:
    """Return a key of metadata that is left out, with the bytes of its value as text."""
    text = value if isinstance(value, str) else json.dumps(value)
    return NotCarried(key, "metadata", reason, len(text.encode("utf-8", "surrogatepass")))


def _entry(value: NonTensor, reason: str) -> NotCarried:
    return NotCarried(value.name, "entry", reason, value.nbytes if value.storages else None)


def notes_on(left: Iterable[NotCarried]) -> Iterator[str]:
    """Yield a note for each reason, with the names and sizes of what is left for it."""
    groups: dict[tuple[str, str], list[NotCarried]] = {}
    for each in left:
        if each.kind == "tensor":  # counted by the plan, since there can be a million
            continue
        verb = "not copied" if each.kind in ("file", "directory") else "left out"
        groups.setdefault((verb, each.reason), []).append(each)
    for number, ((verb, reason), some) in enumerate(groups.items()):
        if number == _MOST_NOTES:
            rest = sum(map(len, list(groups.values())[number:]))
            yield f"left out for other reasons: {plural(rest, 'more name')}"
            return
        names = ", ".join(each.title for each in some[:_SHOWN])
        more = f", and {len(some) - _SHOWN:,} more" if len(some) > _SHOWN else ""
        if reason.endswith(f"{_WOULD_IMPORT} it"):
            yield f"left out: {reason.removesuffix('it')}{names}{more}"
        else:
            yield f"{verb} ({escape(reason)}): {names}{more}"
