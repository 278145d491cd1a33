"""What an interrupted run left, as those see it who would read or write there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardctl.commands.inspect import inspect
from shardctl.engine.commit import exchange
from shardctl.engine.commit.commit import recover
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.interrupted import (
    check_not_half_replaced,
    is_half_replaced,
    unfinished,
)
from shardctl.engine.journal.journal import Commit, Journal, RunIdentity
from shardctl.errors import InputError, TargetExistsError
from shardctl.naming import STAGING
from shardctl.stores.base import Store
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import put, weights

NAME = "model.safetensors"


def staged(store: Store, directory: str) -> None:
    """Begin a run that would write a checkpoint of one file into a directory."""
    with Staging.make(store, directory) as staging:
        Journal(staging).begin(RunIdentity("id", {}, {}), [NAME])


def begun(store: MemoryStore, directory: str) -> None:
    """Begin the commit that replaces the one file of a directory, and move the old one aside."""
    put(store, store.join(directory, NAME), weights({"w": b"old"}))
    staged(store, directory)
    put(store, store.join(directory, STAGING, "files", NAME), weights({"w": b"new"}))
    with Staging.make(store, directory) as staging:
        places = staging.places()
        found = exchange.plan(places.target, places.files, [NAME], [NAME])
        own = staging.target.own_identity()
        Journal(staging).begin_commit(Commit(RunIdentity("id", {}, {}), own, found, ()))
        places.target.move(NAME, places.aside)


@pytest.mark.parametrize("source", ["t", f"t/{NAME}", "t/gone.safetensors"])
def test_a_half_replaced_directory_is_not_a_source(source: str) -> None:
    """While a commit is open nothing is read from there, be the file that is named aside or not."""
    store = MemoryStore()
    begun(store, "t")
    assert unfinished(store, "t") == (f"t/{STAGING}", True)
    for read in (check_not_half_replaced, lambda *of: inspect(*of, key=None, globs=())):
        with pytest.raises(InputError, match="half replaced") as caught:
            read(store, source)
        assert (caught.value.code, caught.value.file) == ("half-done", "t")
        assert "run the interrupted command again" in caught.value.hint
    recover(store, "t")
    check_not_half_replaced(store, source)
    assert unfinished(store, "t") is None


def test_nothing_of_a_half_replaced_directory_is_checked() -> None:
    """That files were being renamed is the one finding; a comparison with them is refused."""
    store = MemoryStore()
    begun(store, "t")
    found = verify(store, "t", Thoroughness(deep=True, load=True))
    assert [(each.code, each.severity, each.file) for each in found.findings] == [
        ("folder-leftover", "error", "t")
    ]
    assert (found.ok, found.files, found.coverage.checked) == (False, 0, "nothing")
    put(store, "m/model.safetensors", weights({"w": b"old"}))
    with pytest.raises(InputError, match="'t' is half replaced"):
        verify(store, "m", Thoroughness(against="t"))


def test_a_run_that_has_renamed_nothing_prevents_no_reading() -> None:
    """Before the commit the files are those that were there before."""
    store = MemoryStore()
    put(store, f"t/{NAME}", weights({"w": b"old"}))
    staged(store, "t")
    check_not_half_replaced(store, "t")
    assert unfinished(store, "t") == (f"t/{STAGING}", False)
    assert verify(store, "t", Thoroughness()).ok


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to change the owner"
)
def test_the_run_of_another_user(tmp_path: Path) -> None:
    """What another user has begun is read as it is, with a warning; it is not for this one to go
    on with it.
    """
    store = LocalStore()
    (tmp_path / NAME).write_bytes(weights({"w": b"old"}))
    staged(store, str(tmp_path))
    os.chown(tmp_path / STAGING, 65534, 65534)
    check_not_half_replaced(store, str(tmp_path))
    with pytest.raises(TargetExistsError, match="another user"):
        is_half_replaced(store, str(tmp_path))
    (found,) = verify(store, str(tmp_path), Thoroughness()).findings
    assert (found.code, found.severity) == ("folder-leftover", "warning")
    assert inspect(store, str(tmp_path), key=None, globs=()).tensors
