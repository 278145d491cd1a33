"""Which stores have uploads, and what an upload is known by."""

from __future__ import annotations

import pickle

import pytest

from shardctl.stores.base import Store
from shardctl.stores.local.store import LocalStore
from shardctl.stores.uploads import CopiesParts, PartLimits, SentPart, Upload, Uploads, has_uploads
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from tests.toy.store import ToyStore


@pytest.mark.parametrize(
    ("store", "has"),
    [(MemoryBucket(), True), (MemoryStore(), False), (LocalStore(), False), (ToyStore(), False)],
)
def test_a_store_has_uploads_where_it_has_all_of_them(store: Store, *, has: bool) -> None:
    """A name that one of the methods has is not enough."""
    assert has_uploads(store) is isinstance(store, Uploads) is has
    assert isinstance(store, CopiesParts) is has


def test_a_part_of_the_methods_is_none() -> None:
    """What can put objects and not upload them renames files, as others do."""

    class Putting(MemoryStore):
        def put(self, path: str, data: bytes) -> None:
            """Write a small file."""

    assert not has_uploads(Putting())


def test_values_can_be_sent_to_another_process() -> None:
    """Where parts are sent, and where they are noted."""
    for value in (Upload("p", "id", "token"), SentPart(1, 2, "m"), PartLimits(1, 2, 3)):
        assert pickle.loads(pickle.dumps(value)) == value


def test_an_upload_from_a_listing_has_no_token() -> None:
    """It is not taken for the one that was begun."""
    begun, listed = Upload("p", "id", "token"), Upload("p", "id")
    assert listed.token == ""
    assert begun != listed
