"""The registry of formats: how they are looked up, and that their traits are true."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shardctl.errors import UsageError
from shardctl.findings import strict
from shardctl.formats.base import Format
from shardctl.formats.detection import read_file
from shardctl.formats.registry import (
    all_suffixes,
    by_name,
    formats,
    promised_by,
    register,
    reserved_metadata,
    standalone,
    unregister,
    writable,
    writer_of,
    written_as,
)
from shardctl.formats.torch.format import TORCH
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.naming import KNOWN_STEMS
from shardctl.testing.builders import BytesReader, materialise

#: A format that is read and not written, with a suffix that no other has.
READ_ONLY = replace(TORCH, name="toy", suffix=".toy", suffixes=(".toy", ".toys"), load_writer=None)


@pytest.fixture
def toy() -> Iterator[Format]:
    """The format above, registered for one test."""
    register(READ_ONLY)
    yield READ_ONLY
    unregister("toy")


def test_formats_are_found_by_name_and_by_suffix() -> None:
    """A name has one format, and a file name promises one or none."""
    assert [known.name for known in formats()] == ["safetensors", "bin", "dcp"]
    assert [known.name for known in writable()] == ["safetensors", "bin", "dcp"]
    assert [known.name for known in standalone()] == ["safetensors", "bin"]
    assert by_name("bin") is TORCH is promised_by("consolidated.00.pth")
    assert promised_by("a.safetensors") is by_name("safetensors") is written_as("a.safetensors")
    assert promised_by("config.json") is None
    assert [known.name for known in formats() if known.is_in_pieces] == ["dcp"]
    assert written_as("a.bin") is written_as("a.ckpt") is TORCH
    assert written_as("a.distcp") is None
    assert all_suffixes() == (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp")
    assert reserved_metadata() == {"format"}


def test_an_unknown_name_is_a_usage_error() -> None:
    """A name that no format has is refused with those to choose from."""
    with pytest.raises(UsageError, match="unknown format 'gguf'") as caught:
        writer_of("gguf")
    assert caught.value.hint == "choose one of: safetensors, bin, dcp"


def test_a_format_can_be_added_and_taken_back(toy: Format) -> None:
    """A registered format is found like the others, and is gone when it is unregistered."""
    assert formats()[-1] is by_name("toy") is promised_by("x.toys") is toy
    assert all_suffixes()[-2:] == (".toy", ".toys")
    unregister("toy")
    assert promised_by("x.toys") is None
    assert ".toy" not in all_suffixes()
    register(toy)


def test_a_format_that_is_only_read_cannot_be_written(toy: Format) -> None:
    """A format without a writer is refused for writing, and the error names those that have one."""
    assert toy not in writable()
    assert written_as("x.toy") is None
    with pytest.raises(UsageError, match="only read") as caught:
        writer_of("toy")
    assert caught.value.hint.endswith("safetensors, bin, dcp")


@pytest.mark.parametrize(
    "wrong",
    [
        replace(READ_ONLY, name="bin"),
        replace(READ_ONLY, suffix=".other"),
        replace(READ_ONLY, suffixes=(".toy", ".pt")),
        replace(READ_ONLY, suffix="toy", suffixes=("toy",)),
        replace(READ_ONLY, default_stem="weights"),
    ],
    ids=["name", "suffix", "taken suffix", "no dot", "stem"],
)
def test_a_format_with_impossible_traits_is_refused(wrong: Format) -> None:
    """Names and suffixes are unique, and the default stem is one that loaders look for."""
    with pytest.raises(ValueError, match=r"format|suffix|stem"):
        register(wrong)
    assert [known.name for known in formats()] == ["safetensors", "bin", "dcp"]


@pytest.mark.parametrize("known", standalone(), ids=lambda known: known.name)
def test_the_traits_are_true(known: Format) -> None:
    """What is written of a format is read back with its name, its pairs, and as many storages as it
    says.
    """
    shared = Storage(Extent("source", 0, 8), "0")
    tensors = [Tensor(name, DTYPES["F32"], (2,), shared) for name in ("b", "a")]
    pairs = {**(known.metadata or {}), "author": "x"} if known.has_metadata else {}
    layout = writer_of(known.name).lay_out(tensors, pairs)
    data = materialise(layout, {"source": bytes(range(8))})
    file = read_file(BytesReader(f"a/file{known.suffix}", data), strict)
    assert file is not None
    assert file.format == known.name
    assert file.metadata == pairs
    storages = {each.storage.identity for each in file.tree.values() if isinstance(each, Tensor)}
    assert len(storages) == (1 if known.shares_storages else 2)
    assert known.default_stem in KNOWN_STEMS


def test_the_registry_imports_nothing_that_reads_or_writes() -> None:
    """Looking formats up imports no reader, no writer and no model of a checkpoint."""
    program = (
        "import sys; from shardctl.formats.registry import formats, all_suffixes\n"
        "formats(), all_suffixes()\n"
        "print(*(name for name in sys.modules if name.startswith('shardctl.')))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {name for name in imported if name.startswith("shardctl.formats.")} == {
        "shardctl.formats.base",
        "shardctl.formats.dcp",
        "shardctl.formats.dcp.format",
        "shardctl.formats.registry",
        "shardctl.formats.safetensors",
        "shardctl.formats.safetensors.format",
        "shardctl.formats.torch",
        "shardctl.formats.torch.format",
    }
    assert not imported & {"shardctl.model", "shardctl.layout", "shardctl.stores"}
