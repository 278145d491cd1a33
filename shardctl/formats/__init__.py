"""The containers, and how a file's content says which one it is. Names and suffixes say nothing here.

A container is imported when it is first asked for: many a run meets only one, and starts sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shardctl.findings import Report
from shardctl.formats.base import Format, WritableFormat
from shardctl.formats.sniff import SNIFFED_BYTES, unknown
from shardctl.model import File
from shardctl.stores.base import Reader


def _safetensors() -> WritableFormat:
    from shardctl.formats.safetensors.container import SAFETENSORS  # noqa: PLC0415 - when it is asked for

    return SAFETENSORS


def _torch_zip() -> WritableFormat:
    from shardctl.formats.torch.zip import TORCH_ZIP  # noqa: PLC0415 - (the same)

    return TORCH_ZIP


def _torch_legacy() -> Format:
    from shardctl.formats.torch.legacy import TORCH_LEGACY  # noqa: PLC0415 - (the same)

    return TORCH_LEGACY


#: Every container that can be read, in the order in which they are asked whether a file is theirs.
READERS: tuple[Callable[[], Format], ...] = (_safetensors, _torch_zip, _torch_legacy)

#: Every container that can be written, by the name that `--to` takes.
WRITERS: Mapping[str, Callable[[], WritableFormat]] = {
    "safetensors": _safetensors,
    "bin": _torch_zip,
}

# What a container's `recognise` is given of either end of a file.
_END_BYTES = 64


def recognise_file(reader: Reader) -> Format | None:
    """The container that claims the file by its first and last bytes; None where none does."""
    size = reader.version.size
    length = min(size, _END_BYTES)
    head, tail = reader.read(0, length), reader.read(size - length, length)
    containers = (load() for load in READERS)
    return next((container for container in containers if container.recognise(head, tail)), None)


def read_file(reader: Reader, report: Report) -> File | None:
    """Read the header of a weights file of whatever container. All that is wrong goes to `report`.

    None where nothing usable is left; a file that is no weights file at all is reported as what it
    looks like.
    """
    container = recognise_file(reader)
    if container is not None:
        return container.read(reader, report)
    size = reader.version.size
    report(unknown(reader.read(0, min(size, SNIFFED_BYTES)), reader.path, size))
    return None
