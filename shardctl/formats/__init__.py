"""The containers, and how a file's content says which one it is. Names and suffixes say nothing here."""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.formats.base import Container, Report, WritableContainer
from shardctl.formats.safetensors import SAFETENSORS
from shardctl.formats.torch_legacy import TORCH_LEGACY
from shardctl.formats.torch_zip import TORCH_ZIP
from shardctl.model import File
from shardctl.sniff import SNIFFED_BYTES, unknown
from shardctl.stores.base import Reader

#: Every container that can be read, in the order in which they are asked whether a file is theirs.
READERS: tuple[Container, ...] = (SAFETENSORS, TORCH_ZIP, TORCH_LEGACY)

#: Every container that can be written, by the name that `--to` takes.
WRITERS: Mapping[str, WritableContainer] = {SAFETENSORS.name: SAFETENSORS, TORCH_ZIP.name: TORCH_ZIP}

# What a container's `recognise` is given of either end of a file.
_END_BYTES = 64


def recognise_file(reader: Reader) -> Container | None:
    """The container that claims the file by its first and last bytes; None where none does."""
    size = reader.version.size
    length = min(size, _END_BYTES)
    head, tail = reader.read(0, length), reader.read(size - length, length)
    return next((container for container in READERS if container.recognise(head, tail)), None)


def read_file(reader: Reader, report: Report) -> File | None:
    """Read the header of a weights file of whatever container. All that is wrong goes to `report`.

    None where nothing usable is left; a file that is no weights file at all is reported as what it looks like.
    """
    container = recognise_file(reader)
    if container is not None:
        return container.read(reader, report)
    size = reader.version.size
    report(unknown(reader.read(0, min(size, SNIFFED_BYTES)), reader.path, size))
    return None
