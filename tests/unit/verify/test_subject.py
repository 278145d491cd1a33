"""What is checked is what SOURCE means, also where only a part of it can be read."""

from __future__ import annotations

import json

import pytest

from shardctl.engine.commit import exchange
from shardctl.engine.commit.nested import Nested
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import Commit, Journal, RunIdentity
from shardctl.errors import MissingError
from shardctl.findings import Finding
from shardctl.source.opened import unseen
from shardctl.testing.memory import MemoryStore
from shardctl.verify.subject import Subject, find_subjects, half_replaced
from tests.support.memory_checkpoints import put, sample, weights

SHARDS = {name: f"model-0000{at}-of-00002.safetensors" for at, name in ((1, "a"), (2, "b"))}
INDEX = "model.safetensors.index.json"
IDENTITY = RunIdentity("id", {}, {})


@pytest.fixture
def store() -> MemoryStore:
    """A set of two shards."""
    store = MemoryStore()
    for name, shard in SHARDS.items():
        put(store, f"m/{shard}", weights({name: name.encode()}))
    listed = {"metadata": {"total_size": 2}, "weight_map": SHARDS}
    put(store, f"m/{INDEX}", json.dumps(listed).encode())
    return store


def subjects(store: MemoryStore, source: str = "m") -> tuple[list[Subject], list[Finding]]:
    """What is checked, and what is said of it."""
    found: list[Finding] = []
    return find_subjects(store, source, None, found.append, unseen), found


def test_a_directory_is_its_checkpoint(store: MemoryStore) -> None:
    """Files have the names of the index, and tensors are known by their file."""
    (subject,), findings = subjects(store)
    assert findings == []
    assert set(subject.names.values()) == set(SHARDS.values())
    assert {path: [each.name for each in held] for path, held in subject.tensors.items()} == {
        f"m/{shard}": [name] for name, shard in SHARDS.items()
    }
    assert subject.may_hold()("a") is False


def test_a_damaged_shard_may_hold_what_the_index_places_there(store: MemoryStore) -> None:
    """Its tensors are not called missing; those of other shards are."""
    put(store, f"m/{SHARDS['b']}", b"no weights")
    (subject,), findings = subjects(store)
    assert any(finding.severity == "error" for finding in findings)
    may_hold = subject.may_hold()
    assert (may_hold("b"), may_hold("a"), may_hold("c")) == (True, False, False)


def test_without_an_index_a_damaged_file_may_hold_anything() -> None:
    """No name is called missing then."""
    store = MemoryStore()
    for number in (1, 2):
        put(store, f"m/model-0000{number}-of-00002.safetensors", weights({"a": b"x"}))
    put(store, "m/model-00002-of-00002.safetensors", b"no weights")
    (subject,), _ = subjects(store)
    assert subject.may_hold()("anything") is True


def test_a_source_that_does_not_exist_is_no_finding() -> None:
    """There is nothing to say about it."""
    with pytest.raises(MissingError):
        subjects(MemoryStore(), "none")


def test_a_file_that_cannot_be_read_is_a_subject_of_its_own() -> None:
    """It is checked as far as possible: its error is a finding, and it has no tensors."""
    store = MemoryStore()
    put(store, "m/model.safetensors", b"no weights")
    (subject,), findings = subjects(store)
    assert [finding.severity for finding in findings] == ["error"]
    assert subject.checkpoint.tensors == ()


def test_an_interrupted_replacement_is_all_that_is_said(store: MemoryStore) -> None:
    """Its files mean nothing, whatever they look like."""
    assert half_replaced(store, "m") is None
    with Staging.make(store, "m") as staging:
        put(store, staging.staged(INDEX), b"new")
        journal = Journal(staging)
        journal.begin(IDENTITY, [INDEX])
        plan = exchange.plan(Nested(staging.target), staging.make_files(), [INDEX], [INDEX])
        journal.begin_commit(Commit(IDENTITY, staging.target.own_identity(), plan, ()))
    found, (finding,) = subjects(store)
    assert found == []
    assert (finding.code, finding.severity) == ("folder-leftover", "error")
    assert half_replaced(store, f"m/{INDEX}") is not None


def test_several_checkpoints_are_all_checked() -> None:
    """Where nothing decides, each is; that is a note."""
    store = MemoryStore()
    for name in ("x", "y"):
        put(store, f"m/{name}.safetensors", weights({"a": b"1"}))
    found, findings = subjects(store)
    assert len(found) == 2
    assert ("folder-ambiguous", "note") in {(each.code, each.severity) for each in findings}


@pytest.mark.parametrize(("tensor", "severity"), [("layer.0", "note"), ("other", "error")])
def test_one_model_in_two_formats(tensor: str, severity: str) -> None:
    """With the same names, types and shapes that is a note; else loaders load different models."""
    store = MemoryStore()
    sample(store, count=1)
    put(store, "m/pytorch_model.bin", weights({tensor: bytes(100)}, "bin"))
    found, findings = subjects(store)
    assert len(found) == 2
    (finding,) = (each for each in findings if each.code == "folder-ambiguous")
    assert finding.severity == severity
    assert "loads pytorch_model.bin" in finding.message
