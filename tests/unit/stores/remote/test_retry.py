"""Trying again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from shardctl.errors import StorageError
from shardctl.stores.remote.client import TransientError
from shardctl.stores.remote.retry import Patience, Tries, retried


@pytest.mark.parametrize(
    ("failures", "asked", "least", "most"),
    [
        (1, None, 0.25, 0.5),
        (2, None, 0.5, 1.0),
        (5, None, 4.0, 8.0),
        (60, None, 30.0, 60.0),
        (1, 7.0, 7.0, 7.0),
        (1, 1e9, 60.0, 60.0),
        (3, 0.0, 1.0, 2.0),
    ],
)
def test_waiting_doubles_and_follows_the_server(
    failures: int, asked: float | None, least: float, most: float
) -> None:
    """The wait doubles up to a limit, and is at least what the server asks for up to that limit."""
    assert all(least <= Patience().wait(failures, asked) <= most for _ in range(50))


def test_the_last_failure_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last try the error has the file, the offset and the reason, and it has waited."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    tries = Tries("https://a/b", Patience(tries=3, first=1.0))
    tries.pause(TransientError("the server is busy"), 7)
    tries.pause(TransientError("the server is busy", 9.0), 7)
    with pytest.raises(
        StorageError, match=r"'https://a/b' .* byte 7: the server is busy"
    ) as caught:
        tries.pause(TransientError("the server is busy"), 7)
    assert (caught.value.file, caught.value.offset) == ("https://a/b", 7)
    assert len(waited) == 2
    assert waited[1] == 9.0


def test_progress_begins_a_new_count() -> None:
    """Failures count only in a row."""
    tries = Tries("f", Patience(tries=2, first=0.0))
    for _ in range(5):
        tries.pause(TransientError("reset"))
        tries.progress()
    tries.pause(TransientError("reset"))
    with pytest.raises(StorageError):
        tries.pause(TransientError("reset"))


def test_a_result_ends_the_tries() -> None:
    """What succeeds in the end is returned, and another error is raised at once."""
    answers: Iterator[int | Exception] = iter([TransientError("a"), TransientError("b"), 5])

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retried("f", Patience(first=0.0), ask) == 5
    answers = iter([TransientError("a"), KeyError("b")])
    with pytest.raises(KeyError):
        retried("f", Patience(first=0.0), ask)
