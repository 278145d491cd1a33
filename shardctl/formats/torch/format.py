"""The format of torch.save: its traits, and what to import for its files.

Files of before torch 1.6 are read, and written as the zip files that came after.
"""

from __future__ import annotations

from shardctl.formats.base import Format, FormatReader, FormatWriter, OpenUpstream


def _zip_reader() -> FormatReader:
    from shardctl.formats.torch.zip.reader import TorchZipReader  # noqa: PLC0415 - on demand

    return TorchZipReader()


def _legacy_reader() -> FormatReader:
    from shardctl.formats.torch.legacy import TorchLegacyReader  # noqa: PLC0415 - on demand

    return TorchLegacyReader()


def _writer() -> FormatWriter:
    from shardctl.formats.torch.zip.writer import TorchZipWriter  # noqa: PLC0415 - on demand

    return TorchZipWriter()


def _upstream() -> OpenUpstream:
    from shardctl.formats.torch.upstream import open_with_torch  # noqa: PLC0415 - optional

    return open_with_torch


TORCH = Format(
    name="bin",
    suffix=".bin",
    suffixes=(".bin", ".pt", ".pth", ".ckpt"),
    default_stem="pytorch_model",
    load_readers=(_zip_reader, _legacy_reader),
    load_writer=_writer,
    load_upstream=_upstream,
    shares_storages=True,
    ambiguous_suffixes=True,
    members=frozenset({"data.pkl", "data", "version"}),
    lists_any_suffix=True,
)
