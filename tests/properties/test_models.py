"""Random models go through files and come back bit by bit, whatever happens in between."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardctl import Silent
from tests.support.models import emptied, random_model
from tests.support.state_dicts import assert_equal

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

SEEDS = st.integers(0, 2**32)
FORMATS = st.sampled_from(("safetensors", "bin"))


@contextmanager
def directory() -> Iterator[Path]:
    """A fresh directory, for one example."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@settings(max_examples=60, deadline=None)
@given(SEEDS, FORMATS, st.integers(1, 400))
def test_a_model_comes_back(seed: int, name: str, limit: int) -> None:
    """Into the memory of a model of the same structure, and in the place of one without data."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded
    from shardctl.torch.loading.places import places_of

    model = random_model(seed)
    expected = model.state_dict()
    with directory() as made:
        if not expected:
            return
        save_sharded(model, made / "model", max_shard_size=limit, format=name)
        filled, bare = emptied(model), emptied(model)
        persistent = set(expected)
        for place in places_of(bare):
            if not persistent.isdisjoint(place.names):
                place.replace(torch.empty_like(place.tensor, device="meta"))
        assert load_sharded_checkpoint(filled, made / "model") == ([], [])
        assert load_sharded_checkpoint(bare, made / "model", assign=True) == ([], [])
        assert_equal(filled.state_dict(), expected)
        assert_equal(bare.state_dict(), expected)
        assert [len(place.names) for place in places_of(bare)] == [
            len(place.names) for place in places_of(model)
        ]


@settings(max_examples=40, deadline=None)
@given(SEEDS, FORMATS, st.integers(1, 400), st.sampled_from(("", "model.", "a.b.")))
def test_a_state_dict_comes_back(seed: int, name: str, limit: int, prefix: str) -> None:
    """Also lazily, and under another prefix."""
    import shardctl.torch as library

    model = random_model(seed)
    expected = model.state_dict()
    with directory() as made:
        if not expected:
            return
        state = {f"{prefix}{key}": tensor for key, tensor in expected.items()}
        library.save_sharded(state, made / "model", max_shard_size=limit, format=name)
        with library.open(made / "model") as weights:
            assert_equal(dict(weights), state)
        twin = emptied(model)
        rename = {prefix: ""}
        assert library.load_sharded_checkpoint(twin, made / "model", rename=rename) == ([], [])
        assert_equal(twin.state_dict(), expected)


class Killing(Silent):
    """Ends the process, as `kill -9` does, at an event of a run."""

    def __init__(self, at: int) -> None:
        self._left = at

    def _event(self) -> None:
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def start(self, nbytes: int, files: Mapping[str, int]) -> None:  # noqa: ARG002 - an observer's
        self._event()

    def finished(self, filename: str, nbytes: int, *, kept: bool) -> None:  # noqa: ARG002 - (the same)
        self._event()

    def committing(self) -> None:
        self._event()


@settings(max_examples=30, deadline=None)
@given(SEEDS, FORMATS, st.integers(0, 6), st.booleans())
def test_a_kill_in_between_leaves_no_stale_shard(
    seed: int, name: str, event: int, changes: bool
) -> None:
    """The next save goes on from finished files only where they hold the weights of now."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded

    model = random_model(seed)
    if not model.state_dict():
        return
    with directory() as made:

        def save(**how: Any) -> None:
            save_sharded(model, made / "model", num_shards=3, format=name, tied="expand", **how)

        if len(model.state_dict()) < 3:
            return
        _killed(lambda: save(observer=Killing(event), jobs=1))
        if changes:
            for tensor in model.state_dict().values():
                tensor.untyped_storage().fill_(1)
        save(replace="same")
        twin = emptied(model)
        load_sharded_checkpoint(twin, made / "model")
        assert_equal(twin.state_dict(), model.state_dict())
        assert not (made / "model" / ".shardctl").exists()


def _killed(work: Any) -> None:
    """Run something in a fork, which may be killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
