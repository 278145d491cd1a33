"""A file whose contents are of another format than its name promises is an error."""

from __future__ import annotations

import pytest

from shardctl.model import File, Version
from shardctl.source.misnamed import misnamed_files, misnamed_notes


def of(path: str, format_name: str) -> File:
    """A file of a format."""
    return File(path, format_name, Version(1, ""), {}, header_sha256="")


@pytest.mark.parametrize(
    ("path", "format_name"),
    [
        ("a.safetensors", "safetensors"),
        ("a.bin", "bin"),
        ("a.pt", "bin"),
        ("a", "bin"),
        ("a.ckpt", "bin"),
        ("x.txt", "safetensors"),
    ],
)
def test_names_that_promise_what_is_there(path: str, format_name: str) -> None:
    """A name that promises the format, or none, is fine."""
    assert list(misnamed_files([of(path, format_name)])) == []
    assert list(misnamed_notes([of(path, format_name)])) == []


@pytest.mark.parametrize(
    ("path", "actual", "suffix"),
    [
        ("d/a.safetensors", "bin", ".bin"),
        ("d/a.bin", "safetensors", ".safetensors"),
        ("d/a.pth", "safetensors", ".safetensors"),
    ],
)
def test_names_that_promise_another_format(path: str, actual: str, suffix: str) -> None:
    """The error names both formats, and the suffix that would be right."""
    (finding,) = misnamed_files([of("d/sound.bin", "bin"), of(path, actual)])
    assert (finding.code, finding.severity, finding.file) == ("container-misnamed", "error", path)
    assert f"of the format '{actual}'" in finding.message
    assert f"rename the file to end in {suffix}" in finding.hint


@pytest.mark.parametrize("suffix", ["gguf", "npz", "h5", "onnx", "msgpack"])
def test_names_that_promise_a_format_that_is_not_read(suffix: str) -> None:
    """It is an error too, and the hint has the suffix that would be right."""
    (finding,) = misnamed_files([of(f"d/a.{suffix}", "safetensors")])
    assert (finding.code, finding.severity) == ("container-misnamed", "error")
    assert finding.hint == "rename the file to end in .safetensors"


def test_notes_can_be_printed() -> None:
    """The path is escaped."""
    (note,) = misnamed_notes([of("d/\x1b.bin", "safetensors")])
    assert note.startswith("'d/\\x1b.bin': the file is of the format")
