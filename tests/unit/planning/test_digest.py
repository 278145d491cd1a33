"""The id of a plan is the same exactly where the bytes that are written are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shardctl.columns import Columns, Tensors
from shardctl.model import (
    DTYPES,
    Assembled,
    Box,
    Cast,
    Checkpoint,
    Extent,
    File,
    Storage,
    Tensor,
    Version,
    made_tensor,
)
from shardctl.planning import digest
from shardctl.planning.digest import plan_id
from shardctl.planning.plan import make_plan
from shardctl.planning.request import Experts, Limits, Request, Selection
from tests.support.tensors import F32, checkpoint_of, floats

A, B, C = floats("a", 3), floats("b", 1, 12), floats("c", 2, 16)
BASE = checkpoint_of(A, B, C)
(FILE,) = BASE.files


def request_for(**fields: Any) -> Request:
    """A request for torch files."""
    usual = {"limits": Limits(), "format": "bin", "suffix": ".bin", "stem": "pytorch_model"}
    return Request(**{**usual, **fields})


def id_of(
    checkpoint: Checkpoint = BASE,
    files: Mapping[str, Mapping[str, str]] | None = None,
    common: Mapping[str, str] | None = None,
    index: bytes | None = None,
    **fields: Any,
) -> str:
    """The id of a plan of one file without metadata, unless the arguments say otherwise."""
    files = {"f.bin": {}} if files is None else files
    return plan_id(checkpoint, request_for(**fields), common or {}, files, index)


def with_tensors(*tensors: Tensor) -> Checkpoint:
    """The checkpoint with other tensors in its file."""
    return replace(BASE, tensors=tensors)


def moved(path: str) -> Checkpoint:
    """The same checkpoint in another file."""
    tensors = [
        replace(t, storage=replace(t.storage, extent=replace(t.storage.extent, path=path)))
        for t in BASE.tensors
    ]
    return replace(BASE, files=(replace(FILE, path=path),), tensors=tuple(tensors))


def all_differ(ids: Sequence[str]) -> bool:
    """Whether no two are equal."""
    return len(set(ids)) == len(ids)


def test_it_is_a_digest() -> None:
    """It has a fixed length, and asked for twice it is the same."""
    assert re.fullmatch("[0-9a-f]{64}", id_of())
    assert id_of() == id_of()


@pytest.mark.parametrize("as_columns", [False, True])
def test_it_stays_the_same_from_version_to_version(*, as_columns: bool) -> None:
    """A plan that an earlier version saved is the plan of this one, until the layout changes."""
    columns = Tensors([Columns.of("models/f", BASE.tensors)])
    source = replace(BASE, tensors=columns if as_columns else BASE.tensors)
    files = {"one": {"k": "v", "own": "1"}, "two": {"k": "v"}}
    found = id_of(source, files, {"k": "v"}, b"{}", limits=Limits(num_shards=2))
    assert found == "f3a9d769cb673728e413a07791b8e1126b7e2d5fe2553bad4e94b8abe69211c9"


def test_an_empty_checkpoint_has_an_id() -> None:
    """Without tensors and files there is one as well, different from all others."""
    empty = replace(BASE, tensors=(), files=())
    assert all_differ([id_of(empty), id_of(replace(BASE, tensors=())), id_of()])


# the source


@pytest.mark.parametrize("path", ["elsewhere/f", "f", "s3://bucket/f", "C:\\models\\f", "/f"])
def test_the_directory_does_not_matter(path: str) -> None:
    """A source that was moved or fetched has the same plan; a path of Windows has its name too."""
    assert id_of(moved(path)) == id_of()
    assert id_of(moved(f"{path}.other")) != id_of()


def test_the_time_does_not_matter() -> None:
    """A file that was touched is the same one."""
    touched = replace(FILE, version=Version(FILE.version.size, "later"))
    assert id_of(replace(BASE, files=(touched,))) == id_of()


def test_the_source_matters() -> None:
    """Another name, size, header or order of its files gives another id."""
    other = replace(FILE, path="models/g")
    sources = [
        BASE,
        moved("models/g"),
        replace(BASE, files=(replace(FILE, version=Version(1001, "mark")),)),
        replace(BASE, files=(replace(FILE, header_sha256="01"),)),
        replace(BASE, files=(FILE, other)),
        replace(BASE, files=(other, FILE)),
    ]
    assert all_differ([id_of(source) for source in sources])


def test_tensors_matter() -> None:
    """So do their number and order, and each one's name, type, shape, strides and place."""
    storage = C.storage
    others = [
        C,
        floats("d", 2, 16),
        floats("c", 2, 100),
        floats("c", 1, 16),
        Tensor("c", F32, (1, 2), storage),
        Tensor("c", F32, (2, 1), storage),
        Tensor("c", F32, (2,), storage, strides=(0,)),
        Tensor("c", DTYPES["I32"], (2,), storage),
        Tensor("c", F32, (), storage),
        Tensor("c\0\U0001f600", F32, (2,), storage),
        Tensor("c\\u0000", F32, (2,), storage),
    ]
    ids = [id_of(with_tensors(A, B, other)) for other in others]
    ids += [
        id_of(with_tensors(A, C, B)),
        id_of(with_tensors(A, B)),
        id_of(with_tensors(A, B, C, C)),
    ]
    assert all_differ(ids)


def test_one_of_several_files_matters() -> None:
    """A tensor at the same offset of another file is another tensor."""
    other = replace(FILE, path="models/g")
    there = replace(C, storage=Storage(Extent("models/g", 16, 8), "c"))
    both = replace(BASE, files=(FILE, other))
    assert id_of(both) != id_of(replace(both, tensors=(A, B, there)))


def test_names_cannot_be_mistaken_for_other_fields() -> None:
    """A name with brackets, quotes and commas is that name, whatever is around it."""
    one = with_tensors(Tensor('a",0,0,"F32"],["b', F32, (3,), A.storage))
    other = with_tensors(A, B)
    assert id_of(one) != id_of(other)


def test_what_a_tensor_is_made_of_matters() -> None:
    """A cast is of its source and into its type; what is assembled is of its parts and places."""

    def box(start: int, tensor: Tensor = C) -> Box:
        return Box((start,), tensor)

    made: list[Tensor] = [
        made_tensor("m", DTYPES["F16"], (2,), Cast(C), "m"),
        made_tensor("m", DTYPES["BF16"], (2,), Cast(C), "m"),
        made_tensor("m", DTYPES["F16"], (2,), Cast(floats("c", 2, 20)), "m"),
        made_tensor("m", F32, (4,), Assembled((4,), (box(0), box(2))), "m"),
        made_tensor("m", F32, (4,), Assembled((4,), (box(2), box(0))), "m"),
        made_tensor("m", F32, (4,), Assembled((2, 2), (box(0), box(2))), "m"),
        made_tensor("m", F32, (4,), Assembled((4,), (box(0), box(2, A))), "m"),
        Tensor("m", F32, (2,), C.storage),
    ]
    assert all_differ([id_of(with_tensors(tensor)) for tensor in made])
    nested = Cast(made_tensor("n", F32, (4,), Assembled((4,), (box(0), box(2))), "n"))
    again = Cast(made_tensor("n", F32, (4,), Assembled((4,), (box(2), box(0))), "n"))
    assert all_differ(
        [
            id_of(with_tensors(made_tensor("m", DTYPES["F16"], (4,), each, "m")))
            for each in (nested, again)
        ]
    )


@pytest.mark.parametrize("name", ["a", 'q"\\', "\ud800", "漢\n", ""])
def test_columns_are_the_same_tensors(name: str) -> None:
    """Tensors that are kept as columns have the id that they have one by one."""
    plain = (
        Tensor(name, F32, (3,), Storage(Extent("models/f", 0, 12), name)),
        Tensor("s", DTYPES["I64"], (), Storage(Extent("models/f", 16, 8), "s")),
        Tensor("e", F32, (0, 4), Storage(Extent("models/g", 0, 0), "e")),
    )
    files = (FILE, File("models/g", "safetensors", Version(10, ""), {}, header_sha256="11"))
    source = replace(BASE, files=files, tensors=plain)
    columns = Tensors([Columns.of("models/f", plain[:2]), Columns.of("models/g", plain[2:])])
    assert id_of(replace(source, tensors=columns)) == id_of(source)
    again = Tensors([Columns.of("models/g", plain[2:]), Columns.of("models/f", plain[:2])])
    assert id_of(replace(source, tensors=again)) != id_of(source)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_however_many_tensors_are_taken_in_at_a_time(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The id of many is that of all of them in a row."""
    expected = id_of()
    monkeypatch.setattr(digest, "_TENSORS_AT_A_TIME", count)
    assert id_of() == expected


# the target


def test_the_options_matter() -> None:
    """Every option that could change a byte or a name gives another id."""
    options: list[dict[str, Any]] = [
        {},
        {"limits": Limits(num_shards=3)},
        {"limits": Limits(max_shard_bytes=16)},
        {"limits": Limits(max_shard_bytes=50, strict=True)},
        {"format": "safetensors"},
        {"stem": "model"},
        {"variant": "fp16"},
        {"order": "natural"},
        {"tied": "expand"},
        {"selection": Selection(add_prefix="x.")},
        {"experts": Experts("stack")},
        {"block": 4096},
        {"block": 8192},
    ]
    assert all_differ([id_of(**fields) for fields in options])


def test_files_and_metadata_matter() -> None:
    """Names of files, their order, and every pair of metadata, of one file or of all."""
    ids = [
        id_of(files=files, common=common, index=index)
        for files, common, index in (
            ({"f": {}}, {}, None),
            ({"g": {}}, {}, None),
            ({"f": {"k": "v"}}, {}, None),
            ({"f": {"k": "w"}}, {}, None),
            ({"f": {}, "g": {}}, {}, None),
            ({"g": {}, "f": {}}, {}, None),
            ({"f": {}, "g": {}}, {}, b"{}"),
            ({"f": {}, "g": {}}, {}, b"{ }"),
            ({"f": {"k": "v"}, "g": {"k": "v"}}, {"k": "v"}, b"{}"),
            ({"f": {"k": "v", "m": "f"}, "g": {"k": "v"}}, {"k": "v"}, b"{}"),
            ({"f": {"k": "v"}, "g": {"k": "v", "m": "f"}}, {"k": "v"}, b"{}"),
        )
    ]
    assert all_differ(ids)


def test_what_is_common_is_that_of_a_single_file() -> None:
    """The metadata of one file is what it has, whatever was found to be common."""
    files = {"f": {"k": "v"}}
    assert id_of(files=files, common={"k": "v"}) == id_of(files=files)


def test_the_order_of_metadata_does_not_matter() -> None:
    """It is sorted where it is written."""
    pairs = {"b": "2", "a": "1"}
    ids = {
        id_of(files={"f": dict(order)}, common={})
        for order in itertools.permutations(pairs.items())
    }
    assert len(ids) == 1


def test_metadata_that_is_written_matters_in_a_plan() -> None:
    """A recorded alias that only the single file's metadata holds gives the plan another id."""
    request = request_for(format="safetensors", suffix=".safetensors", stem="model")
    one, other = (
        make_plan(replace(BASE, aliases=aliases), request, lambda held, _: len(held))
        for aliases in ({}, {"z": "a"})
    )
    assert one.shards[0].metadata != other.shards[0].metadata
    assert one.id != other.id
