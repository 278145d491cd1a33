"""The format of torch's distributed checkpoints: its traits. It is only read, as a directory."""

from __future__ import annotations

from shardctl.formats.base import Format

#: The name of the file in the directory that says where the slices are.
METADATA = ".metadata"

DCP = Format(
    name="dcp",
    suffix=".distcp",
    suffixes=(".distcp",),
    default_stem="model",
    load_readers=(),
)
