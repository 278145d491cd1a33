"""`SHA256SUMS` as coreutils reads and writes it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.checksums import CHECKSUMS, format_checksums, parse_checksums

DIGEST = "0123456789abcdef" * 4
NAMES = (
    "model.safetensors",
    "two  words",
    "back\\slash",
    "new\nline",
    "car\rriage",
    "\\n",
    "*star",
    "-dash",
    "é漢",
)

needs_sha256sum = pytest.mark.skipif(
    shutil.which("sha256sum") is None or sys.platform == "win32",
    reason="needs coreutils' sha256sum",
)


def test_lines_are_sorted_and_end_with_a_newline() -> None:
    """The same digests are the same bytes, in whatever order they come; none are an empty file."""
    assert format_checksums({"b": DIGEST, "a": DIGEST}) == f"{DIGEST}  a\n{DIGEST}  b\n".encode()
    assert format_checksums({}) == b""


def test_awkward_names_are_escaped() -> None:
    """A backslash or a line break in a name is escaped, and a backslash before the digest
    says so.
    """
    assert format_checksums({"a\\b\nc\r": DIGEST}) == f"\\{DIGEST}  a\\\\b\\nc\\r\n".encode()


@pytest.mark.parametrize(
    ("line", "name"),
    [(f"{DIGEST}  a", "a"), (f"{DIGEST} *a", "a"), (f"{DIGEST.upper()}  a\r", "a"),
     (f"{DIGEST}  ./a", "a"), (f"{DIGEST}  a\\nb", "a\\nb"), (f"\\{DIGEST}  a\\nb\\\\n", "a\nb\\n"),
     (f"{DIGEST}   a ", " a ")],
)  # fmt: skip
def test_every_form_of_a_line_is_read(line: str, name: str) -> None:
    """Text and binary marks, upper case, Windows line ends, a leading `./`, escapes only where they
    are announced.
    """
    assert parse_checksums(f"{line}\n".encode()) == {name: DIGEST}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a comment",
        DIGEST,
        f"{DIGEST} a",
        f"{DIGEST[1:]}  a",
        f"{DIGEST}0  a",
        f" {DIGEST}  a",
        "\xff\0",
    ],
)
def test_other_lines_are_passed_over(line: str) -> None:
    """A line that is not one of sha256sum is ignored, and the next line still counts."""
    assert parse_checksums(f"{line}\n{DIGEST}  a\n".encode("latin-1")) == {"a": DIGEST}


_names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda name: not name.startswith("./"))


@given(st.dictionaries(_names, st.just(DIGEST)))
def test_what_is_written_is_read(sums: dict[str, str]) -> None:
    """Any name comes back as it was."""
    assert parse_checksums(format_checksums(sums)) == sums


def test_a_name_that_is_not_utf8_comes_back() -> None:
    """A name of any bytes, as the file system has them, is kept."""
    name = os.fsdecode(b"caf\xe9")
    assert parse_checksums(format_checksums({name: DIGEST})) == {name: DIGEST}


@needs_sha256sum
def test_coreutils_accepts_what_is_written(tmp_path: Path) -> None:
    """`sha256sum --check --strict` finds every file of our list, awkward names among them."""
    sums = {}
    for name in NAMES:
        data = name.encode()
        (tmp_path / name).write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()
    (tmp_path / CHECKSUMS).write_bytes(format_checksums(sums))
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS], cwd=tmp_path, check=True
    )


@needs_sha256sum
def test_what_coreutils_writes_is_read(tmp_path: Path) -> None:
    """The list that sha256sum makes of awkward names says the same to us."""
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode())
    listed = subprocess.run(
        ["sha256sum", "--", *(f"./{n}" for n in NAMES)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert parse_checksums(listed.stdout) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES
    }
