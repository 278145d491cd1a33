"""The format of torch's distributed checkpoints: its traits. It is only read, as a directory."""

from __future__ import annotations

from shardctl.formats.base import Format

DCP = Format(
    name="dcp",
    suffix=".distcp",
    suffixes=(".distcp",),
    default_stem="model",
    load_readers=(),  # no file of it means anything alone: `source.distributed.dcp` reads them
)
