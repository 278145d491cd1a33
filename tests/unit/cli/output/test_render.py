"""Rows for scripts have the same fields whatever is in them, and the closing lines add up."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
import torch

from shardctl.cli.output.render import (
    accepted,
    closing,
    details,
    difference_rows,
    difference_summary,
    finding_rows,
    inspection_rows,
    plan_rows,
    said,
    summary,
    tabbed,
    verdict,
)
from shardctl.commands.diff import Change, Difference, Side, diff
from shardctl.commands.numbers import with_statistics
from shardctl.commands.pipeline import Inspected, inspect_all
from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.commands.write import write
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.run import RunOptions
from shardctl.findings import Finding
from shardctl.planning.request import Limits, Selection, Transform, WriteOptions
from shardctl.stores.base import Copied
from shardctl.streams.progress import Silent
from shardctl.streams.statistics import Distance
from shardctl.testing.builders import safetensors_bytes
from shardctl.testing.memory import MemoryStore
from shardctl.verify.coverage import Coverage, Unchecked
from shardctl.verify.run import Thoroughness, Verdict, verify
from tests.support.memory_checkpoints import get, put, sample, weights
from tests.support.pipelines import pipeline

ONE = WriteOptions(limits=Limits())
BY_250 = WriteOptions(limits=Limits(max_shard_bytes=250))


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m` of six tensors of 100 bytes, and a config."""
    store = MemoryStore()
    sample(store)
    return store


def fields_of(lines: Iterable[str]) -> list[list[str]]:
    """The fields of rows."""
    rows = list(lines)
    assert all(row.endswith("\n") and row.count("\n") == 1 for row in rows)
    return [row.rstrip("\n").split("\t") for row in rows]


def work(store: MemoryStore, options: WriteOptions = BY_250, source: str = "m") -> Work:
    """What a writer would do."""
    return prepare_all(store, source, store, "t", options, finish=True)


def written(store: MemoryStore, todo: Work) -> dict[str, Sequence[Receipt]]:
    """What it did."""
    run = RunOptions(jobs=1)
    return {
        part.name: write(store, store, part.prepared, run, Silent())
        for part in todo.parts
        if not part.prepared.up_to_date
    }


# rows


def test_a_row_is_a_line_of_fields() -> None:
    """Whatever a field holds, it is on the line and between its TABs; None is an empty field."""
    rows = [("a\tb", "c\nd", None, 0, ""), ()]
    assert list(tabbed(rows)) == ["a\\tb\tc\\nd\t\t0\t\n", "\n"]
    assert list(tabbed([])) == []


def test_inspect_has_a_row_for_each_tensor(store: MemoryStore) -> None:
    """With its type, shape, bytes, file and place."""
    header, *rows = fields_of(inspection_rows(inspect_all(store, "m", key=None), top=None))
    assert header == ["name", "dtype", "shape", "nbytes", "file", "offset", "tied_to"]
    begin = len(get(store, "m/model.safetensors")) - 600
    assert rows == [
        [f"layer.{n}", "U8", "[100]", "100", "model.safetensors", str(begin + 100 * n), ""]
        for n in range(6)
    ]


def test_a_tied_tensor_names_the_other(store: MemoryStore) -> None:
    """Its row has the place of the bytes that both have."""
    data = weights({"a": b"1234"}, metadata={"format": "pt", "b": "a"})
    put(store, "n/model.safetensors", data)
    _, *rows = fields_of(inspection_rows(inspect_all(store, "n", key=None), top=None))
    assert {row[0]: row[6] for row in rows} == {"a": "", "b": "a"}
    assert rows[0][5] == rows[1][5]


def test_a_component_is_before_the_names_of_its_files() -> None:
    """Files of several have the same names."""
    found = inspect_all(pipeline(MemoryStore()), "p", key=None)
    _, *rows = fields_of(inspection_rows(found, top=None))
    assert [row[4] for row in rows] == [
        *["text_encoder/model.safetensors"] * 2,
        *["unet/diffusion_pytorch_model.safetensors"] * 3,
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_the_largest_tensors(store: MemoryStore) -> None:
    """As many as were asked for, or all where there are fewer."""
    put(store, "n/model.safetensors", weights({"a": b"1", "b": bytes(3), "c": bytes(2)}))
    found = inspect_all(store, "n", key=None)
    for top, names in ((1, ["b"]), (2, ["b", "c"]), (9, ["b", "c", "a"])):
        _, *rows = fields_of(inspection_rows(found, top=top))
        assert [row[0] for row in rows] == names


def test_what_is_not_read_is_a_row() -> None:
    """With its class, no shape and no place; not among the largest tensors."""
    store, data = MemoryStore(), io.BytesIO()
    sparse = torch.ones(2, 2).to_sparse()
    torch.save({"w": torch.ones(2), "s": sparse, "lr": 0.1}, data)
    put(store, "m/pytorch_model.bin", data.getvalue())
    found = inspect_all(store, "m", key=None)
    _, *rows = fields_of(inspection_rows(found, top=None))
    (row,) = [row for row in rows if row[0] != "w"]
    assert (row[0], row[2], row[5], row[6]) == ("s", "", "", "")
    assert "sparse" in row[1]
    assert len(fields_of(inspection_rows(found, top=5))) == 2


def summed_up(store: MemoryStore, source: str) -> Inspected:
    """A checkpoint with the numbers of its tensors."""
    found = inspect_all(store, source, key=None)
    parts = tuple((name, with_statistics(part, store, part.tensors)) for name, part in found.parts)
    return replace(found, parts=parts)


def test_numbers_are_more_columns(store: MemoryStore) -> None:
    """Of what has none the fields are empty, so that every row has as many."""
    tensors = {
        "f": ("F32", [2], struct.pack("<2f", 0, 3)),
        "i": ("I32", [1], bytes(4)),
        "n": ("F32", [1], struct.pack("<f", float("nan"))),
    }
    put(store, "n/model.safetensors", safetensors_bytes(tensors))
    header, *rows = fields_of(inspection_rows(summed_up(store, "n"), top=None))
    assert header[7:] == ["min", "max", "mean", "nan", "inf", "zeros"]
    assert {row[0]: row[7:] for row in rows} == {
        "f": ["0.0", "3.0", "1.5", "0", "0", "1"],
        "i": [""] * 6,
        "n": ["", "", "", "1", "0", "0"],
    }


def test_a_plan_has_a_row_for_each_shard(store: MemoryStore) -> None:
    """With its size in bytes; of a pipeline with the component before its name."""
    header, *rows = fields_of(plan_rows(work(store)))
    assert header == ["shard", "size", "tensors"]
    assert [(row[0], row[2]) for row in rows] == [
        (f"model-0000{n}-of-00003.safetensors", "2") for n in (1, 2, 3)
    ]
    assert [int(row[1]) for row in rows] == [
        shard.size for shard in work(store).parts[0].prepared.plan.shards
    ]
    parts = pipeline(MemoryStore())
    names = [row[0] for row in fields_of(plan_rows(work(parts, ONE, "p")))[1:]]
    assert names[0] == "text_encoder/model.safetensors"
    assert len(names) == 3


def test_details_list_every_file(store: MemoryStore) -> None:
    """What is read, written, copied and replaced, with names that are safe to print."""
    put(store, "m/a\nb.json", b"{}")
    put(store, "t/model.safetensors", weights({"old": b"1"}))
    lines = list(details(work(store, replace(BY_250, replace="same"))))
    size = len(get(store, "m/model.safetensors"))
    assert lines[0] == f"reads m/model.safetensors ({size / 1000:.1f} KB)"
    assert [line.partition(" ")[0] for line in lines] == [
        "reads", *["writes"] * 3, *["copies"] * 2, "replaces",
    ]  # fmt: skip
    assert lines[1].endswith(", 2 tensors)")
    assert r"copies a\nb.json" in lines
    assert lines[-1] == "replaces model.safetensors"


def test_findings_are_rows() -> None:
    """What has no place has empty fields."""
    found = [
        Finding("a-code", "error", "bad\tthing", "hint", "f", "t", 3),
        Finding("b-code", "note", "odd", "hint"),
    ]
    assert fields_of(finding_rows(found)) == [
        ["error", "a-code", "f", "t", r"bad\tthing"],
        ["note", "b-code", "", "", "odd"],
    ]


# closing lines of writers


def test_the_summary_counts_what_was_written(store: MemoryStore) -> None:
    """Files and tensors, bytes and the rate; how they were copied where it is asked for."""
    todo = work(store)
    done = written(store, todo)
    total = sum(receipt.copied.total for receipt in done[""])
    line = summary(todo, done, 2.0, verbose=False)
    assert line == (
        f"wrote 3 files of 6 tensors, {total / 1000:.1f} KB in 2.0 s ({total // 2} B/s)"
    )
    assert summary(todo, done, 2.0, verbose=True).startswith(f"{line}, ")
    assert summary(todo, done, 2.0, verbose=True).endswith(" through buffers")
    assert "(?/s)" in summary(todo, done, 0.0, verbose=False)


@pytest.mark.parametrize(
    ("copied", "quiet", "verbose"),
    [
        (Copied(), "", ""),
        (Copied(shared=1000), ", 1.0 KB shared with the source", ""),
        (Copied(kernel=1000), "", ", 1.0 KB copied in the kernel"),
        (Copied(buffered=1000), "", ", 1.0 KB through buffers"),
        (
            Copied(server=9000, buffered=1000),
            ", 9.0 KB copied by the server, 1.0 KB sent (10.0%)",
            "",
        ),
        (Copied(server=1000), ", 1.0 KB copied by the server", ""),
    ],
)
def test_ways_of_the_bytes(store: MemoryStore, copied: Copied, quiet: str, verbose: str) -> None:
    """What is worth knowing is said always, the rest where it is asked for; never of nothing."""
    todo = work(store)
    done = {"": (Receipt("f", copied.total, None, copied),)}
    assert summary(todo, done, 1.0, verbose=False).partition("/s)")[2] == quiet
    assert summary(todo, done, 1.0, verbose=True).partition("/s)")[2] == quiet + verbose


def test_the_summary_of_a_pipeline_counts_what_was_not_there() -> None:
    """Components that were up to date are left out; where all were, the other files are named."""
    store = pipeline(MemoryStore())
    todo = work(store, ONE, "p")
    line = summary(todo, written(store, todo), 1.0, verbose=False)
    assert line.startswith("wrote 3 files of 6 tensors in 3 components, ")
    store.remove("t/vae/diffusion_pytorch_model.safetensors")
    todo = work(store, ONE, "p")
    line = summary(todo, written(store, todo), 1.0, verbose=False)
    assert line.startswith("wrote 1 file of 1 tensor in 1 component, ")
    store.remove("t/README.md")
    todo = work(store, ONE, "p")
    line = summary(todo, written(store, todo), 1.0, verbose=False)
    assert line.startswith("wrote the files beside the components, 9 B in ")


def test_accepted_damage_is_named() -> None:
    """Each place of each file of each component."""
    receipts = {
        "a": (Receipt("f", 1, None, Copied(), ("one", "two")), Receipt("g", 1, None, Copied())),
        "b": (Receipt("h", 1, None, Copied(), ("three",)),),
    }
    assert list(accepted(receipts)) == [
        f"accepted damage: {place} does not match its CRC-32" for place in ("one", "two", "three")
    ]
    assert list(accepted({})) == []


# diff


def differing(a: dict[str, bytes], b: dict[str, bytes], **how: object) -> Difference:
    """What differs between two checkpoints."""
    store = MemoryStore()
    put(store, "a/model.safetensors", weights(a))
    put(store, "b/model.safetensors", weights(b))
    return diff(Side(store, "a"), Side(store, "b"), **how)  # type: ignore[arg-type] # as given


def test_a_difference_is_a_row() -> None:
    """With what the tensor is on either side; of one that is missing the field is empty."""
    found = differing({"a": b"1", "b": b"2", "c": b"3"}, {"b": b"22", "c": b"4", "d": b"5"})
    assert fields_of(difference_rows(found, stats=False)) == [
        ["change", "name", "a", "b"],
        ["removed", "a", "U8 [1]", ""],
        ["shape", "b", "U8 [1]", "U8 [2]"],
        ["bytes", "c", "U8 [1]", "U8 [1]"],
        ["added", "d", "", "U8 [1]"],
    ]


def test_distances_are_more_columns() -> None:
    """Every row has as many fields, also where there is no distance."""
    changes = (
        Change("a", "bytes", distance=Distance(3, 0.5, 0.25)),
        Change("b", "bytes", distance=Distance(1, None, None)),
        Change("c", "added"),
    )
    found = Difference("a", "b", 0, changes, 0, (), ())
    header, *rows = fields_of(difference_rows(found, stats=True))
    assert header[4:] == ["changed", "largest", "mean"]
    assert [row[4:] for row in rows] == [["3", "0.5", "0.25"], ["1", "", ""], ["", "", ""]]


def test_the_summary_of_a_difference_has_what_there_is() -> None:
    """Kinds that do not occur are left out; what was not compared is counted."""
    assert difference_summary(differing({"a": b"1"}, {"a": b"1"})) == "1 tensor equal"
    found = differing({"a": b"1", "b": b"2", "c": b"3"}, {"b": b"22", "c": b"4", "d": b"5"})
    assert difference_summary(found) == (
        "0 tensors equal, 1 only in A, 1 only in B, 1 of another shape, 1 with other bytes"
    )
    part = replace(found, changes=(), equal=2000, left_out=1500, incomplete=("f",))
    assert difference_summary(part) == (
        "2,000 tensors equal, 1,500 of B left out, 1 file not read whole"
    )
    assert "of another type" in difference_summary(replace(found, changes=(Change("a", "dtype"),)))


def test_left_out_tensors_are_those_of_a_selection() -> None:
    """They are counted where a selection made them so."""
    how = Transform(selection=Selection(exclude=("b",)))
    found = differing({"a": b"1"}, {"a": b"1", "b": b"2"}, transform=how)
    assert difference_summary(found) == "1 tensor equal, 1 of B left out"


# verify


def verdict_of(*findings: Finding, **fields: object) -> Verdict:
    """A verdict with these findings."""
    usual = {"ok": not findings, "depth": "structure", "files": 2, "tensors": 1, "bytes": 0}
    return Verdict(findings=findings, **{**usual, **fields})  # type: ignore[arg-type] # as given


ERROR = Finding("a-code", "error", "bad", "hint")
NOTE = Finding("b-code", "note", "odd", "hint")


def test_the_closing_lines_of_a_sound_checkpoint() -> None:
    """What was found, and what was checked."""
    sound = verdict_of(coverage=Coverage("structure and index"))
    assert closing(sound) == (
        "ok: 2 files, 1 tensor: no problems found",
        "checked: structure and index",
    )
    assert closing(replace(sound, bytes=5000))[0] == (
        "ok: 2 files, 1 tensor, 5.0 KB read: no problems found"
    )


def test_the_closing_lines_count_findings() -> None:
    """By severity, with those that are summed up in one."""
    many = replace(NOTE, count=11)
    assert closing(verdict_of(ERROR, many))[0] == "not ok: 2 files, 1 tensor: 1 error, 11 notes"
    assert closing(verdict_of(NOTE, ok=True))[0] == "ok: 2 files, 1 tensor: 1 note"


def test_what_was_not_checked_is_said_once() -> None:
    """A line that says "only" has given the reason already."""
    missing = (Unchecked("contents", "no checksums"), Unchecked("CRC-32", "not asked"))
    found = verdict_of(coverage=Coverage("names", missing))
    assert closing(found)[1] == "checked: names; not checked: contents, CRC-32"
    only = verdict_of(coverage=Coverage("structure only: no checksums", missing))
    assert closing(only)[1] == "checked: structure only: no checksums"


def test_quiet_says_what_makes_the_check_fail() -> None:
    """Errors, and with `strict` warnings too."""
    warning = replace(NOTE, severity="warning")
    found = verdict_of(ERROR, NOTE, warning)
    assert said(found, quiet=False) == (ERROR, NOTE, warning)
    assert said(found, quiet=True) == (ERROR,)
    assert said(replace(found, failing=("error", "warning")), quiet=True) == (ERROR, warning)


def test_a_verdict_is_drawn(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiet, of a sound checkpoint nothing is, and of another one the closing lines are not."""
    monkeypatch.setenv("TERM", "dumb")
    sound = verify(store, "m", Thoroughness())
    assert verdict(sound, store, quiet=True) == ""
    assert verdict(sound, store, quiet=False).startswith("ok: 1 file, 6 tensors")
    put(store, "m/model.safetensors", get(store, "m/model.safetensors")[:-1])
    damaged = verify(store, "m", Thoroughness())
    quiet = verdict(damaged, store, quiet=True)
    assert "error file-truncated" in quiet
    assert "not ok" not in quiet
    assert "not ok" in verdict(damaged, store, quiet=False)


def test_rows_are_made_one_by_one(store: MemoryStore) -> None:
    """A row is there before the next one is asked for: there may be a million."""
    rows = inspection_rows(inspect_all(store, "m", key=None), top=None)
    assert next(iter(rows)).startswith("name\t")
    assert json.loads(next(iter(rows)).split("\t")[2]) == [100]
