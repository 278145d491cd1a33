"""The safetensors format: its traits, and what to import for its files."""

from __future__ import annotations

from shardctl.formats.base import Format, FormatReader, FormatWriter


def _reader() -> FormatReader:
    from shardctl.formats.safetensors.reader import SafetensorsReader  # noqa: PLC0415 - on demand

    return SafetensorsReader()


def _writer() -> FormatWriter:
    from shardctl.formats.safetensors.writer import SafetensorsWriter  # noqa: PLC0415 - on demand

    return SafetensorsWriter()


SAFETENSORS = Format(
    name="safetensors",
    suffix=".safetensors",
    suffixes=(".safetensors",),
    default_stem="model",
    load_readers=(_reader,),
    load_writer=_writer,
    # transformers refuses a file that does not say which framework wrote it.
    metadata={"format": "pt"},
)
