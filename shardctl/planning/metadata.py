"""Which string pairs go into the metadata of each file. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shardctl.columns import names_of
from shardctl.errors import UsageError
from shardctl.formats.base import Format
from shardctl.formats.registry import reserved_metadata
from shardctl.formats.strict_json import object_of_texts
from shardctl.model import Checkpoint, Index, Tensor
from shardctl.planning.carried import NotCarried, left_pair
from shardctl.planning.grouping.ties import aliases_by_kept
from shardctl.text import escape, some

#: The key in the metadata under which conversions are recorded.
CONVERTED = "converted"


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """The metadata of the files of one plan.

    `common` goes into every file. `aliases`, by the name of the tensor that is kept, are recorded
    in the file that holds it. `of_tensors` has, by key, a JSON text for each tensor by name; a file
    gets those of the tensors in it.
    """

    common: Mapping[str, str]
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    of_tensors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, tensors: Sequence[Tensor]) -> Mapping[str, str]:
        """Return the metadata of a file that holds these tensors."""
        if not self.aliases and not self.of_tensors:
            return self.common
        own = dict(self.common)
        for key, texts in self.of_tensors.items():
            own[key] = object_of_texts({name: texts[name] for name in names_of(tensors)})
        for name in names_of(tensors) if self.aliases else ():
            own.update(dict.fromkeys(self.aliases.get(name, ()), name))
        return own


def file_metadata(
    checkpoint: Checkpoint, written: Format, tensors: Sequence[Tensor], aliases: Mapping[str, str]
) -> tuple[FileMetadata, tuple[NotCarried, ...]]:
    """Return the metadata of files in a format, and what of the source's is left out.

    `tensors` are all that will be written; `aliases` gives for each name that is only recorded the
    name that is kept. Raises UsageError where the format has no room for metadata without which the
    tensors are of no use.
    """
    if written.metadata is None:
        _refuse_loss(checkpoint, written)
        extra = sorted(set(checkpoint.metadata) - reserved_metadata())
        reason = f"a {written.suffix} file has no room for metadata"
        return FileMetadata({}), tuple(
            left_pair(key, checkpoint.metadata[key], reason) for key in extra
        )
    of_tensors = checkpoint.tensor_metadata
    # Readers of such a key look for every tensor of the file in it.
    partial = sorted(
        key
        for key, texts in of_tensors.items()
        if not all(map(texts.__contains__, names_of(tensors)))
    )
    common = {key: text for key, text in checkpoint.metadata.items() if key not in of_tensors}
    made = FileMetadata(
        {**written.metadata, **common},
        aliases_by_kept(aliases),
        {key: texts for key, texts in of_tensors.items() if key not in partial},
    )
    return made, tuple(
        left_pair(key, checkpoint.metadata[key], "not of all tensors that are written")
        for key in partial
    )


def _refuse_loss(checkpoint: Checkpoint, written: Format) -> None:
    """Raise UsageError where metadata says how tensors are put together.

    torchao saves a quantised `a.weight` as `a._weight_qdata`, `a._weight_scale` and so on, and its
    class and sizes as an object under `a.weight` in the metadata. Source: `safetensors_support.py`
    of torchao 0.18. Such an object is under the name of a parameter, whose module has tensors.
    """
    described = [
        key
        for key, text in checkpoint.metadata.items()
        if "." in key and text.startswith("{") and key not in checkpoint.tensor_metadata
    ]
    modules = {_module(name) for name in names_of(checkpoint.tensors)} if described else set()
    needed = [f"'{escape(key)}'" for key in described if _module(key) in modules]
    if needed:
        raise UsageError(
            f"the metadata says how tensors are put together, and a {written.suffix} file has no "
            f"room for it: {some(needed)}",
            hint="keep the format, or save plain tensors with the library that made these",
        )


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def with_record(checkpoint: Checkpoint, written: Format, record: str) -> Checkpoint:
    """Return the checkpoint with a line in its metadata, and in its index's, on what was converted.

    It follows what an earlier conversion recorded. A format that has neither gets no record.
    """
    if not record or written.listed_by is not None:
        return checkpoint

    def added(metadata: Mapping[str, Any]) -> dict[str, Any]:
        before = metadata.get(CONVERTED)
        return {**metadata, CONVERTED: f"{before}; {record}" if before else record}

    index = checkpoint.index or Index("", {}, {})
    return replace(
        checkpoint,
        metadata=added(checkpoint.metadata) if written.has_metadata else checkpoint.metadata,
        index=replace(index, metadata=added(index.metadata)),
    )
