"""A file that is there instead of weights is recognized by its first bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from shardctl.formats.sniff import SNIFFED_BYTES, answer, impostor, unknown

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def code(data: bytes) -> str | None:
    """The finding's code for a file that is there instead of weights."""
    finding = impostor(data[:SNIFFED_BYTES], "f", len(data))
    return None if finding is None else finding.code


def archive(kind: str) -> bytes:
    """An archive with one file."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr("a", "b")
    else:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            tar.addfile(tarfile.TarInfo("a"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "wanted"),
    [(b"", "file-empty"), (b"\0", "file-zero-filled"), (bytes(5000), "file-zero-filled"),
     (POINTER, "file-lfs-pointer"), (b"<!DOCTYPE html><p>", "file-html-page"),
     (b"\xef\xbb\xbf \n<HTML lang=en>", "file-html-page"),
     (b'<?xml version="1.0"?>', "file-html-page"), (b"<Error>", None), (b"\0\0\1", None),
     (b"{}", None)],
)  # fmt: skip
def test_impostors(data: bytes, wanted: str | None) -> None:
    """The usual broken downloads have their own codes; what may be weights has none."""
    assert code(data) == wanted


def test_a_pointer_says_how_large_the_file_would_be() -> None:
    """The size in a pointer is reported where it has one, and the hint is the command that fetches
    it.
    """
    finding = impostor(POINTER, "f", len(POINTER))
    assert finding is not None
    assert "(12,345 bytes)" in finding.message
    assert "git lfs pull" in finding.hint
    short = impostor(POINTER[:60], "f", 60)
    assert short is not None
    assert "bytes" not in short.message


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"GGUF\3\0\0\0", "GGUF"), (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"\x93NUMPY\1\0", "NumPy"),
     (gzip.compress(b"x", mtime=0), "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"),
     (archive("zip"), "zip archive"), (archive("tar"), "tar archive"), (b"\x80\4.", "pickle"),
     (b"%PDF-1.7", "PDF"), (b'  {"a": 1}', "JSON"), (b"random", "neither safetensors nor")],
)  # fmt: skip
def test_guesses(data: bytes, said: str) -> None:
    """A file that no format claims is called what it looks like, with something to do about it."""
    finding = unknown(data[:SNIFFED_BYTES], "f", len(data))
    assert (finding.code, finding.severity, finding.file, finding.offset) == (
        "header-invalid",
        "error",
        "f",
        0,
    )
    assert said in finding.message
    assert finding.hint


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"Entry not found", "name and revision"),
        (b"404: Not Found\n", "name and revision"),
        (b"Invalid username or password.", "hf auth login"),
        (b'{"error":"Access to model x is restricted."}', "hf auth login"),
        (b'{\n  "message": "Internal server error"}', "fetch it again"),
        (b"<Error><Code>AccessDenied</Code></Error>", "hf auth login"),
        (b"Too many requests, try again later", "fetch it again"),
    ],
)
def test_the_answer_of_a_server(data: bytes, advice: str) -> None:
    """What a server answers instead of the file is quoted, with what to do about that answer."""
    finding = unknown(data[:SNIFFED_BYTES], "f", len(data))
    assert finding.code == "header-invalid"
    assert "the answer of a server" in finding.message
    assert " ".join(data.decode().split()) in finding.message
    assert advice in finding.hint


@pytest.mark.parametrize(
    "data", [b"word", b'{"weights": 1}', b"two \x1bwords", b"not \xff text", b"a long text " * 200]
)
def test_other_texts_are_no_answers(data: bytes) -> None:
    """One word, other JSON, control characters and long texts are not taken for an answer."""
    assert answer(data[:SNIFFED_BYTES], len(data)) is None


def test_an_unknown_file_shows_its_first_bytes() -> None:
    """Where there is no guess, the bytes are shown in hexadecimal, never raw."""
    assert "1b 5b 32 4a" in unknown(b"\x1b[2J", "f", 4).hint


def test_an_impostor_is_not_an_unknown_file() -> None:
    """What is known to stand in for the file has its own code, whoever asks."""
    assert unknown(b"", "f", 0).code == "file-empty"
