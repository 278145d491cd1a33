"""Sizes: what is taken, what is refused, and how they are shown."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.errors import UsageError
from shardctl.sizes import format_size, parse_size

_TAKEN = {
    "1": 1,
    "1048576": 1_048_576,
    "7B": 7,
    "7 b": 7,
    " 5GB ": 5_000_000_000,
    "200MB": 200_000_000,
    "200mb": 200_000_000,
    "200 Mb": 200_000_000,
    "5GB": 5_000_000_000,
    "5g": 5_000_000_000,
    "5Gi": 5 * 2**30,
    "5GiB": 5 * 2**30,
    "5gib": 5 * 2**30,
    "1 K": 1000,
    "1Ki": 1024,
    "2TB": 2 * 10**12,
    "2TiB": 2 * 2**40,
    "1.5GB": 1_500_000_000,
    "0.001KB": 1,
    "1.9B": 1,
    "0.1GiB": 107_374_182,
    "4.35GB": 4_350_000_000,
    "9007199.254740993 GB": 9_007_199_254_740_993,
}

_REFUSED = [
    "", " ", "GB", "0", "0GB", "0.0MB", "-1", "-5GB", "+5GB", "1.5", "0.1B", "0.0001KB", ".5GB",
    "5.GB", "1e9", "1e3MB", "nan", "NaN GB", "inf", "infGB", "1 GB/s", "5GBps", "8 kbit", "5 kbps",
    "5 gigabits", "5Gbit", "5 gigabytes", "5 bytes", "\uff15GB", "5\uff27B", "\u0663MB", "1,000MB",
    "1_000MB", "1 000MB", "5  GB", "5GB\n", "5\tGB", "5PB", "5 GB GB", "0x10",
    "5iB", "1/2GB", "9" * 30, "1." + "0" * 5000 + "1GB", "5K\u212a", "5\u212aB",
]  # fmt: skip


@pytest.mark.parametrize(("text", "nbytes"), _TAKEN.items())
def test_a_size_is_taken_exactly(text: str, nbytes: int) -> None:
    """Every accepted form means exactly its bytes, with what is left of a byte dropped."""
    assert parse_size(text) == nbytes


@pytest.mark.parametrize("text", _REFUSED)
def test_what_is_not_clearly_a_size_is_refused(text: str) -> None:
    """Anything else is a usage error that repeats what was given and names the accepted forms."""
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert ascii(text) in caught.value.message
    assert "GiB" in caught.value.hint
    assert "500MB" in caught.value.hint


@pytest.mark.parametrize("text", ["5KB", "1.5MB", "200mb", "7GB", "3TB", "123456"])
def test_the_hub_reads_the_same(text: str) -> None:
    """Decimal sizes mean what they mean in huggingface_hub."""
    from huggingface_hub.serialization._base import parse_size_to_int

    if not text.isdigit():
        assert parse_size(text) == parse_size_to_int(text)


@pytest.mark.parametrize("text", ["5KiB", "2MiB", "7GiB", "3TiB", "5KB", "7GB"])
def test_humanfriendly_reads_the_same(text: str) -> None:
    """Where humanfriendly is right, the wrapper says what it says."""
    import humanfriendly

    assert parse_size(text) == humanfriendly.parse_size(text)


@given(st.integers(1, 10**15))
def test_a_bare_integer_is_bytes(nbytes: int) -> None:
    """A bare integer is that many bytes."""
    assert parse_size(str(nbytes)) == nbytes


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    """No text makes anything but a positive size or a usage error."""
    with contextlib.suppress(UsageError):
        assert parse_size(text) >= 1


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (500, "500 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (999_999, "999.9 KB"),
        (1_000_000, "1.0 MB"),
        (433_245_184, "433.2 MB"),
        (4_999_999_999, "5.0 GB"),
        (999_999_999_999, "999.9 GB"),
        (1_200_000_000_000, "1.2 TB"),
        (1_234_567_000_000_000, "1,234.6 TB"),
    ],
)
def test_sizes_are_shown_in_the_unit_that_they_reach(nbytes: int, text: str) -> None:
    """A size is shown in the largest unit that it reaches, and never rounded up into the
    next one.
    """
    assert format_size(nbytes) == text
