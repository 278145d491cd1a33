"""What must hold in the target before a run changes anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from shardctl.engine.commit.guards import (
    Surroundings,
    not_finished,
    refuse_changed,
    refuse_foreign,
)
from shardctl.engine.journal.journal import RunIdentity
from shardctl.errors import MissingError, TargetError, TargetExistsError
from shardctl.model import Version
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put

IDENTITY = RunIdentity("0123456789abcdef", {"to": "bin"}, {"s": Version(1, "x")})
OTHER = replace(IDENTITY, plan_id="fedcba9876543210")


@pytest.fixture
def store() -> MemoryStore:
    """A target `t` with weights, an index, training state, a config, and a file further down."""
    store = MemoryStore()
    for name in (
        "model.safetensors",
        "own.bin",
        "model.safetensors.index.json",
        "optimizer.bin",
        "config.json",
        "sub/deep.json",
        "sub/own.bin",
    ):
        put(store, f"t/{name}", name.encode())
    store.make_directory("t/taken.json")
    return store


def test_what_counts_is_named_or_weights(store: MemoryStore) -> None:
    """Names that are written count wherever they lie, with `weights` also weights and indexes at
    the top; training state and other files do not.
    """
    names = ["sub/deep.json", "new.json", "taken.json"]
    plain = Surroundings.of(store, "t", names, weights=False)
    assert plain.files == {"sub/deep.json": store.version("t/sub/deep.json"), "taken.json": None}
    whole = Surroundings.of(store, "t", names, weights=True)
    assert set(whole.files) - set(plain.files) == {
        "model.safetensors",
        "own.bin",
        "model.safetensors.index.json",
    }
    assert whole.files["own.bin"] == store.version("t/own.bin")


def test_a_directory_that_does_not_exist_is_empty(store: MemoryStore) -> None:
    """A target that will be made has no files, and a file that appears in it is a change."""
    found = Surroundings.of(store, "new", ["a.json"], weights=True)
    assert (found.files, found.changed(store, "new")) == ({}, [])
    put(store, "new/x.safetensors", b"")
    assert found.changed(store, "new") == ["x.safetensors"]


def test_changes_are_what_is_new_gone_or_other(store: MemoryStore) -> None:
    """Each kind of change is found, sorted; the same bytes written again are a change too."""
    found = Surroundings.of(store, "t", ["config.json", "new.json", "gone.json"], weights=True)
    assert found.changed(store, "t") == []
    put(store, "t/new.json", b"")
    store.remove("t/own.bin")
    put(store, "t/config.json", get(store, "t/config.json"))
    put(store, "t/optimizer.bin", b"more")
    assert found.changed(store, "t") == ["config.json", "new.json", "own.bin"]


def test_a_name_that_was_no_file_and_is_gone_is_a_change(store: MemoryStore) -> None:
    """What was not a file, such as a directory, is distinguished from what does not exist."""
    found = Surroundings.of(store, "t", ["taken.json"], weights=False)
    store.remove_directory("t/taken.json")
    assert found.changed(store, "t") == ["taken.json"]


def test_names_that_may_change_are_left_out(store: MemoryStore) -> None:
    """`without` names forgets them, also what appears under them later, and keeps the rest."""
    found = Surroundings.of(store, "t", ["config.json", "new.json"], weights=False)
    less = found.without(["config.json", "new.json"])
    assert (less.names, less.files, less.weights) == (frozenset(), {}, False)
    put(store, "t/config.json", b"other")
    put(store, "t/new.json", b"")
    assert less.changed(store, "t") == []
    assert found.changed(store, "t") == ["config.json", "new.json"]


def test_a_file_that_vanishes_while_it_is_looked_at_counts_as_none() -> None:
    """A file removed between the listing and the look at it is not an error."""

    class Vanishing(MemoryStore):
        def version(self, path: str) -> Version:
            raise MissingError(f"'{path}' does not exist", hint="", file=path)

    store = Vanishing()
    put(store, "t/a.json", b"")
    assert Surroundings.of(store, "t", ["a.json"], weights=False).files == {"a.json": None}


def test_what_another_wrote_into_a_bucket_is_seen() -> None:
    """A store that remembers its listing looks again before it is said that nothing changed."""
    bucket = MemoryBucket()
    rival = MemoryBucket(bucket.place)
    found = Surroundings.of(bucket, "t", ["a"], weights=False)
    with rival.create("t/a", 1) as writer:
        writer.write(0, b"x")
    assert found.changed(bucket, "t") == ["a"]


def test_a_changed_target_is_refused(store: MemoryStore) -> None:
    """The first changed file is named, and how many there are besides; the way on is safe."""
    found = Surroundings.of(store, "t", ["config.json"], weights=True)
    refuse_changed(store, "t", found)
    put(store, "t/own.bin", b"other")
    with pytest.raises(TargetExistsError, match=r"^'t/own\.bin' changed during this run") as caught:
        refuse_changed(store, "t", found)
    assert (caught.value.code, caught.value.file) == ("target-changed", "t/own.bin")
    assert "run the command again" in caught.value.hint
    put(store, "t/config.json", b"other")
    with pytest.raises(TargetExistsError, match=r"^'t/config\.json' \(and 1 more\) changed"):
        refuse_changed(store, "t", found)
    put(store, "t/z.safetensors", b"")
    with pytest.raises(TargetExistsError, match=r"^'t/config\.json' \(and 2 more\) changed"):
        refuse_changed(store, "t", found)


class State:
    """What is known of an unfinished run of two files."""

    home = "t/.shardctl"

    def __init__(
        self, found: RunIdentity | None, done: Collection[str] = (), *, commit: bool = False
    ) -> None:
        self._found = found
        self._done = done
        self._commit = commit

    def has_commit(self) -> bool:
        return self._commit

    def identity(self) -> RunIdentity | None:
        return self._found

    def names(self) -> Collection[str]:
        return ("a", "b")

    def receipts(self) -> Mapping[str, object]:
        return dict.fromkeys(self._done)


def test_a_run_of_the_same_plan_goes_on() -> None:
    """Nothing unfinished, and an unfinished run that is this one, are not in the way."""
    for found in (None, IDENTITY):
        refuse_foreign("t", IDENTITY, State(found), restart=False)


def test_a_run_of_another_plan_is_refused_unless_discarded() -> None:
    """The unfinished run of another plan stays, unless `restart` says that it may go."""
    with pytest.raises(TargetExistsError, match="'t' holds an unfinished run of another") as caught:
        refuse_foreign("t", IDENTITY, State(OTHER), restart=False)
    assert (caught.value.code, caught.value.file) == ("half-done", "t/.shardctl")
    assert "run the earlier command again" in caught.value.hint
    assert "`restart`" in caught.value.hint
    refuse_foreign("t", IDENTITY, State(OTHER), restart=True)


@pytest.mark.parametrize("restart", [False, True])
def test_a_begun_commit_is_never_discarded(*, restart: bool) -> None:
    """Where files are being replaced, even this very plan is refused, and `restart` too."""
    with pytest.raises(TargetExistsError) as caught:
        refuse_foreign("t", IDENTITY, State(IDENTITY, commit=True), restart=restart)
    assert "completes the replacement" in caught.value.hint
    assert "restart" not in caught.value.hint


def test_how_far_a_shared_run_came_is_said() -> None:
    """Of a run by parts the plan and the finished files of that plan are counted."""
    shared = replace(OTHER, shared=True)
    state = State(shared, done=("a", "stray"))
    with pytest.raises(TargetExistsError, match="plan fedcba987654: 1 of 2 shards done") as caught:
        refuse_foreign("t", IDENTITY, state, restart=False)
    assert "fedcba9876543" not in str(caught.value)
    assert "`apply`" in caught.value.hint


@pytest.mark.parametrize(("missing", "more"), [(10, False), (11, True)])
def test_missing_parts_are_named(missing: int, *, more: bool) -> None:
    """Ten names are shown, escaped, and an ellipsis says that there are more."""
    names = [f"s{number}" for number in range(missing - 1)]
    error = not_finished(["\x1b[2J", *names], 1_200, "t", outdated=False)
    assert type(error) is TargetError
    assert (error.code, error.file) == ("parts-missing", "t")
    assert f"{1_200 - missing:,} of 1,200 shards are done in 't'" in error.message
    assert "\x1b" not in error.message
    assert error.message.endswith("s8, …" if more else "s8")
    assert "`apply_part`" in error.hint
