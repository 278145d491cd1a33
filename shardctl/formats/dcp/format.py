"""The format of torch's distributed checkpoints: its traits. Its files are read together only."""

from __future__ import annotations

from shardctl.formats.base import Format, FormatListing, FormatWriter

#: The name of the file in the directory that says where the slices are.
METADATA = ".metadata"


def _writer() -> FormatWriter:
    from shardctl.formats.dcp.writer import DcpWriter  # noqa: PLC0415 - on demand

    return DcpWriter()


def _listing() -> FormatListing:
    from shardctl.formats.dcp.writer import DcpListing  # noqa: PLC0415 - on demand

    return DcpListing()


DCP = Format(
    name="dcp",
    suffix=".distcp",
    suffixes=(".distcp",),
    default_stem="model",
    load_readers=(),
    load_writer=_writer,
    listed_by=METADATA,
    load_listing=_listing,
)
