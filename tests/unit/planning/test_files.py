"""How the files of a plan are called, and what lists the tensors in them."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from shardctl.model import Index
from shardctl.planning.files import filename, left_of_index, listing
from shardctl.planning.request import Limits, Request
from tests.support.tensors import checkpoint_of, floats

SAFETENSORS = Request(Limits(), "safetensors", ".safetensors", "model")
DCP = Request(Limits(), "dcp", ".distcp", "model")
A, B = floats("a", 1), floats("b", 2, 4)
INDEX = Index("i", {"total_size": 12, "note": "x", "tied": "a", "common": "y"}, {})
SOURCE = replace(checkpoint_of(A, B), index=INDEX, aliases={"tied": "a"}, metadata={"common": "y"})


@pytest.mark.parametrize(
    ("request_", "number", "count", "name"),
    [
        (SAFETENSORS, 2, 3, "model-00002-of-00003.safetensors"),
        (SAFETENSORS, 1, 1, "model.safetensors"),
        (replace(SAFETENSORS, filename="x.bin"), 1, 1, "x.bin"),
        (replace(SAFETENSORS, variant="fp16"), 1, 1, "model.fp16.safetensors"),
        (DCP, 2, 3, "__1_0.distcp"),
        (DCP, 1, 1, "__0_0.distcp"),
    ],
)
def test_names(request_: Request, number: int, count: int, name: str) -> None:
    """Files are numbered where there are several, or as their format names them."""
    assert filename(request_, number, count) == name


def test_an_index_lists_several_files() -> None:
    """It has the metadata of the source's, with the names that are recorded now; one file needs
    none.
    """
    files = {"1": (A,), "2": (B,)}
    name, data = listing(SOURCE, SAFETENSORS, files, 12, {"tied": "b"}) or ("", b"")
    assert name == "model.safetensors.index.json"
    document = json.loads(data)
    assert document["weight_map"] == {"a": "1", "b": "2"}
    assert document["metadata"] == {"total_size": 12, "note": "x", "common": "y", "tied": "b"}
    assert listing(SOURCE, SAFETENSORS, {"1": (A, B)}, 12, {}) is None


@pytest.mark.parametrize("count", [1, 2])
def test_a_format_can_list_its_files_itself(count: int) -> None:
    """Also one file is listed then, under the name that loaders look for."""
    files = {"__0_0.distcp": (A, B)} if count == 1 else {"__0_0.distcp": (A,), "__1_0.distcp": (B,)}
    name, data = listing(SOURCE, DCP, files, 12, {}) or ("", b"")
    assert name == ".metadata"
    places = pickle.loads(data).storage_data
    assert {index.fqn: place.relative_path for index, place in places.items()} == {
        "a": "__0_0.distcp",
        "b": "__0_0.distcp" if count == 1 else "__1_0.distcp",
    }


@pytest.mark.parametrize(
    ("request_", "count", "left"),
    [(SAFETENSORS, 2, []), (SAFETENSORS, 1, ["note"]), (DCP, 1, ["note"]), (DCP, 2, ["note"])],
)
def test_metadata_that_is_left_is_named(request_: Request, count: int, left: list[str]) -> None:
    """What an index records, and no file will have, is said; sums and ties are not missed."""
    assert [each.name for each in left_of_index(SOURCE, request_, count)] == left
