"""The tree of a pipeline: where components go, the files in none, and the lists of checksums."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from shardctl.checksums import format_checksums, parse_checksums
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.tree import Listed, Part, Tree
from shardctl.commands.target.resolve import Target
from shardctl.commands.write import write
from shardctl.engine.journal.records import NoRecords
from shardctl.engine.run import RunOptions
from shardctl.engine.space import SLACK_BYTES
from shardctl.errors import TargetExistsError, UsageError
from shardctl.planning.request import Limits, WriteOptions
from shardctl.source.pipeline.components import find_pipeline
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put, weights
from tests.support.pipelines import OTHERS, WEIGHTS, pipeline

TWO = WriteOptions(limits=Limits(max_shard_bytes=150))
SAME = replace(TWO, replace="same")
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def store() -> MemoryStore:
    """The pipeline `p`."""
    return pipeline(MemoryStore())


def tree_of(store: MemoryStore, source: str = "p", target: str = "t") -> Tree:
    """The tree of a pipeline on its way to a directory."""
    found = find_pipeline(store, source)
    assert found is not None
    return Tree(source, found, store, store, Target(target, None))


def parts_of(tree: Tree, options: WriteOptions = TWO) -> list[Part]:
    """The runs of its components."""
    store = tree.target_store
    return [
        Part(
            name,
            prepare(
                store,
                tree.source_of(name),
                store,
                tree.target_of(name),
                options,
                finish=True,
                apart=tree.apart,
            ),
        )
        for name in tree.names
    ]


def rest_of(tree: Tree, parts: list[Part], options: WriteOptions = TWO) -> Part:
    """The run of the files in no component."""
    around = tree.around(parts, options)
    prepared = tree.rest(parts, around, options, NoRecords(), compare=True)
    return Part("", prepared, has_weights=False)


def listed(store: MemoryStore, target: str = "p") -> Listed:
    """All runs of the pipeline into a directory, in place unless into another."""
    tree = tree_of(store, target=target)
    parts = parts_of(tree, SAME)
    return tree.with_sums([*parts, rest_of(tree, parts, SAME)], SAME)


def sums(store: MemoryStore, directory: str, *names: str) -> bytes:
    """A file of the digests that files below a directory have."""
    lines = {name: hashlib.sha256(get(store, f"{directory}/{name}")).hexdigest() for name in names}
    return format_checksums(lines)


# where components are, and go


def test_components_keep_their_places(store: MemoryStore) -> None:
    """Each goes into a directory of its name below the target."""
    tree = tree_of(store)
    assert tree.names == ["text_encoder", "unet", "vae"]
    assert [tree.source_of(name) for name in tree.names] == ["p/text_encoder", "p/unet", "p/vae"]
    assert [tree.target_of(name) for name in tree.names] == ["t/text_encoder", "t/unet", "t/vae"]
    assert tree.apart == {"p/text_encoder", "p/unet", "p/vae"}


@pytest.mark.parametrize("taken", ["t/prior", "t/prior/unet"])
def test_a_file_in_the_way_of_a_component_is_refused(store: MemoryStore, taken: str) -> None:
    """Neither the component's name nor that of a directory above it may be a file."""
    put(store, "p/prior/unet/diffusion_pytorch_model.safetensors", weights({"a": b"1"}))
    tree = tree_of(store)
    assert tree.target_of("prior/unet") == "t/prior/unet"
    put(store, taken, b"")
    with pytest.raises(TargetExistsError, match="is not a directory") as caught:
        tree.target_of("prior/unet")
    assert caught.value.file == taken


@pytest.mark.parametrize("source", ["t/prior", "t/prior/unet"])
def test_the_source_is_never_the_place_of_a_component(source: str) -> None:
    """Nor is it a directory above such a place."""
    store = pipeline(MemoryStore(), source)
    put(store, f"{source}/prior/unet/model.safetensors", weights({"a": b"1"}))
    tree = tree_of(store, source)
    with pytest.raises(UsageError, match="is the source"):
        tree.target_of("prior/unet")
    assert tree.target_of("vae") == "t/vae"


def test_names_of_files_have_the_component_before_them(store: MemoryStore) -> None:
    """Those of the other files are as they are."""
    tree = tree_of(store)
    parts = parts_of(tree)
    assert parts[1].named("config.json") == "unet/config.json"
    assert rest_of(tree, parts).named("model_index.json") == "model_index.json"


# the files in no component


def test_the_index_of_the_pipeline_is_last(store: MemoryStore) -> None:
    """The other files of no component come before it; those of components are not among them."""
    tree = tree_of(store)
    found = tree.around(parts_of(tree), TWO)
    names = list(found.companions)
    assert names[-1] == "model_index.json"
    assert set(names) == {name for name in OTHERS if name.rpartition("/")[0] not in tree.names}
    rest = rest_of(tree, parts_of(tree))
    assert list(rest.prepared.changes.copies) == names
    assert rest.has_files
    assert rest.prepared.plan.shards == ()


def test_files_that_are_there_are_no_run(store: MemoryStore) -> None:
    """Where none is to be copied there is nothing to do, also where the target differs."""
    tree = tree_of(store)
    parts = parts_of(tree)
    options = replace(TWO, replace="same")
    for name in tree.around(parts, options).companions:
        put(store, f"t/{name}", b"mine")
    rest = rest_of(tree, parts, options)
    assert rest.prepared.up_to_date
    assert not rest.has_files
    assert rest.prepared.receipts == ()
    store.remove("t/README.md")
    rest = rest_of(tree, parts, options)
    assert list(rest.prepared.changes.copies) == ["README.md"]
    assert not rest.prepared.up_to_date


def test_a_component_that_is_written_has_files(store: MemoryStore) -> None:
    """Shards are files; without them the copies are."""
    part = parts_of(tree_of(store))[0]
    assert part.has_files
    assert part.prepared.changes.copies
    bare = replace(part.prepared, plan=tree_of(store).plan)
    assert replace(part, prepared=bare).has_files


# lists of checksums


def test_without_lists_the_runs_stay_as_they_are(store: MemoryStore) -> None:
    """Nothing comes before the runs of the components, and nothing is noted."""
    found = listed(store)
    assert [part.name for part in found.parts] == ["text_encoder", "unet", "vae", ""]
    assert found.notes == ()


def test_a_list_above_is_edited_before_all_others(store: MemoryStore) -> None:
    """A run of no other files removes the lines of what will be replaced, and says so."""
    others = [path for path in WEIGHTS if path != UNET]
    put(store, "p/SHA256SUMS", sums(store, "p", *WEIGHTS))
    first, *rest = listed(store).parts
    assert (first.name, first.has_weights, first.has_files) == ("", False, False)
    assert not first.prepared.up_to_date
    assert first.prepared.changes.sums == {"SHA256SUMS": sums(store, "p", *others)}
    assert first.prepared.room.needed == len(sums(store, "p", *others)) + SLACK_BYTES
    assert [part.name for part in rest] == ["text_encoder", "unet", "vae", ""]
    assert listed(store).notes == (
        "the lines of files that are replaced or removed go from SHA256SUMS",
    )
    write(store, store, first.prepared, RunOptions(jobs=1), Silent())
    assert get(store, "p/SHA256SUMS") == sums(store, "p", *others)
    assert listed(store).parts[0].name == "text_encoder"


def test_another_list_is_another_run(store: MemoryStore) -> None:
    """The run for the lists goes on only where it was interrupted with the same ones."""
    put(store, "p/SHA256SUMS", sums(store, "p", *WEIGHTS))
    one = listed(store).parts[0].prepared
    assert listed(store).parts[0].prepared.identity == one.identity
    put(store, "p/SHA256SUMS", b"# a comment\n" + sums(store, "p", *WEIGHTS))
    assert listed(store).parts[0].prepared.identity != one.identity


def test_a_list_of_a_component_is_edited_by_its_run(store: MemoryStore) -> None:
    """It changes together with the files of the component, and no run comes before."""
    put(store, "p/unet/SHA256SUMS", sums(store, "p/unet", UNET.partition("/")[2], "config.json"))
    found = listed(store)
    assert [part.name for part in found.parts] == ["text_encoder", "unet", "vae", ""]
    edited = found.parts[1].prepared.changes.sums["SHA256SUMS"]
    assert set(parse_checksums(edited)) == {"config.json"}
    assert all("SHA256SUMS" not in note for note in found.notes)  # the run has that note


def test_a_list_of_a_component_loses_the_lines_of_one_within_it(store: MemoryStore) -> None:
    """Its run removes those as well, so that no run comes before."""
    inner = "adapter/adapter_model.safetensors"
    put(store, f"p/unet/{inner}", weights({"c": b"3" * 100, "d": b"4" * 100}))
    names = (UNET.partition("/")[2], inner, "config.json")
    put(store, "p/unet/SHA256SUMS", sums(store, "p/unet", *names))
    found = {part.name: part.prepared.changes for part in listed(store).parts}
    assert list(found) == ["text_encoder", "unet", "unet/adapter", "vae", ""]
    assert set(parse_checksums(found["unet"].sums["SHA256SUMS"])) == {"config.json"}
    assert found["unet"].superseded == (UNET.partition("/")[2],)
    assert found["unet/adapter"].sums == {}


def test_a_list_of_a_component_that_is_up_to_date_is_edited_before(store: MemoryStore) -> None:
    """Its own run would not be carried out."""
    inner = "vae/adapter/adapter_model.safetensors"
    put(store, f"p/{inner}", weights({"c": b"3" * 100, "d": b"4" * 100}))
    names = ("adapter/adapter_model.safetensors", "config.json")
    put(store, "p/vae/SHA256SUMS", sums(store, "p/vae", *names))
    first, *rest = listed(store).parts
    assert set(first.prepared.changes.sums) == {"vae/SHA256SUMS"}
    assert set(parse_checksums(first.prepared.changes.sums["vae/SHA256SUMS"])) == {"config.json"}
    (vae,) = (part for part in rest if part.name == "vae")
    assert vae.prepared.up_to_date
    assert vae.prepared.changes.sums == {}


def test_the_other_files_edit_no_list(store: MemoryStore) -> None:
    """What their copies replace is removed from the list by the run before all others."""
    put(store, "t/README.md", b"old")
    put(store, "t/SHA256SUMS", sums(store, "t", "README.md"))
    tree = tree_of(store)
    options = replace(SAME, replace_companions=True)
    parts = parts_of(tree, options)
    every = tree.with_sums([*parts, rest_of(tree, parts, options)], options).parts
    assert every[0].prepared.changes.sums == {"SHA256SUMS": b""}
    assert every[-1].prepared.changes.sums == {}
    assert "README.md" in every[-1].prepared.changes.copies
    for part in every:
        write(store, store, part.prepared, RunOptions(jobs=1), Silent())
    assert store.kind("t/SHA256SUMS") is None
    assert get(store, "t/README.md") == OTHERS["README.md"]


def test_a_signed_list_is_noted_and_left(store: MemoryStore) -> None:
    """A list above the components is named once for all runs."""
    signed = b"-----BEGIN PGP SIGNED MESSAGE-----\n" + sums(store, "p", UNET)
    put(store, "p/SHA256SUMS", signed)
    found = listed(store)
    (note,) = found.notes
    assert "SHA256SUMS in the target is signed" in note
    assert [part.name for part in found.parts] == ["text_encoder", "unet", "vae", ""]
