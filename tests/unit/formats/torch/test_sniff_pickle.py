"""A file that torch would unpickle is recognised, whatever else it is."""

from __future__ import annotations

import pickle

import pytest

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.torch.sniff_pickle import MAGIC, has_magic, is_tar_header, looks_like_pickle
from shardctl.model import File
from shardctl.testing.builders import BytesReader, safetensors_bytes
from tests.corruption.hostile_pickles import text
from tests.support.legacy_files import PROTOCOL, SYSTEM, dump


@pytest.mark.parametrize("protocol", range(6))
def test_the_magic_number_in_every_protocol(protocol: int) -> None:
    """Whatever protocol torch was given, its number is found; another number is not it."""
    data = pickle.dumps(MAGIC, protocol)
    assert has_magic(data[:64])
    assert looks_like_pickle(data[:64], b"anything")
    assert not has_magic(pickle.dumps(MAGIC + 1, protocol)[:64])
    assert not has_magic(b"#" * 40 + data)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], None, {"k" * 100: "v" * 100}])
def test_pickles_of_every_protocol(value: object, protocol: int) -> None:
    """A pickle of anything is one, by both of its ends."""
    data = pickle.dumps(value, protocol)
    assert looks_like_pickle(data[:64], data[-64:])


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"\x80", b"\x80\x02", b"\x80\x01}.", b"\x80\x06}.", b"#!/bin/sh\nexit.",
        b"Hello, world.", b'{"a": 1}.', b"\x89PNG\r\n\x1a\n.", b"(dp0\nno end",
        safetensors_bytes({"a": bytes(10)}),
    ],
)  # fmt: skip
def test_other_files_are_no_pickles(data: bytes) -> None:
    """A mark of a protocol that there is not, and texts that end with a dot, are none."""
    assert not looks_like_pickle(data[:64], data[-64:])


def test_a_safetensors_header_of_128_bytes_is_no_pickle() -> None:
    """Its length begins with the byte that begins a pickle."""
    for length in (0x280, 0x380, 0x580):
        head = length.to_bytes(8, "little") + b"{"
        assert head[:1] == b"\x80"
        assert head[1] in range(2, 6)
        assert not looks_like_pickle(head, b"x.")


def tar_header(*, signed: bool = False, body: bytes = b"") -> bytes:
    """512 bytes with their sum in them, in either way in which tar programs have counted."""
    block = bytearray(body.ljust(512, b"\0"))
    block[148:156] = b" " * 8
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


@pytest.mark.parametrize("signed", [False, True])
def test_the_sum_of_a_tar_header(*, signed: bool) -> None:
    """Both sums are taken; another sum, no sum, and a shorter block are not a header."""
    block = tar_header(signed=signed, body=b"name" + b"\x7f\x80\xff" * (3 if signed else 0))
    assert is_tar_header(block)
    assert is_tar_header(block + b"more")
    assert not is_tar_header(block[:511])
    assert not is_tar_header(bytes([block[0] ^ 1]) + block[1:])
    assert not is_tar_header(block[:148] + bytes(8) + block[156:])
    assert not is_tar_header(block[:148] + b"00008\0  " + block[156:])


def _read(data: bytes) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    return read_file(BytesReader("model.pt", data), findings.append), findings


def test_a_tar_header() -> None:
    """A legacy file whose first 512 bytes have a tar header's checksum is refused."""
    before = dump(MAGIC) + dump(PROTOCOL)
    head = bytearray(before + b"\x80\x02}" + b"X\xf0\x03\0\0" + bytes(1008) + text("x") + b"s.")
    data = bytes(head) + dump(SYSTEM) + dump({}) + dump([])
    total = sum(data[:148]) + 8 * 32 + sum(data[156:512])
    data = data[:148] + b"%06o\0 " % total + data[156:]
    assert _is_tar(data)
    file, findings = _read(data)
    assert file is None
    assert findings


def _is_tar(data: bytes) -> bool:
    import tarfile

    try:
        tarfile.TarInfo.frombuf(data[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
