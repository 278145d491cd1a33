"""Which of the other files go along, and what becomes of those that the target has already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.errors import SourceChangedError, TargetExistsError, UsageError
from shardctl.planning.request import Companions, Conversion, Limits, WriteOptions
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import Silent
from shardctl.testing.builders import safetensors_bytes
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put, sample, weights
from tests.support.odd_files import ODD, Odd, make_odd

SINGLE = WriteOptions(limits=Limits())


def planned(
    store: MemoryStore, source: str, target: str, options: WriteOptions = SINGLE
) -> Prepared:
    """What would be done."""
    return prepare(store, source, store, target, options, finish=True)


@pytest.fixture
def store() -> MemoryStore:
    """A model with a file of every sort beside it."""
    store = MemoryStore()
    sample(store, nbytes=1000)
    for name in (
        "1_Pooling/config.json",
        "head.bin",
        "optimizer.pt",
        "trainer_state.json",
        "pytorch_model.bin",
        "model-00001-of-00002.safetensors",
        "onnx/model.onnx",
        ".git/config",
        "SHA256SUMS",
    ):
        put(store, f"m/{name}", b"x")
    return store


@pytest.mark.parametrize(
    ("how", "along"),
    [
        ("none", set()),
        ("auto", {"1_Pooling/config.json", "config.json", "head.bin"}),
        (
            "all",
            {
                "1_Pooling/config.json", "config.json", "head.bin", "optimizer.pt",
                "trainer_state.json", "pytorch_model.bin", "onnx/model.onnx", ".git/config",
            },
        ),
    ],
)  # fmt: skip
def test_each_goes_along_or_is_named(store: MemoryStore, how: Companions, along: set[str]) -> None:
    """Whatever does not go along is named; training state goes along whole or not at all."""
    prepared = planned(store, "m/model.safetensors", "t", replace(SINGLE, companions=how))
    assert set(prepared.companions) == along
    left = {each.name for each in prepared.not_carried}
    tops = {name.split("/")[0] for name in along}
    every = {entry.name for entry in store.list("m")} - {"model.safetensors"}
    assert left == every - tops
    assert all(any(each.title in note for note in prepared.notes) for each in prepared.not_carried)


def test_the_target_is_one_file(store: MemoryStore) -> None:
    """Into one file nothing else goes, and of a directory that is said."""
    for name in ("pytorch_model.bin", "model-00001-of-00002.safetensors"):
        store.remove(f"m/{name}")
    prepared = planned(store, "m", "t/x.safetensors")
    assert prepared.companions == ()
    reasons = {each.name: each.reason for each in prepared.not_carried}
    assert reasons["config.json"] == "the target is one file"
    assert reasons["optimizer.pt"] == "training state"
    assert planned(store, "m/model.safetensors", "t/x.safetensors").not_carried == ()


def test_in_the_same_directory_nothing_stays_behind(store: MemoryStore) -> None:
    """Where the result is written beside the source, every other file is where it was."""
    in_place = replace(SINGLE, replace="same", stem="model")
    prepared = planned(store, "m/model.safetensors", "m/x.safetensors", in_place)
    assert (prepared.companions, prepared.not_carried) == ((), ())


def test_a_file_among_unrelated_ones_has_no_companions() -> None:
    """A file that is named in a directory that is not a model's is taken alone."""
    store = MemoryStore()
    sample(store, "downloads")
    store.remove("downloads/config.json")
    put(store, "downloads/taxes.pdf", b"x")
    prepared = planned(store, "downloads/model.safetensors", "t")
    assert (prepared.companions, prepared.not_carried) == ((), ())


def test_an_index_has_companions() -> None:
    """Where SOURCE is an index, its directory is a model's whatever else is there."""
    store = MemoryStore()
    sample(store)
    split = replace(SINGLE, limits=Limits(num_shards=2), companions="none")
    write(store, store, planned(store, "m", "s", split), RunOptions(jobs=1), Silent())
    put(store, "s/notes.txt", b"x")
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        assert planned(store, f"s/{name}", "t").companions == ("notes.txt",)


def test_a_target_within_the_source_is_not_copied_into_itself() -> None:
    """A target below the source directory is not a companion, at whatever depth."""
    store = MemoryStore()
    sample(store)
    put(store, "m/out/deep/old.txt", b"x")
    put(store, "m/1_Pooling/config.json", b"{}")
    prepared = planned(store, "m", "m/out/deep")
    assert prepared.companions == ("1_Pooling/config.json", "config.json")


def test_a_companion_is_not_written_over_the_source() -> None:
    """A directory of the source's own name in it, and a target above: the two would be one."""
    store = MemoryStore()
    put(store, "x/m/model.safetensors", weights({"a": b"1"}))
    put(store, "x/m/config.json", b"old")
    put(store, "x/m/m/config.json", b"new")
    forced = replace(SINGLE, replace="same", replace_companions=True)
    with pytest.raises(UsageError, match="is the source"):
        planned(store, "x/m", "x", forced)


def test_a_companion_of_a_new_files_name_stays() -> None:
    """A file whose name the result takes is not copied over it, and is named."""
    store = MemoryStore()
    sample(store, nbytes=1000)
    put(store, "m/head.safetensors", b"x")
    prepared = planned(store, "m", "t", replace(SINGLE, stem="head"))
    assert [each.name for each in prepared.not_carried] == ["head.safetensors"]


def test_files_of_equal_names_in_two_directories_are_told_apart() -> None:
    """A change of one of two files called `config.json` is work for the next run."""
    store = MemoryStore()
    sample(store)
    put(store, "m/1_Pooling/config.json", b"{1}")
    prepared = planned(store, "m", "t")
    assert {"config.json", "1_Pooling/config.json"} <= set(prepared.identity.sources)
    write(store, store, prepared, RunOptions(jobs=1), Silent())
    assert get(store, "t/1_Pooling/config.json") == b"{1}"
    assert planned(store, "m", "t").up_to_date
    put(store, "m/1_Pooling/config.json", b"{2}")
    with pytest.raises(TargetExistsError):
        planned(store, "m", "t")


def test_a_link_in_the_target_is_in_the_way(tmp_path: Path) -> None:
    """Where a sub-directory of the target is a link, nothing is written through it."""
    memory, local = MemoryStore(), LocalStore()
    sample(memory)
    put(memory, "m/1_Pooling/config.json", b"{}")
    (tmp_path / "outside").mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "1_Pooling").symlink_to(tmp_path / "outside")
    with pytest.raises(TargetExistsError, match="is a link"):
        prepare(memory, "m", local, str(tmp_path / "t"), SINGLE, finish=True)


@pytest.mark.parametrize("what", ODD)
def test_what_is_not_a_file_is_in_the_way_of_a_companion(tmp_path: Path, what: Odd) -> None:
    """It is named before the work, and nothing is said to replace it."""
    memory, local = MemoryStore(), LocalStore()
    sample(memory)
    put(memory, "m/1_Pooling/config.json", b"{}")
    path = tmp_path / "t" / "1_Pooling" / "config.json"
    path.parent.mkdir(parents=True)
    make_odd(path, what)
    options = replace(SINGLE, replace="same", replace_companions=True)
    with pytest.raises(TargetExistsError, match="a new file belongs in its place") as caught:
        prepare(memory, "m", local, str(tmp_path / "t"), options, finish=True)
    assert "replace" not in caught.value.hint


def test_permissions_go_along(tmp_path: Path) -> None:
    """A new target, its sub-directories and the files in it are for no more users than in the
    source.
    """
    store = LocalStore()
    model = tmp_path / "m"
    (model / "sub" / "deep").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(weights({"a": b"1"}))
    (model / "sub" / "deep" / "token").write_bytes(b"secret")
    (model / "sub" / "deep" / "token").chmod(0o600)
    (model / "sub" / "deep").chmod(0o700)
    (model / "sub").chmod(0o750)
    model.chmod(0o710)
    target = tmp_path / "new" / "t"
    prepared = prepare(store, str(model), store, str(target), SINGLE, finish=True)
    write(store, store, prepared, RunOptions(jobs=1), Silent())
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in (
            target,
            target / "sub",
            target / "sub" / "deep",
            target / "sub" / "deep" / "token",
        )
    }
    assert modes == {"t": 0o710, "sub": 0o750, "deep": 0o700, "token": 0o600}
    assert sorted(path.name for path in target.iterdir()) == ["model.safetensors", "sub"]


BF16 = WriteOptions(limits=Limits(), conversion=Conversion("BF16"))
BEFORE, AFTER = b'{"a": 1, "dtype": "float32"}\n', b'{"a": 1, "dtype": "bfloat16"}\n'


@pytest.fixture
def floats() -> MemoryStore:
    """A model of floats, with a configuration that names their type."""
    store = MemoryStore()
    put(store, "m/model.safetensors", safetensors_bytes({"a": ("F32", [2], bytes(8))}))
    put(store, "m/config.json", BEFORE)
    return store


def run(store: MemoryStore, target: str, options: WriteOptions) -> Prepared:
    """Do it; return what was done."""
    prepared = planned(store, "m", target, options)
    if not prepared.up_to_date:
        write(store, store, prepared, RunOptions(jobs=1), Silent())
    return prepared


def test_the_configuration_follows_a_conversion(floats: MemoryStore) -> None:
    """The copy names the new type, with a note, and is found up to date by its contents."""
    done = run(floats, "t", BF16)
    assert get(floats, "t/config.json") == AFTER
    assert get(floats, "m/config.json") == BEFORE
    assert any("config.json" in note for note in done.notes)
    assert run(floats, "t", BF16).up_to_date
    put(floats, "t/config.json", BEFORE)
    with pytest.raises(TargetExistsError, match=r"config\.json"):
        planned(floats, "m", "t", BF16)


@pytest.mark.parametrize("forced", [False, True])
def test_a_configuration_of_the_target(floats: MemoryStore, *, forced: bool) -> None:
    """One that differs from the new copy is kept, unless companions are to be replaced."""
    put(floats, "t/config.json", BEFORE)
    options = replace(BF16, replace="same", replace_companions=forced)
    done = run(floats, "t", options)
    assert get(floats, "t/config.json") == (AFTER if forced else BEFORE)
    assert any(note.startswith("kept in the target") for note in done.notes) is not forced


def test_a_configuration_in_place(floats: MemoryStore) -> None:
    """It is not a copy and stays, and a note says that it names another type."""
    done = run(floats, "m", replace(BF16, replace="same"))
    assert get(floats, "m/config.json") == BEFORE
    assert any("config.json is left as it is" in note for note in done.notes)


def test_a_configuration_that_changes_in_between(floats: MemoryStore) -> None:
    """It is noticed: the edits are those of the version that was read."""
    prepared = planned(floats, "m", "t", BF16)
    put(floats, "m/config.json", b'{"dtype": "float16", "b": 2}')
    with pytest.raises(SourceChangedError):
        write(floats, floats, prepared, RunOptions(jobs=1), Silent())
