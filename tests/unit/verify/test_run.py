"""Everything that is wrong is found: each check, the deep ones, the comparison with another
checkpoint, and loading.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from shardctl.engine.journal.journal import COMMIT, PLAN
from shardctl.errors import InputError, MissingError, UsageError
from shardctl.planning.request import Conversion, Experts, Selection, Transform
from shardctl.source.recorded import checksum_file
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryReader, MemoryStore
from shardctl.verify.coverage import Unchecked
from shardctl.verify.run import Thoroughness, Verdict, verify
from tests.support.memory_checkpoints import get, put, sample, weights

DEEP = Thoroughness(deep=True)
INDEX = "m/model.safetensors.index.json"


def codes(found: Verdict) -> list[str]:
    """The codes of what was found."""
    return [finding.code for finding in found.findings]


def check(store: MemoryStore, source: str = "m", **how: Any) -> list[str]:
    """The codes of what is found."""
    return codes(verify(store, source, Thoroughness(**how)))


def sharded(total: object = 2, directory: str = "m") -> MemoryStore:
    """A store with a set of two shards, of `a` and of `b`, and an index with this `total_size`."""
    store = MemoryStore()
    shards = {
        name: f"model-0000{number}-of-00002.safetensors" for number, name in ((1, "a"), (2, "b"))
    }
    for name, shard in shards.items():
        put(store, f"{directory}/{shard}", weights({name: name.encode()}))
    metadata = {} if total is None else {"total_size": total}
    whole = json.dumps({"metadata": metadata, "weight_map": shards})
    put(store, f"{directory}/model.safetensors.index.json", whole.encode())
    return store


def test_a_sound_checkpoint() -> None:
    """Nothing is found, and what was looked at is counted."""
    store = MemoryStore()
    sample(store)
    found = verify(store, "m", Thoroughness())
    assert (found.ok, found.findings, found.depth) == (True, (), "headers")
    assert (found.files, found.tensors, found.bytes) == (1, 6, 0)
    assert found.counts == {"error": 0, "warning": 0, "note": 0}
    assert verify(store, "m", DEEP).bytes == len(get(store, "m/model.safetensors"))


def test_strict_counts_warnings() -> None:
    """A warning alone is fine, and with `strict` it is not."""
    store = sharded()
    store.remove(INDEX)
    found = verify(store, "m", Thoroughness())
    assert (codes(found), found.ok) == (["index-missing"], True)
    assert not verify(store, "m", Thoroughness(strict=True)).ok


def test_errors_come_first() -> None:
    """What is worst is first, whenever it was found."""
    store = sharded(total=9)
    put(store, f"m/.shardctl/{PLAN}", b"{}")
    found = verify(store, "m", Thoroughness())
    assert [finding.severity for finding in found.findings] == ["error", "warning"]


@pytest.mark.parametrize(("name", "severity"), [(PLAN, "warning"), (COMMIT, "error")])
def test_leftovers(name: str, severity: str) -> None:
    """An unfinished run is a warning, and one that was replacing files an error."""
    store = MemoryStore()
    sample(store)
    put(store, f"m/.shardctl/{name}", b"{}")
    (finding,) = verify(store, "m", Thoroughness()).findings
    assert (finding.code, finding.severity, finding.file) == (
        "folder-leftover",
        severity,
        "m/.shardctl",
    )


@pytest.mark.parametrize("total", [2, 2.0])
def test_a_right_total(total: object) -> None:
    """An integer, or a float that is one, as some savers write it."""
    assert check(sharded(total)) == []


@pytest.mark.parametrize("total", [3, 2.5, "2", True, None, [2]])
def test_a_wrong_total(total: object) -> None:
    """Any other number, another type and none at all are errors."""
    assert check(sharded(total)) == ["index-total-size"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"a": "a.safetensors"}, ["note index-metadata-missing"]),
        ({"metadata": [], "weight_map": {"a": "a.safetensors"}}, ["error index-invalid"]),
        ({"metadata": {}, "weight_map": {"a": "a.safetensors"}}, ["error index-total-size"]),
        (
            {
                "metadata": {"total_size": 9},
                "weight_map": {"a": "a.safetensors", "b": "../b.safetensors"},
            },
            ["error shard-name-unsafe"],
        ),
        (
            {"metadata": {"total_size": 1}, "weight_map": {"x": "a.safetensors"}},
            ["error index-tensor-missing"],
        ),
    ],
    ids=["flat", "metadata", "no-total", "unsafe", "another-model"],
)
def test_one_fault_of_an_index_is_one_finding(
    document: dict[str, object], expected: list[str]
) -> None:
    """What follows from another fault of the index, such as its total, is not reported beside it;
    accelerate's index needs no metadata.
    """
    store = MemoryStore()
    put(store, "m/a.safetensors", weights({"a": b"1"}, metadata={"format": "pt"}))
    put(store, "m/weight_map.index.json", json.dumps(document).encode())
    found = verify(store, "m", Thoroughness())
    assert [f"{each.severity} {each.code}" for each in found.findings] == expected


def test_weights_beside_the_checkpoint_are_noted() -> None:
    """Weights of a name that no loader knows are noted, and training state, other files and the
    set's own are not; of a file that was named nothing is said about the others.
    """
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"1"}, metadata={"format": "pt"}))
    put(store, "m/mm_projector.bin", weights({"b": b"1"}, "bin"))
    put(store, "m/extra-00001-of-00002.safetensors", weights({"c": b"1"}))
    put(store, "m/optimizer.bin", weights({"d": b"1"}, "bin"))
    put(store, "m/vocabulary.bin", b"words")
    found = verify(store, "m", Thoroughness())
    assert found.ok
    assert [(each.code, each.severity, each.file) for each in found.findings] == [
        ("weights-unlisted", "note", "m/extra-00001-of-00002.safetensors"),
        ("weights-unlisted", "note", "m/mm_projector.bin"),
    ]
    assert verify(store, "m/model.safetensors", Thoroughness()).findings == ()


def test_a_flood_of_missing_shards_is_counted() -> None:
    """Of 1,000 shards that are not there, and as many without a digest, a hundred of each are
    listed, and all are counted.
    """
    store = MemoryStore()
    weight_map = {f"t{number}": f"s{number}.safetensors" for number in range(1_000)}
    whole = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    put(store, INDEX, json.dumps(whole).encode())
    put(store, "m/SHA256SUMS", b"")
    found = verify(store, "m", Thoroughness())
    assert Counter(codes(found)) == {"index-shard-missing": 101, "digest-missing": 101}
    assert found.counts == {"error": 1_000, "warning": 1_000, "note": 0}


def test_a_flood_of_differences_is_counted() -> None:
    """Of 300 tensors that only one side has, a hundred are listed, and all are counted."""
    store = MemoryStore()
    put(store, "a.safetensors", weights({f"a{number}": b"1" for number in range(300)}))
    put(store, "b.safetensors", weights({f"b{number}": b"1" for number in range(300)}))
    found = verify(store, "a.safetensors", Thoroughness(against="b.safetensors"))
    assert Counter(codes(found)) == {"against-extra": 101, "against-missing": 101}
    assert found.counts["error"] == 600


def test_digests_that_are_missing() -> None:
    """A file of the set without a line is a warning; other files need none."""
    store = MemoryStore()
    sample(store)
    put(store, "m/SHA256SUMS", b"")
    assert check(store) == ["digest-missing"]


def test_tensors_that_are_not_read() -> None:
    """Each tensor of a class that is not read is found, with its file, and never silently left."""
    store = MemoryStore()
    sparse = torch.eye(2).to_sparse()
    buffer = io.BytesIO()
    torch.save({"plain": torch.ones(2), "one": sparse, "two": sparse}, buffer)
    put(store, "m/pytorch_model.bin", buffer.getvalue())
    found = verify(store, "m", Thoroughness()).findings
    unread = [finding for finding in found if finding.code == "tensor-unread"]
    assert [(each.tensor, each.file) for each in unread] == [
        ("one", "m/pytorch_model.bin"),
        ("two", "m/pytorch_model.bin"),
    ]


def test_digests_that_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `SHA256SUMS` that is too large is one warning, and the other checks go on."""
    monkeypatch.setattr(checksum_file, "MAX_CHECKSUMS_BYTES", 99)
    store = MemoryStore()
    sample(store)
    put(store, "m/SHA256SUMS", bytes(100))
    assert check(store, deep=True) == ["digest-unread", "content-unchecked"]
    put(store, "m/SHA256SUMS", bytes(99))
    assert check(store, deep=True) == ["digest-missing", "content-unchecked"]


def test_digests_of_shards_in_directories_below() -> None:
    """A shard that the index lists in a directory below is listed so in the checksums too."""
    store = MemoryStore()
    data = weights({"a": b"1"})
    put(store, "m/sub/x.safetensors", data)
    whole = {"metadata": {"total_size": 1}, "weight_map": {"a": "sub/x.safetensors"}}
    put(store, INDEX, json.dumps(whole).encode())
    put(store, "m/SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  sub/x.safetensors\n".encode())
    assert check(store, deep=True) == []
    put(store, "m/SHA256SUMS", f"{'0' * 64}  sub/x.safetensors\n".encode())
    assert check(store, deep=True) == ["digest-mismatch"]


def test_a_wrong_digest() -> None:
    """Only reading all the bytes finds it."""
    store = MemoryStore()
    sample(store)
    put(store, "m/SHA256SUMS", f"{'0' * 64}  model.safetensors\n".encode())
    assert check(store) == []
    assert check(store, deep=True) == ["digest-mismatch"]


def test_every_bad_record_is_found() -> None:
    """Each record that does not match its CRC is named by its tensor, and the search goes on."""
    store = MemoryStore()
    data = bytearray(weights({"a": b"1" * 50, "b": b"2" * 50, "c": b"3" * 50}, "bin"))
    for content in (b"1" * 50, b"3" * 50):
        data[data.index(content)] ^= 1
    put(store, "m/pytorch_model.bin", bytes(data))
    assert check(store) == []
    found = verify(store, "m", DEEP).findings
    assert [(finding.code, finding.tensor) for finding in found] == [
        ("zip-crc-mismatch", "a"),
        ("zip-crc-mismatch", "c"),
    ]
    assert found[0].offset == bytes(data).index(b"0" + b"1" * 49)


def test_a_disk_that_cannot_be_read_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails while the bytes are read is found, and the other files are read all the same."""
    store = sharded()
    read = MemoryReader.read

    def fail(self: MemoryReader, offset: int, length: int) -> bytes:
        if offset == 0 and length > 64 and "00001" in self.path:
            raise InputError("bad sector", hint="copy the rest", code="storage", file=self.path)
        return read(self, offset, length)

    monkeypatch.setattr(MemoryReader, "read", fail)
    found = verify(store, "m", DEEP)
    assert codes(found) == ["storage"]
    assert found.bytes == len(get(store, "m/model-00002-of-00002.safetensors"))


def test_all_that_is_wrong_is_found_at_once() -> None:
    """A damaged shard does not hide what is wrong with the index or the other files."""
    store = sharded()
    put(store, "m/model-00001-of-00002.safetensors", b"")
    put(store, "m/model-00002-of-00002.safetensors", weights({"c": b"c"}))
    put(store, "m/SHA256SUMS", b"")
    assert set(check(store)) == {
        "file-empty",
        "index-tensor-missing",
        "index-tensor-unlisted",
        "digest-missing",
    }


def test_one_cause_is_one_finding() -> None:
    """Tensors that an index misplaces, or that are in two shards, are one error each time."""
    store = sharded()
    first, second = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    put(store, f"m/{first}", weights({"a": b"a", "b": b"b"}))
    put(store, f"m/{second}", weights({"c": b"c", "d": b"d"}))
    swapped = {"a": second, "b": second, "c": first, "d": first}
    put(store, INDEX, json.dumps({"metadata": {"total_size": 4}, "weight_map": swapped}).encode())
    (finding,) = verify(store, "m", Thoroughness()).findings
    assert finding.code == "index-tensor-misplaced"
    assert finding.message.endswith("; the same with 3 more tensors")
    assert finding.count == 1
    put(store, f"m/{second}", weights({"a": b"a", "b": b"b"}))
    assert Counter(check(store))["tensor-in-several-shards"] == 1


@pytest.mark.parametrize("broken", ["file-truncated", "no-tensors", "shard-set-incomplete"])
def test_no_index_is_advised_for_part_of_a_set(broken: str) -> None:
    """Where tensors of a set are missing, no hint says to write its index from the rest."""
    store = sharded()
    store.remove(INDEX)
    path = "m/model-00002-of-00002.safetensors"
    data = get(store, path)
    store.remove(path)
    if broken == "no-tensors":
        put(store, path, weights({}))
    elif broken == "file-truncated":
        put(store, path, data[:-1])
    found = verify(store, "m", Thoroughness()).findings
    assert broken in {finding.code for finding in found}
    assert not [finding for finding in found if "`reindex`" in finding.hint]


def test_a_missing_source_is_not_a_finding() -> None:
    """Where there is nothing to look at, that is an error."""
    with pytest.raises(MissingError):
        verify(MemoryStore(), "nowhere", Thoroughness())


def test_an_ambiguous_directory_is_looked_at_whole() -> None:
    """Each checkpoint of it is checked, and what each loader would take is said."""
    store = sharded(total=9)
    put(store, "m/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    found = verify(store, "m", Thoroughness())
    assert set(codes(found)) == {"folder-ambiguous", "index-total-size"}
    message = next(
        finding.message for finding in found.findings if finding.code == "folder-ambiguous"
    )
    assert "transformers loads model.safetensors.index.json; huggingface_hub loads model" in message
    assert "accelerate loads pytorch_model.bin" in message


def test_one_model_in_two_formats_is_a_note() -> None:
    """As in most repositories of the hub: the same tensors as safetensors and as .bin are a
    note; another tensor is an error, and so are two sets in one format.
    """
    store = sharded()
    put(store, "m/pytorch_model.bin", weights({"a": b"1", "b": b"2"}, "bin"))
    (finding,) = verify(store, "m", Thoroughness()).findings
    assert (finding.code, finding.severity) == ("folder-ambiguous", "note")
    assert finding.message.endswith("; all of them have the same names, dtypes and shapes")
    put(store, "m/model.safetensors", weights({"a": b"1", "b": b"2"}))
    assert not verify(store, "m", Thoroughness()).ok
    store.remove("m/model.safetensors")
    put(store, "m/pytorch_model.bin", weights({"a": b"1", "b": b"22"}, "bin"))
    assert not verify(store, "m", Thoroughness()).ok


def test_against_itself_in_other_files() -> None:
    """Containers and shards make no difference; with `deep` every tensor has its digest."""
    store = sharded()
    put(store, "o/pytorch_model.bin", weights({"b": b"b", "a": b"a"}, "bin"))
    found = verify(store, "m", Thoroughness(against="o", deep=True, digests=True))
    assert found.ok
    assert found.digests == {name: hashlib.sha256(name.encode()).hexdigest() for name in "ab"}
    assert verify(store, "m", Thoroughness(against="o")).digests == {}


def test_against_another() -> None:
    """A tensor too many, one too few, another shape, and with `deep` other bytes, are each
    found.
    """
    store = MemoryStore()
    put(
        store,
        "m/model.safetensors",
        weights({"same": b"1", "shape": b"12", "data": b"1", "extra": b"1"}),
    )
    put(
        store,
        "o/model.safetensors",
        weights({"same": b"1", "shape": b"1", "data": b"2", "missing": b"1"}),
    )
    wanted = [
        ("against-extra", "extra"),
        ("against-missing", "missing"),
        ("against-shape", "shape"),
    ]
    found = verify(store, "m", Thoroughness(against="o"))
    assert sorted((finding.code, str(finding.tensor)) for finding in found.findings) == wanted
    found = verify(store, "m", Thoroughness(against="o", deep=True, digests=True))
    assert sorted((f.code, str(f.tensor)) for f in found.findings) == [
        ("against-data", "data"),
        *wanted,
    ]


def test_against_a_part_under_other_names() -> None:
    """A copy that was renamed, and has a part of the original, is proved with the same selection;
    what the selection leaves out is named.
    """
    store = MemoryStore()
    put(store, "o/model.safetensors", weights({"p.a": b"1", "p.b": b"2", "head": b"3"}))
    put(store, "m/model.safetensors", weights({"a": b"1", "b": b"2"}))
    part = Transform(Selection(exclude=("head",), strip_prefix="p."))
    found = verify(store, "m", Thoroughness(against="o", deep=True, transform=part))
    assert found.ok
    assert Unchecked("1 tensor of 'o'", "left out by the selection") in found.coverage.unchecked
    assert not verify(store, "m", Thoroughness(against="o")).ok
    put(store, "m/model.safetensors", weights({"a": b"1", "b": b"x"}))
    found = verify(store, "m", Thoroughness(against="o", deep=True, transform=part))
    assert [(f.code, f.tensor) for f in found.findings] == [("against-data", "b")]


def test_against_a_part_of_what_cannot_be_read() -> None:
    """Of a set that lacks a shard no tensor is missing here, whatever it would be called."""
    store = sharded()
    store.remove("m/model-00002-of-00002.safetensors")
    put(store, "c/model.safetensors", weights({"x.a": b"a", "x.b": b"b"}))
    how = Thoroughness(against="m", transform=Transform(Selection(add_prefix="x.")))
    assert not any(code.startswith("against-") for code in codes(verify(store, "c", how)))


def test_a_transform_needs_something_to_compare_with() -> None:
    """Without another checkpoint there is nothing to choose from, or to convert."""
    with pytest.raises(UsageError, match="there is none"):
        Thoroughness(transform=Transform(Selection(add_prefix="x.")))


def test_against_another_type(tmp_path: Path) -> None:
    """The same shape in another element type is one finding, and its bytes are not compared."""
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors", {"format": "pt"})
    save_file({"w": torch.ones(2, dtype=torch.float64)}, tmp_path / "b.safetensors")
    how = Thoroughness(against=str(tmp_path / "b.safetensors"), deep=True)
    assert codes(verify(LocalStore(), str(tmp_path / "a.safetensors"), how)) == ["against-dtype"]


def test_against_resolves_aliases_across_formats(tmp_path: Path) -> None:
    """A tie in a `.bin` equals the name that a safetensors file only records, and its bytes are
    compared.
    """
    weight = torch.arange(6.0).reshape(2, 3)
    torch.save({"emb": weight, "head": weight}, tmp_path / "m.bin")
    save_file({"emb": weight}, tmp_path / "m.safetensors", {"format": "pt", "head": "emb"})
    one, other = str(tmp_path / "m.bin"), str(tmp_path / "m.safetensors")
    for ours, theirs in ((one, other), (other, one)):
        found = verify(LocalStore(), ours, Thoroughness(against=theirs, deep=True, digests=True))
        assert found.ok
        assert set(found.digests) == {"emb", "head"}
    torch.save({"emb": weight, "head": weight + 1}, tmp_path / "m.bin")
    assert codes(verify(LocalStore(), other, Thoroughness(against=one, deep=True))) == [
        "against-data"
    ]


def test_against_views_of_few_bytes(tmp_path: Path) -> None:
    """Views with more elements than can be read are compared by the bytes that they share, whatever
    repeats them.
    """

    def saved(name: str, value: float) -> str:
        row = torch.full((64,), value)
        tensors = {
            "scalar": torch.full((1,), value).expand(2**45),
            "rows": row.expand(2**40, 64),
            "sliding": row.as_strided((32, 32), (1, 1)),
        }
        torch.save(tensors, tmp_path / name)
        return str(tmp_path / name)

    one, two, three = saved("1.bin", 1), saved("2.bin", 1), saved("3.bin", 2)
    how = Thoroughness(against=two, deep=True, digests=True)
    same = verify(LocalStore(), one, how)
    assert same.ok
    assert same.bytes < 100_000
    # There is a digest only of what was read whole.
    assert set(same.digests) == set()
    other = verify(LocalStore(), three, how)
    assert codes(other) == ["against-data"] * 3
    assert {finding.tensor for finding in other.findings} == {"scalar", "rows", "sliding"}


@pytest.mark.parametrize(
    ("shape", "strides"), [((64, 64), (2, 2)), ((9, 64, 3, 64), (640, 10, 1, 10))]
)
def test_against_overlapping_views_with_gaps(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Of views that repeat few bytes, those in their gaps are not compared, and the others are each
    found where they are in the file.
    """
    ours = torch.arange(6_400.0)
    torch.save({"w": ours.as_strided(shape, strides)}, tmp_path / "1.bin")
    data = (tmp_path / "1.bin").read_bytes()
    begin = data.index(ours.numpy().tobytes())

    def offsets(place: int) -> list[int | None]:
        theirs = ours.clone()
        theirs[place] = -1.0
        torch.save({"w": theirs.as_strided(shape, strides)}, tmp_path / "2.bin")
        how = Thoroughness(deep=True, against=str(tmp_path / "2.bin"))
        found = verify(LocalStore(), str(tmp_path / "1.bin"), how).findings
        return [finding.offset for finding in found if finding.code == "against-data"]

    reached = set(torch.arange(6_400).as_strided(shape, strides).flatten().tolist())
    for place in (0, 1, 2, 3, 7, 10, 124, 125, 252, 253, max(reached), max(reached) + 1):
        bits = zip(ours[place].numpy().tobytes(), torch.tensor(-1.0).numpy().tobytes(), strict=True)
        first = next(number for number, (one, other) in enumerate(bits) if one != other)
        assert offsets(place) == ([begin + 4 * place + first] if place in reached else [])


def test_against_views_that_repeat_differs_at_a_byte_of_the_tensor(tmp_path: Path) -> None:
    """Of what repeats once is compared, and the place is that in tensor and file."""
    column = torch.arange(64.0).reshape(64, 1)
    torch.save({"w": column.expand(64, 2**40)}, tmp_path / "1.bin")
    column[5] += 1
    torch.save({"w": column.expand(64, 2**40)}, tmp_path / "2.bin")
    how = Thoroughness(against=str(tmp_path / "2.bin"), deep=True)
    (finding,) = verify(LocalStore(), str(tmp_path / "1.bin"), how).findings
    assert finding.code == "against-data"
    number = re.search(r"first at byte ([0-9,]+) of the tensor", finding.message)
    assert number is not None
    at = int(number[1].replace(",", ""))
    assert at // 2**42 == 5
    assert at % 2**42 < 4


def _two_experts(tmp_path: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """A checkpoint with two experts, and what it is with the experts stacked, as BF16."""
    names = [f"mlp.experts.{n}.{part}_proj.weight" for n in range(2) for part in ("gate", "up")]
    each = {name: torch.randn(3, 4) for name in names}
    save_file({**each, "head": torch.randn(2, 4)}, tmp_path / "a.safetensors", {"format": "pt"})
    stacked = torch.stack([torch.cat([each[names[n]], each[names[n + 1]]]) for n in (0, 2)])
    made = {"mlp.experts.gate_up_proj": stacked.bfloat16()}
    return str(tmp_path / "a.safetensors"), made


def test_against_what_it_was_stacked_and_converted_from(tmp_path: Path) -> None:
    """A copy that torch made of stacked and converted tensors is proved, with a digest of each; of
    another number the place is named.
    """
    source, made = _two_experts(tmp_path)
    transform = Transform(Selection(exclude=("head",)), Experts("stack"), Conversion("BF16"))
    how = Thoroughness(against=source, deep=True, transform=transform, digests=True)
    copy = tmp_path / "b.safetensors"
    save_file(made, copy, {"format": "pt"})
    found = verify(LocalStore(), str(copy), how)
    assert found.ok
    bits = made["mlp.experts.gate_up_proj"].view(torch.uint8).numpy().tobytes()
    assert found.digests == {"mlp.experts.gate_up_proj": hashlib.sha256(bits).hexdigest()}
    made["mlp.experts.gate_up_proj"][1, 5, 3] += 1
    save_file(made, copy, {"format": "pt"})
    (finding,) = verify(LocalStore(), str(copy), how).findings
    assert (finding.code, finding.tensor) == ("against-data", "mlp.experts.gate_up_proj")
    assert finding.offset is not None
    assert copy.stat().st_size - finding.offset in (1, 2)


def test_against_converted_views_of_few_bytes(tmp_path: Path) -> None:
    """What a view of few bytes is converted to is compared by the bytes that are shared."""
    torch.save({"w": torch.ones(8).expand(2**40, 8)}, tmp_path / "a.bin")
    torch.save({"w": torch.ones(8).half().expand(2**40, 8)}, tmp_path / "b.bin")
    how = Thoroughness(
        against=str(tmp_path / "a.bin"),
        deep=True,
        transform=Transform(conversion=Conversion("F16")),
    )
    found = verify(LocalStore(), str(tmp_path / "b.bin"), how)
    assert found.ok
    assert found.bytes < 100_000


def test_a_comparison_that_needs_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can convert, that is an error, and no finding about the checkpoint."""
    source, made = _two_experts(tmp_path)
    save_file(made, tmp_path / "b.safetensors", {"format": "pt"})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    transform = Transform(Selection(exclude=("head",)), Experts("stack"), Conversion("BF16"))
    how = Thoroughness(against=source, deep=True, transform=transform)
    with pytest.raises(UsageError, match="needs numpy and ml_dtypes"):
        verify(LocalStore(), str(tmp_path / "b.safetensors"), how)


def test_against_a_strided_view(tmp_path: Path) -> None:
    """A transposed tensor equals the same elements laid out in order."""
    turned = torch.arange(12.0).reshape(3, 4).t()
    torch.save({"w": turned}, tmp_path / "m.bin")
    save_file({"w": turned.contiguous()}, tmp_path / "m.safetensors")
    how = Thoroughness(against=str(tmp_path / "m.safetensors"), deep=True)
    assert verify(LocalStore(), str(tmp_path / "m.bin"), how).ok


def test_load_agrees_with_upstream(tmp_path: Path) -> None:
    """What safetensors and torch load is what our reading says, scalars, empty and strided tensors
    among it.
    """
    tensors = {
        "s": torch.tensor(3.5),
        "e": torch.empty(0, 2),
        "b": torch.ones(3, dtype=torch.bfloat16),
    }
    save_file(tensors, tmp_path / "m.safetensors", {"format": "pt"})
    torch.save({**tensors, "t": torch.arange(6).reshape(2, 3).t()}, tmp_path / "m.bin")
    for name in ("m.safetensors", "m.bin"):
        found = verify(LocalStore(), str(tmp_path / name), Thoroughness(load=True))
        assert codes(found) == []
        assert found.bytes > 0


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", [None, "model", "model.ema"])
def test_load_of_nested_and_legacy_files(tmp_path: Path, key: str | None, *, legacy: bool) -> None:
    """A nested state dict, chosen or not, is compared in both of torch's formats; dotted names and
    lists too.
    """
    weight = torch.arange(6.0)
    state = {
        "step": 3,
        "model": {"a.w": weight, "ema": {"w": weight[2:5]}},
        "groups": [{"p": weight * 2}],
    }
    torch.save(state, tmp_path / "m.bin", _use_new_zipfile_serialization=not legacy)
    assert (
        codes(verify(LocalStore(), str(tmp_path / "m.bin"), Thoroughness(load=True, key=key))) == []
    )


def test_load_finds_what_upstream_reads_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bytes, another shape and a missing tensor are each found."""
    torch.save(
        {"data": torch.ones(2), "shape": torch.ones(2), "gone": torch.ones(2)}, tmp_path / "m.bin"
    )
    monkeypatch.setattr(
        torch, "load", lambda *_, **__: {"data": torch.zeros(2), "shape": torch.ones(3)}
    )
    found = verify(LocalStore(), str(tmp_path / "m.bin"), Thoroughness(load=True))
    assert [(f.code, f.tensor) for f in found.findings] == [
        ("against-data", "data"), ("against-shape", "shape"), ("against-extra", "gone"),
    ]  # fmt: skip


def test_load_where_upstream_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the upstream loader raises is a finding, with its own words."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such thing")

    torch.save({"w": torch.ones(2)}, tmp_path / "m.bin")
    monkeypatch.setattr(torch, "load", refuse)
    (finding,) = verify(LocalStore(), str(tmp_path / "m.bin"), Thoroughness(load=True)).findings
    assert finding.code == "header-invalid"
    assert "RuntimeError: no such thing" in finding.message


def test_load_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, --load is a usage error that says what to install."""
    torch.save({"w": torch.ones(2)}, tmp_path / "m.bin")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "shardctl.formats.torch.upstream", raising=False)
    with pytest.raises(UsageError, match="`load` needs torch") as caught:
        verify(LocalStore(), str(tmp_path / "m.bin"), Thoroughness(load=True))
    assert "shardctl[torch]" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "container", "found"),
    [
        ("model.safetensors", "bin", ["container-misnamed"]),
        ("pytorch_model.bin", "safetensors", ["container-misnamed"]),
        ("model.ckpt", "safetensors", ["container-misnamed"]),
        ("model.ckpt", "bin", []),
        ("0123abcd", "safetensors", []),
    ],
)
def test_contents_that_the_suffix_does_not_promise(
    name: str, container: str, found: list[str]
) -> None:
    """Another format than that of the suffix is an error; a name without a suffix may have any."""
    store = MemoryStore()
    put(store, f"m/{name}", weights({"a": b"1"}, container))
    assert check(store, f"m/{name}") == found


def test_misnamed_shards_are_each_an_error() -> None:
    """Of a set, each file is named."""
    store = sharded()
    for number, name in ((1, "a"), (2, "b")):
        path = f"m/model-0000{number}-of-00002.safetensors"
        put(store, path, weights({name: name.encode()}, "bin"))
    found = verify(store, "m", Thoroughness()).findings
    assert [(finding.code, finding.file) for finding in found] == [
        ("container-misnamed", f"m/model-0000{number}-of-00002.safetensors") for number in (1, 2)
    ]


def test_unsafe_names(tmp_path: Path) -> None:
    """A file that would import what `weights_only` does not allow is an error, though its tensors
    are sound.
    """
    torch.save({"w": torch.ones(2), "path": Path("x")}, tmp_path / "m.bin")
    found = verify(LocalStore(), str(tmp_path / "m.bin"), Thoroughness())
    assert codes(found) == ["pickle-unsafe"]
    assert "pathlib." in found.findings[0].message
    assert found.tensors == 1


def test_a_set_that_its_client_does_not_read_is_a_warning() -> None:
    """Numbered files of an adapter are a warning that names the client; one of them alone, and a
    single file, are none.
    """
    store = MemoryStore()
    names = [f"adapter_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, tensor in zip(names, "ab", strict=True):
        put(store, f"m/{name}", weights({tensor: b"1234"}))
    index = {"metadata": {"total_size": 8}, "weight_map": dict(zip("ab", names, strict=True))}
    put(store, "m/adapter_model.safetensors.index.json", json.dumps(index).encode())
    (finding,) = verify(store, "m", Thoroughness()).findings
    assert (finding.code, finding.severity) == ("client-one-file", "warning")
    assert finding.message.startswith("PEFT reads one weights file")
    assert "of 2 numbered files" in finding.message
    assert check(store, f"m/{names[0]}") == []
    put(store, "one/adapter_model.safetensors", weights({"a": b"1234"}))
    assert check(store, "one") == []
