"""Every format of the package passes the suite for what it can do."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch

from shardctl.formats.base import FormatReader, FormatWriter
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.formats.safetensors.writer import SafetensorsWriter
from shardctl.formats.torch.legacy import TorchLegacyReader
from shardctl.formats.torch.zip.reader import TorchZipReader
from shardctl.formats.torch.zip.writer import TorchZipWriter
from shardctl.testing.suites.formats import ReadableFormatSuite, WritableFormatSuite


class TestSafetensors(WritableFormatSuite):
    """safetensors."""

    dtypes: ClassVar[tuple[str, ...]] = ("BOOL", "U8", "I16", "F8_E4M3", "BF16", "F32", "C64")
    metadata: ClassVar[Mapping[str, str]] = {"format": "pt", "ü": "[x]"}

    @pytest.fixture
    def reader(self) -> FormatReader:
        """Its reader."""
        return SafetensorsReader()

    @pytest.fixture
    def writer(self) -> FormatWriter:
        """Its writer."""
        return SafetensorsWriter()


class TestTorchZip(WritableFormatSuite):
    """torch's zip files."""

    @pytest.fixture
    def reader(self) -> FormatReader:
        """Its reader."""
        return TorchZipReader()

    @pytest.fixture
    def writer(self) -> FormatWriter:
        """Its writer."""
        return TorchZipWriter()


class TestTorchLegacy(ReadableFormatSuite):
    """torch's files of before 1.6."""

    @pytest.fixture
    def reader(self) -> FormatReader:
        """Its reader."""
        return TorchLegacyReader()

    @pytest.fixture
    def sample(self) -> bytes:
        """A file that torch writes."""
        out = io.BytesIO()
        tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.int8)}
        torch.save(tensors, out, _use_new_zipfile_serialization=False)
        return out.getvalue()
