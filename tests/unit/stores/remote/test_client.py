"""What a client says of a request: an answer, or an error that may pass."""

from __future__ import annotations

import pytest

from shardctl.model import Version
from shardctl.stores.remote.client import Answer, TransientError


@pytest.mark.parametrize("after", [None, 0.0, 30.5])
def test_an_error_that_may_pass_says_why_and_when(after: float | None) -> None:
    """The reason is its text, and the seconds are those that the server asks for."""
    error = TransientError("the server is busy", after)
    assert (str(error), error.reason, error.after) == (
        "the server is busy",
        "the server is busy",
        after,
    )
    assert TransientError("x").after is None


def test_an_answer_gives_bytes_once() -> None:
    """They come as the server sends them."""
    answer = Answer(Version(3, "m"), iter([b"a", b"", b"bc"]))
    assert next(answer.chunks) == b"a"
    assert b"".join(answer.chunks) == b"bc"
    assert list(answer.chunks) == []
