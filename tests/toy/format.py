"""The toy format: its traits, and what to import for its files."""

from __future__ import annotations

from shardctl.formats.base import Format, FormatReader, FormatWriter


def _reader() -> FormatReader:
    from tests.toy.reader import ToyReader

    return ToyReader()


def _writer() -> FormatWriter:
    from tests.toy.writer import ToyWriter

    return ToyWriter()


TOY = Format(
    name="toy",
    suffix=".toy",
    suffixes=(".toy",),
    default_stem="model",
    load_readers=(_reader,),
    load_writer=_writer,
)
