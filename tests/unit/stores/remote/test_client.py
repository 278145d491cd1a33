"""What a client says of a request: an answer, or an error that may pass."""

from __future__ import annotations

import pytest

from shardctl.errors import StorageError
from shardctl.model import Version
from shardctl.stores.remote.client import Answer, TransientError, at_most


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


def test_an_answer_of_more_bytes_than_were_asked_for() -> None:
    """It is an error before one of them is handed on, and as many as were asked for are fine."""
    chunks = at_most("s3://b/a", 3, iter([b"a", b"bc", b"d"]))
    assert [next(chunks), next(chunks)] == [b"a", b"bc"]
    with pytest.raises(StorageError, match="more bytes than were asked for") as caught:
        next(chunks)
    assert caught.value.file == "s3://b/a"
    assert b"".join(at_most("a", 3, iter([b"abc", b""]))) == b"abc"
