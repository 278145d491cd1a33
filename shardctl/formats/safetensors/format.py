"""The safetensors format: its traits, and what to import for its files."""

from __future__ import annotations

from shardctl.formats.base import Format, FormatReader, FormatWriter, OpenUpstream


def _reader() -> FormatReader:
    from shardctl.formats.safetensors.reader import SafetensorsReader  # noqa: PLC0415 - on demand

    return SafetensorsReader()


def _writer() -> FormatWriter:
    from shardctl.formats.safetensors.writer import SafetensorsWriter  # noqa: PLC0415 - on demand

    return SafetensorsWriter()


def _upstream() -> OpenUpstream:
    from shardctl.formats.safetensors.upstream import (  # noqa: PLC0415 - an optional dependency
        open_with_safetensors,
    )

    return open_with_safetensors


SAFETENSORS = Format(
    name="safetensors",
    suffix=".safetensors",
    suffixes=(".safetensors",),
    default_stem="model",
    load_readers=(_reader,),
    load_writer=_writer,
    load_upstream=_upstream,
    # transformers refuses a file that does not say which framework wrote it.
    metadata={"format": "pt"},
)
