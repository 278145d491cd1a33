"""Objects that are written in any order: in one request, or in parts."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from shardctl.errors import TargetExistsError
from shardctl.stores.remote.s3 import writer
from shardctl.stores.remote.s3.store import S3Store
from shardctl.testing.suites.fixtures import read
from tests.support.s3_server import needs_cloud

pytestmark = needs_cloud
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of the least size that the server takes."""
    monkeypatch.setattr(writer, "PART_BYTES", 5 * MIB)


def test_a_large_object_is_sent_in_parts(bucket: S3Store) -> None:
    """Pieces that come in any order, over the ends of parts, are where they belong."""
    data = random.Random(1).randbytes(11 * MIB)
    pieces = list(range(0, len(data), 3 * MIB))
    random.Random(2).shuffle(pieces)
    path = bucket.join(bucket.base, "large")
    with bucket.create(path, len(data)) as target:
        for begin in pieces:
            target.write(begin, data[begin : begin + 3 * MIB])
        assert bucket.kind(path) is None
    assert read(bucket, path) == data
    assert bucket.uploads(bucket.base) == []


@pytest.mark.parametrize("nbytes", [3, 6 * MIB])
def test_what_is_not_whole_does_not_appear(bucket: S3Store, nbytes: int) -> None:
    """After an error, or where bytes are missing, there is neither an object nor an upload."""
    path = bucket.join(bucket.base, "torn")
    with suppress(KeyError), bucket.create(path, nbytes) as target:
        target.write(0, bytes(nbytes))
        raise KeyError
    with bucket.create(path, nbytes) as target:
        target.write(0, bytes(nbytes - 1))
    bucket.forget()
    assert bucket.kind(path) is None
    assert bucket.uploads(bucket.base) == []


@pytest.mark.parametrize("nbytes", [3, 6 * MIB])
def test_a_name_that_is_taken_meanwhile(bucket: S3Store, other: S3Store, nbytes: int) -> None:
    """An object that appears while another of its name is written stays."""
    path = bucket.join(bucket.base, "name")
    target = bucket.create(path, nbytes)
    target.write(0, bytes(nbytes))
    other.put(path, b"rival")
    with pytest.raises(TargetExistsError) as caught:
        target.close()
    assert caught.value.file == path
    other.forget()
    assert read(other, path) == b"rival"
