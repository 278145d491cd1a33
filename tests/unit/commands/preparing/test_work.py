"""What a writer does to a pipeline: a run for each component, and one for the rest of the tree."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from shardctl.checksums import format_checksums, parse_checksums
from shardctl.commands.preparing.work import Work, prepare_all, refuse_unfinished
from shardctl.commands.write import write
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import Journal
from shardctl.engine.journal.records import Records, StoredRecords
from shardctl.engine.run import RunOptions
from shardctl.errors import TargetExistsError, UsageError
from shardctl.planning.request import Conversion, Experts, Limits, Selection, WriteOptions
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put, weights
from tests.support.pipelines import OTHERS, WEIGHTS, pipeline, tree

TWO = WriteOptions(limits=Limits(max_shard_bytes=150))
ONE = WriteOptions(limits=Limits())
UNET = "unet/diffusion_pytorch_model"


@pytest.fixture
def store() -> MemoryStore:
    """The pipeline `p`."""
    return pipeline(MemoryStore())


def asked(store: MemoryStore, target: str = "out", options: WriteOptions = TWO, **how: Any) -> Work:
    """What is to be done."""
    return prepare_all(store, "p", store, target, options, **{"finish": True, **how})


def done(
    work: Work, store: MemoryStore, records: Records | None = None, most: int = 9
) -> list[str]:
    """Carry out what is to be done, at most so many runs; return the names of those."""
    todo = [part for part in work.parts if not part.prepared.up_to_date][:most]
    for part in todo:
        write(store, store, part.prepared, RunOptions(jobs=1), Silent(), records=records)
    return [part.name for part in todo]


def recording(store: MemoryStore) -> Records:
    """Records in the store."""
    return StoredRecords(store, "records", lambda path: path)


def test_the_tree_is_kept(store: MemoryStore) -> None:
    """Each component is resharded in its directory, and all other files go along as they are."""
    before = tree(store, "p")
    work = asked(store)
    assert done(work, store) == ["text_encoder", "unet", "vae", ""]
    made = tree(store, "out")
    assert {name: made[name] for name in OTHERS} == OTHERS
    assert {name for name in made if name.startswith("unet/")} == {
        f"{UNET}-00001-of-00003.safetensors",
        f"{UNET}-00002-of-00003.safetensors",
        f"{UNET}-00003-of-00003.safetensors",
        f"{UNET}.safetensors.index.json",
        "unet/config.json",
    }
    assert tree(store, "p") == before
    assert work.path(store) == "out"


def test_it_comes_back(store: MemoryStore) -> None:
    """Split and merged again, every file of the tree is the same, byte for byte."""
    done(asked(store), store)
    back = prepare_all(store, "out", store, "back", ONE, finish=True)
    done(back, store)
    assert tree(store, "back") == tree(store, "p")


def test_the_index_of_the_pipeline_comes_last(store: MemoryStore) -> None:
    """Until every other file is there, no client takes the target for a pipeline."""
    assert asked(store).parts[-1].prepared.companions[-1] == "model_index.json"


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("runs", [1, 2, 3])
def test_the_same_command_goes_on(store: MemoryStore, runs: int, *, kept: bool) -> None:
    """Components that are written are found up to date, by record or by contents."""
    records = recording(store) if kept else None
    names = ["text_encoder", "unet", "vae", ""]
    assert done(asked(store, records=records), store, records, most=runs) == names[:runs]
    again = asked(store, records=records)
    assert not again.up_to_date
    assert done(again, store, records) == names[runs:]
    assert asked(store, records=records).up_to_date


def test_in_place(store: MemoryStore) -> None:
    """With leave to replace, a component that changes is replaced, and nothing else is touched."""
    same = WriteOptions(limits=Limits(max_shard_bytes=150), replace="same")
    before = tree(store, "p")
    with pytest.raises(TargetExistsError, match="is the source itself"):
        asked(store, "p")
    assert done(asked(store, "p", same), store) == ["unet"]
    assert asked(store, "p", same).up_to_date
    after = tree(store, "p")
    assert {name: after[name] for name in OTHERS} == OTHERS
    assert f"{UNET}.safetensors.index.json" in after
    assert f"{UNET}.safetensors" not in after
    back = WriteOptions(limits=Limits(), replace="same")
    done(asked(store, "p", back), store)
    assert tree(store, "p") == before


@pytest.mark.parametrize(
    "what",
    [
        {"selection": Selection(add_prefix="new.")},
        {"experts": Experts("stack")},
        {"key": "state_dict"},
    ],
    ids=["names", "experts", "key"],
)
def test_what_cannot_go_on_in_place(store: MemoryStore, what: dict[str, Any]) -> None:
    """It is refused: a run that goes on could not tell which components were finished."""
    options = WriteOptions(limits=Limits(), replace="same", **what)
    with pytest.raises(UsageError, match="in place"):
        asked(store, "p", options)


def test_a_name_that_no_loader_looks_for(store: MemoryStore) -> None:
    """Files of another name would make a pipeline without components."""
    with pytest.raises(UsageError, match="by the name 'mine'"):
        asked(store, "out", WriteOptions(limits=Limits(), stem="mine"))


def test_new_names_elsewhere(store: MemoryStore) -> None:
    """In another target they are as for any checkpoint."""
    options = WriteOptions(limits=Limits(), selection=Selection(add_prefix="new."))
    done(asked(store, "out", options), store)
    assert "unet/diffusion_pytorch_model.safetensors" in tree(store, "out")


def test_another_pipeline_is_replaced_with_leave_only(store: MemoryStore) -> None:
    """Its components are in the way; their files go, and companions that differ stay."""
    done(asked(store), store)
    put(store, "out/scheduler/scheduler_config.json", b'{"mine": 1}')
    with pytest.raises(TargetExistsError):
        asked(store, options=ONE)
    work = asked(store, options=WriteOptions(limits=Limits(), replace="same"))
    assert any("kept in the target" in note for note in work.notes)
    done(work, store)
    made = tree(store, "out")
    assert made.pop("scheduler/scheduler_config.json") == b'{"mine": 1}'
    assert made.items() <= tree(store, "p").items()
    forced = WriteOptions(limits=Limits(), replace="same", replace_companions=True)
    done(asked(store, options=forced), store)
    assert tree(store, "out") == tree(store, "p")


def test_a_companion_that_differs_is_in_the_way(store: MemoryStore) -> None:
    """All is prepared before anything is written, so nothing is."""
    put(store, "out/model_index.json", b"{}")
    with pytest.raises(TargetExistsError, match="model_index"):
        asked(store)
    assert tree(store, "out") == {"model_index.json": b"{}"}


def test_a_checkpoint_at_the_top_of_the_target_is_in_the_way(store: MemoryStore) -> None:
    """A pipeline is not mixed with another model."""
    put(store, "out/model.safetensors", weights({"a": b"1"}))
    with pytest.raises(TargetExistsError, match="already holds a checkpoint"):
        asked(store)


def test_a_file_cannot_hold_a_pipeline(store: MemoryStore) -> None:
    """The error says how many components there are, and names one."""
    with pytest.raises(UsageError, match="a pipeline of 3 components") as caught:
        asked(store, "out.safetensors", ONE)
    assert "p/text_encoder" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("checkpoint-500/unet/diffusion_pytorch_model.safetensors", "training state"),
        ("v1-5-pruned.safetensors", "weights outside the set"),
        ("lora/style.safetensors", "weights of another checkpoint"),
    ],
)
def test_what_stays_behind_is_named(store: MemoryStore, path: str, reason: str) -> None:
    """Weights of the tree that are of no component are not copied, and a note says so."""
    put(store, f"p/{path}", weights({"a": b"1" * 1000}))
    put(store, "p/checkpoint-500/optimizer.bin", b"x")
    work = asked(store)
    assert any(note.startswith(f"not copied ({reason})") for note in work.notes)
    done(work, store)
    assert path not in tree(store, "out")


def test_without_companions(store: MemoryStore) -> None:
    """Only weights are written; the files of the tree are named in notes."""
    work = asked(store, options=WriteOptions(limits=Limits(), companions="none"))
    assert [part.name for part in work.parts] == ["text_encoder", "unet", "vae"]
    assert "model_index.json" in {each.name for each in work.left}
    assert any("model_index.json" in note for note in work.notes)
    done(work, store)
    assert set(tree(store, "out")) == set(WEIGHTS)


def test_nested_components(store: MemoryStore) -> None:
    """One within another, and one in a directory without weights, are each written once."""
    nested: Mapping[str, bytes] = {
        "text_encoder/adapter/adapter_model.safetensors": weights({"lora": b"1"}),
        "prior/unet/diffusion_pytorch_model.safetensors": weights({"a": b"1"}),
        "prior/model_index.json": b"{}",
        "prior/scheduler/scheduler_config.json": b"{}",
    }
    for path, data in nested.items():
        put(store, f"p/{path}", data)
    work = asked(store, options=ONE)
    assert [note for note in work.notes if "not copied" in note] == []
    done(work, store)
    assert tree(store, "out") == tree(store, "p")


@pytest.mark.parametrize("target", ["p/out", "p/vae", "p/vae/new", "p/scheduler"])
def test_a_target_in_the_pipeline(store: MemoryStore, target: str) -> None:
    """The tree never goes into itself, where it could replace a component and lose its weights."""
    before = tree(store, "p")
    options = WriteOptions(limits=Limits(), replace="all")
    with pytest.raises(UsageError, match="is within the pipeline"):
        asked(store, target, options)
    assert tree(store, "p") == before


@pytest.mark.parametrize("name", ["p", "p/z"])
def test_a_target_above_whose_component_would_be_the_source(name: str) -> None:
    """A component is never written over what another one is read from."""
    store = pipeline(MemoryStore(), "x/p")
    put(store, f"x/p/{name}/model.safetensors", weights({"a": b"1"}))
    with pytest.raises(UsageError, match="is the source"):
        prepare_all(store, "x/p", store, "x", TWO, finish=True)


def test_a_target_above_whose_directory_would_be_the_source() -> None:
    """The same for a directory with other files."""
    store = pipeline(MemoryStore(), "x/scheduler")
    with pytest.raises(UsageError, match="is the source"):
        prepare_all(store, "x/scheduler", store, "x", TWO, finish=True)


def test_options_are_those_of_every_component(store: MemoryStore) -> None:
    """The format changes for all of them, each with the name that its library looks for."""
    done(asked(store, options=WriteOptions(limits=Limits(), format="bin")), store)
    made = tree(store, "out")
    assert {name for name in made if name.endswith(".bin")} == {
        "text_encoder/pytorch_model.bin",
        "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.bin",
    }


def test_a_name_that_one_component_lacks(store: MemoryStore) -> None:
    """A pattern that matches nothing in a component is refused, and nothing is written."""
    options = WriteOptions(limits=Limits(), selection=Selection(include=("up.*",)))
    with pytest.raises(UsageError, match="matches no tensor"):
        asked(store, options=options)
    assert store.kind("out") is None


def test_a_conversion_of_types_that_are_kept(store: MemoryStore) -> None:
    """Integers stay as they are in every component."""
    options = WriteOptions(limits=Limits(), conversion=Conversion("BF16"))
    done(asked(store, options=options), store)
    assert get(store, f"out/{UNET}.safetensors") == get(store, f"p/{UNET}.safetensors")


def sums(store: MemoryStore, directory: str, *names: str) -> bytes:
    """A file of the digests that files below a directory have."""
    lines = {name: hashlib.sha256(get(store, f"{directory}/{name}")).hexdigest() for name in names}
    return format_checksums(lines)


SAME = WriteOptions(limits=Limits(max_shard_bytes=150), replace="same")


def test_a_list_of_checksums_above_the_components(store: MemoryStore) -> None:
    """In place it loses the lines of what is replaced, first of all, and nothing else changes."""
    stays = sums(store, "p", *OTHERS, *(path for path in WEIGHTS if "unet" not in path))
    put(store, "p/SHA256SUMS", b"# mine\n" + sums(store, "p", f"{UNET}.safetensors") + stays)
    work = asked(store, "p", SAME)
    assert "the lines of files that are replaced or removed go from SHA256SUMS" in work.notes
    assert done(work, store, most=1) == [""]
    assert get(store, "p/SHA256SUMS") == b"# mine\n" + stays
    assert f"{UNET}.safetensors" in tree(store, "p")
    assert done(asked(store, "p", SAME), store) == ["unet"]
    assert get(store, "p/SHA256SUMS") == b"# mine\n" + stays
    assert asked(store, "p", SAME).up_to_date


def test_a_list_without_lines_goes(store: MemoryStore) -> None:
    """As in the directory of one model, a list of nothing is removed."""
    put(store, "p/SHA256SUMS", sums(store, "p", f"{UNET}.safetensors"))
    assert done(asked(store, "p", SAME), store) == ["", "unet"]
    assert store.kind("p/SHA256SUMS") is None
    assert not any(".shardctl" in name for name in tree(store, "p"))


@pytest.mark.parametrize("wanted", [False, True])
def test_lists_on_the_way_to_a_component(store: MemoryStore, *, wanted: bool) -> None:
    """Each is edited, those of components by their own runs; digests go beside the files."""
    files = {"prior/unet/model.safetensors": {"a": b"1" * 100, "b": b"2" * 100}}
    files["unet/adapter/adapter_model.safetensors"] = {"c": b"3" * 100, "d": b"4" * 100}
    for path, tensors in files.items():
        put(store, f"p/{path}", weights(tensors))
    put(store, "p/prior/notes.txt", b"x")
    for home, names in {
        "p/prior": ("unet/model.safetensors", "notes.txt"),
        "p/unet": (
            "diffusion_pytorch_model.safetensors",
            "adapter/adapter_model.safetensors",
            "config.json",
        ),
        "p/unet/adapter": ("adapter_model.safetensors",),
    }.items():
        put(store, f"{home}/SHA256SUMS", sums(store, home, *names))
    options = replace(SAME, checksums=wanted)
    done(asked(store, "p", options), store)
    listed = {
        name: set(parse_checksums(data))
        for name, data in tree(store, "p").items()
        if name.endswith("SHA256SUMS")
    }
    assert listed.pop("prior/SHA256SUMS") == {"notes.txt"}
    assert "config.json" in listed["unet/SHA256SUMS"]
    if wanted:
        assert "diffusion_pytorch_model-00001-of-00003.safetensors" in listed["unet/SHA256SUMS"]
    for name, inside in listed.items():
        home = f"p/{name.removesuffix('/SHA256SUMS')}"
        assert get(store, f"p/{name}") == sums(store, home, *inside)
    assert set(listed) == {
        "unet/SHA256SUMS",
        *(("unet/adapter/SHA256SUMS", "prior/unet/SHA256SUMS") if wanted else ()),
        *(("vae/SHA256SUMS", "text_encoder/SHA256SUMS") if wanted else ()),
    }


def test_a_nested_component_is_replaced_alone(store: MemoryStore) -> None:
    """The list of the one that it is in loses its lines, though that one is up to date."""
    path = "vae/adapter/adapter_model.safetensors"
    put(store, f"p/{path}", weights({"c": b"3" * 100, "d": b"4" * 100}))
    names = ("diffusion_pytorch_model.safetensors", "adapter/adapter_model.safetensors")
    put(store, "p/vae/SHA256SUMS", sums(store, "p/vae", *names))
    assert done(asked(store, "p", SAME), store) == ["", "unet", "vae/adapter"]
    assert get(store, "p/vae/SHA256SUMS") == sums(store, "p/vae", names[0])


def test_a_list_in_another_target(store: MemoryStore) -> None:
    """It loses the lines of components and of companions that are replaced; others stay."""
    done(asked(store), store)
    put(store, "out/README.md", b"other")
    put(store, "out/extra", b"x")
    every = (*tree(store, "out"),)
    put(store, "out/SHA256SUMS", sums(store, "out", *every))
    done(asked(store, options=replace(SAME, limits=Limits(), replace_companions=True)), store)
    left = set(parse_checksums(get(store, "out/SHA256SUMS")))
    assert get(store, "out/SHA256SUMS") == sums(store, "out", *left)
    assert {"extra", "model_index.json", "vae/config.json"} <= left
    assert not {"README.md", f"{UNET}-00001-of-00003.safetensors"} & left


@pytest.mark.parametrize("home", ["", "prior/"])
def test_a_signed_list_is_left_alone(store: MemoryStore, home: str) -> None:
    """A note names it."""
    put(store, "p/prior/unet/model.safetensors", weights({"a": b"1" * 100, "b": b"2" * 100}))
    put(store, f"p/{home}SHA256SUMS", b"-----BEGIN PGP SIGNED MESSAGE-----\n")
    work = asked(store, "p", SAME)
    assert any(f"{home}SHA256SUMS in the target is signed" in note for note in work.notes)
    assert done(work, store) == ["prior/unet", "unet"]


def test_a_list_above_a_pipeline_within_another() -> None:
    """Where only the inner one is the target, the outer one's list stays, and a note says so."""
    store = pipeline(MemoryStore(), "x/p")
    put(store, "x/model_index.json", b"{}")
    put(store, "x/SHA256SUMS", sums(store, "x", f"p/{UNET}.safetensors"))
    work = prepare_all(store, "x/p", store, "x/p", SAME, finish=True)
    stale = [note for note in work.notes if "lists files that are replaced here" in note]
    assert len(stale) == 1
    assert stale[0].startswith("'x/SHA256SUMS'")
    assert done(work, store) == ["unet"]


def test_a_list_that_changes_before_the_work(store: MemoryStore) -> None:
    """What another program wrote there in the meantime is not lost: nothing is written."""
    put(store, "p/SHA256SUMS", sums(store, "p", f"{UNET}.safetensors"))
    work = asked(store, "p", SAME)
    put(store, "p/SHA256SUMS", b"new")
    with pytest.raises(TargetExistsError, match="changed during this run"):
        done(work, store)
    assert f"{UNET}.safetensors" in tree(store, "p")


def begun(store: MemoryStore, name: str, options: WriteOptions) -> None:
    """Leave an unfinished run into one component of `out`."""
    (part,) = (part for part in asked(store, options=options).parts if part.name == name)
    with Staging.make(store, f"out/{name}") as staging:
        Journal(staging).begin(part.prepared.identity, ["x"])


def test_an_unfinished_run_with_other_options(store: MemoryStore) -> None:
    """It is found before any component is written, unless it is the same, or to be discarded."""
    store.make_directory("out/vae")
    begun(store, "vae", replace(ONE, checksums=True))
    work = asked(store)
    with pytest.raises(TargetExistsError, match="'out/vae' holds an unfinished run with other"):
        refuse_unfinished(store, work, restart=False)
    refuse_unfinished(store, work, restart=True)
    begun(store, "vae", TWO)
    refuse_unfinished(store, work, restart=False)
