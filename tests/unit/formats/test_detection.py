"""Which format a file has: its contents say, never its name."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
import torch
from safetensors.torch import save as save_safetensors

from shardctl.findings import Finding
from shardctl.formats.detection import read_file, recognise_file
from shardctl.formats.registry import formats
from shardctl.model import File
from shardctl.testing.builders import BytesReader

_LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 4976698672\n"
)


def _torch(**options: object) -> bytes:
    out = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, out, **options)
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return out.getvalue()


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    return read_file(BytesReader("a/file", data), findings.append), findings


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (save_safetensors({"a": torch.zeros(3)}), "safetensors"),
        (save_safetensors({}), "safetensors"),
        (_torch(), "bin"),
        (_torch(_use_new_zipfile_serialization=False), "bin"),
    ],
    ids=["safetensors", "safetensors without tensors", "torch zip", "legacy torch"],
)
def test_the_contents_say_the_format(data: bytes, expected: str) -> None:
    """Whatever its name, a file has the format that its bytes are of, and exactly one claims
    it.
    """
    file, findings = _read(data)
    assert not findings
    assert file is not None
    assert file.format == expected
    readers = [load() for known in formats() for load in known.load_readers]
    claims = [reader for reader in readers if reader.recognise(data[:64], data[-64:])]
    assert len(claims) == 1
    assert type(recognise_file(BytesReader("a/file", data))) is type(claims[0])


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "file-empty", "empty"),
        (bytes(5), "file-zero-filled", "zero"),
        (bytes(5000), "file-zero-filled", "zero-filled download"),
        (_LFS, "file-lfs-pointer", "5.0 GB (4,976,698,672 bytes)"),
        (b"<!DOCTYPE html>\n<html><head>", "file-html-page", "log in"),
        (b"\xef\xbb\xbf \n<HTML>" + b" " * 80, "file-html-page", "log in"),
        (
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            "file-html-page",
            "web page",
        ),
        (b"GGUF\x03\0\0\0" + bytes(90), "header-invalid", "GGUF"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "header-invalid", "Keras"),
        (b"\x93NUMPY\x01\0" + bytes(90), "header-invalid", "NumPy"),
        (gzip.compress(bytes(500), mtime=0), "header-invalid", "gzip"),
        (b'{"error": "Repository not found", "more": "' + b"x" * 99, "header-invalid", "JSON"),
        (b"\x28\xb5\x2f\xfd" + bytes(90), "header-invalid", "zstd"),
        (_tar(), "header-invalid", "torch.load"),
        (b"hello", "header-invalid", "68 65 6c 6c 6f"),
        (b"\xff" * 100, "header-invalid", "neither safetensors nor a torch"),
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_named_for_what_it_is(
    data: bytes, code: str, words: str
) -> None:
    """A file that is not a checkpoint has one finding, which says what it looks like and what to
    do.
    """
    file, findings = _read(data)
    assert file is None
    assert [finding.code for finding in findings] == [code]
    assert words in findings[0].message + " " + findings[0].hint
    assert findings[0].file == "a/file"
    assert findings[0].hint


def _for_both() -> bytes:
    """A safetensors file whose only tensor's bytes end as a zip does."""
    end = b"PK\x05\x06" + bytes(18)
    return bytes(save_safetensors({"a": torch.frombuffer(bytearray(end), dtype=torch.uint8)}))


@pytest.mark.parametrize("name", ["model.safetensors", "sub/x.safetensors"])
def test_the_name_decides_between_formats_that_claim_a_file(name: str) -> None:
    """A file that two formats claim is read as its name says, as loaders do."""
    findings: list[Finding] = []
    file = read_file(BytesReader(name, _for_both()), findings.append)
    assert not findings
    assert file is not None
    assert file.format == "safetensors"


def test_a_name_that_promises_another_of_the_claims_is_believed() -> None:
    """What torch would open as a zip is read as one where its name says so, and refused as one."""
    findings: list[Finding] = []
    assert read_file(BytesReader("model.bin", _for_both()), findings.append) is None
    assert [finding.code for finding in findings] == ["zip-ambiguous"]


def test_two_claims_without_a_name_to_decide_are_an_error() -> None:
    """Where the name promises nothing, a file that two formats claim is sound for neither."""
    _, findings = _read(_for_both())
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("container-misnamed", "error")
    ]


class _Asked(BytesReader):
    """A reader that remembers what was asked of it."""

    def __init__(self, path: str, data: bytes) -> None:
        super().__init__(path, data)
        self.offsets: list[int] = []

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes, and remember where."""
        self.offsets.append(offset)
        return super().read(offset, length)


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.safetensors", save_safetensors({"a": torch.zeros(300)})), ("a.bin", _torch())],
)
def test_the_end_is_not_read_where_the_beginning_is_enough(name: str, data: bytes) -> None:
    """A file that begins as its name promises costs no look at its end, which may be far."""
    reader = _Asked(name, data)
    assert recognise_file(reader) is not None
    assert reader.offsets == [0]
