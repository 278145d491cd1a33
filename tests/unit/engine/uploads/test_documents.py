"""Receipts and commits of a bucket's journal: values that JSON carries, and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.uploads.documents import (
    Seen,
    UploadCommit,
    commit_of,
    noted_of,
    receipt_document,
)
from shardctl.engine.uploads.send import Sent
from shardctl.model import Version
from shardctl.stores.base import Copied
from shardctl.stores.uploads import SentPart, Upload

#: What the functions raise for anything else.
WRONG = (KeyError, TypeError, ValueError, AttributeError)

SENT = Sent(
    Receipt(
        "sub/b\n", 12, "ab" * 32, Copied(kernel=1, shared=2, buffered=3, server=4), ("x",), "s"
    ),
    Upload("t/sub/b\n", "id", "token"),
    (SentPart(1, 8, "one"), SentPart(2, 4, "two")),
)
COMMIT = UploadCommit(
    RunIdentity("plan", {"to": "bin", "include": ["*"]}, {"m": Version(7, "m")}, shared=True),
    "t",
    (Seen("i.index.json", Version(2, "i")),),
    ("a", "sub/b", "i.index.json"),
    (Seen("a", Version(3, "a")),),
    (Seen("old", Version(4, "o")), Seen("older", Version(0, ""))),
    ("a",),
)


def carried(document: object) -> Any:
    """A document as JSON carries it."""
    return json.loads(json.dumps(document))


@pytest.mark.parametrize(
    "sent",
    [
        SENT,
        replace(SENT, parts=()),
        replace(SENT, receipt=Receipt("a", 0, None, Copied())),
        replace(SENT, upload=Upload("t/a", "id")),
    ],
    ids=["all", "no parts", "an empty file", "no token"],
)
@pytest.mark.parametrize("mark", ["", "run"])
def test_a_receipt_is_read_as_it_was(sent: Sent, mark: str) -> None:
    """With the parts in their order, and the mark of its run."""
    assert noted_of(carried(receipt_document(sent, mark))) == (sent, mark)


def test_keys_of_a_receipt_stay() -> None:
    """Another version of the program may read what this one wrote."""
    document = receipt_document(SENT, "run")
    assert list(document) == ["run", "receipt", "upload", "parts"]
    assert list(document["upload"]) == ["path", "id", "token"]
    assert document["parts"] == [[1, 8, "one"], [2, 4, "two"]]


@pytest.mark.parametrize("key", ["run", "receipt", "upload", "parts"])
def test_a_receipt_needs_all_keys(key: str) -> None:
    """Without one of them it is not a receipt."""
    document = carried(receipt_document(SENT, "run"))
    del document[key]
    with pytest.raises(WRONG):
        noted_of(document)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("receipt", None),
        ("receipt", []),
        ("upload", "id"),
        ("upload", {"path": "t/a", "id": "x", "more": 1}),
        ("upload", {"path": "t/a"}),
        ("parts", None),
        ("parts", [1]),
        ("parts", [[1, 8]]),
        ("parts", [[1, 8, "one", "more"]]),
    ],
)
def test_a_receipt_of_other_values_is_refused(key: str, value: object) -> None:
    """It is an error that whoever reads a journal expects."""
    with pytest.raises(WRONG):
        noted_of({**carried(receipt_document(SENT, "run")), key: value})


@pytest.mark.parametrize(
    "commit",
    [
        COMMIT,
        UploadCommit(RunIdentity("id", {}, {}), "", (), (), (), ()),
        replace(COMMIT, identity=replace(COMMIT.identity, shared=False)),
    ],
    ids=["all", "nothing", "of one process"],
)
def test_a_commit_is_read_as_it_was(commit: UploadCommit) -> None:
    """Every name is in its order, with its version."""
    assert commit_of(carried(asdict(commit))) == commit


@pytest.mark.parametrize(
    "key", ["identity", "directory", "first", "new", "replaced", "old", "replaced_source"]
)
def test_a_commit_needs_all_keys(key: str) -> None:
    """What lacks one of them is not carried out."""
    document = carried(asdict(COMMIT))
    del document[key]
    with pytest.raises(WRONG):
        commit_of(document)


@pytest.mark.parametrize("key", ["first", "replaced", "old"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        ["a"],
        [{"name": "a"}],
        [{"version": {"size": 1, "mark": ""}}],
        [{"name": "a", "version": {"size": 1}}],
        [{"name": "a", "version": {"size": 1, "mark": "", "more": 1}}],
    ],
)
def test_files_of_a_commit_have_a_name_and_a_version(key: str, value: object) -> None:
    """A file of no known version is never removed or replaced."""
    with pytest.raises(WRONG):
        commit_of({**carried(asdict(COMMIT)), key: value})


def test_the_last_file_makes_the_set_visible() -> None:
    """A commit that only removes files has none."""
    assert COMMIT.loads_from == "i.index.json"
    assert replace(COMMIT, new=("a",)).loads_from == "a"
    assert replace(COMMIT, new=()).loads_from == ""
