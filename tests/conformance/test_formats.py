"""Every format of the package passes the suite for what it can do."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch

from shardctl.formats.base import Format, WritableFormat
from shardctl.formats.safetensors.container import SAFETENSORS
from shardctl.formats.torch.legacy import TORCH_LEGACY
from shardctl.formats.torch.zip import TORCH_ZIP
from shardctl.testing.suites.formats import ReadableFormatSuite, WritableFormatSuite


class TestSafetensors(WritableFormatSuite):
    """safetensors."""

    dtypes: ClassVar[tuple[str, ...]] = ("BOOL", "U8", "I16", "F8_E4M3", "BF16", "F32", "C64")
    metadata: ClassVar[Mapping[str, str]] = {"format": "pt", "ü": "[x]"}

    @pytest.fixture
    def reader(self) -> Format:
        """The format."""
        return SAFETENSORS

    @pytest.fixture
    def writer(self) -> WritableFormat:
        """The format."""
        return SAFETENSORS


class TestTorchZip(WritableFormatSuite):
    """torch's zip files."""

    @pytest.fixture
    def reader(self) -> Format:
        """The format."""
        return TORCH_ZIP

    @pytest.fixture
    def writer(self) -> WritableFormat:
        """The format."""
        return TORCH_ZIP


class TestTorchLegacy(ReadableFormatSuite):
    """torch's files of before 1.6."""

    @pytest.fixture
    def reader(self) -> Format:
        """The format."""
        return TORCH_LEGACY

    @pytest.fixture
    def sample(self) -> bytes:
        """A file that torch writes."""
        out = io.BytesIO()
        tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.int8)}
        torch.save(tensors, out, _use_new_zipfile_serialization=False)
        return out.getvalue()
