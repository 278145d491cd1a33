"""A saved plan is applied to the source that it was made from, to a copy of it, and to no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from shardctl.checksums import format_checksums
from shardctl.commands.documents import dump
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.commands.saved.plan_document import plan_document
from shardctl.commands.saved.planned import (
    known_contents,
    planned_beside,
    planned_companions,
    planned_sources,
    prepare_planned,
    read_plan_file,
)
from shardctl.commands.saved.sharing import Share, commit, write_share
from shardctl.commands.write import write
from shardctl.engine.journal.records import NoRecords, StoredRecords
from shardctl.engine.run import RunOptions
from shardctl.errors import (
    FormatError,
    InputError,
    MissingError,
    SourceChangedError,
    TargetExistsError,
    UsageError,
)
from shardctl.formats.limits import MAX_PLAN_BYTES
from shardctl.model import Version
from shardctl.planning.request import Limits, Replace, WriteOptions
from shardctl.planning.saved.plan_file import PlanFile, PlannedFile, PlannedRun, parse_plan_file
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Traffic
from shardctl.streams.progress import Silent
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryReader, MemoryStore
from shardctl.testing.place import Place
from tests.support.buckets import CutError, Fragile, files, state, unlock
from tests.support.buckets import sample as fill
from tests.support.memory_checkpoints import get, put, sample, weights
from tests.support.pipelines import pipeline, tree

ONE = WriteOptions(limits=Limits())
BY_3 = WriteOptions(limits=Limits(num_shards=3))
IN_PLACE = replace(BY_3, replace="same")
WEIGHTS = "m/model.safetensors"


class Far(MemoryStore):
    """A store across a network, as far as it says."""

    at_once = 8

    def traffic(self) -> Traffic:
        """Count nothing."""
        return Traffic()


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m` of six tensors, and a config."""
    store = MemoryStore()
    sample(store)
    return store


def copied(store: MemoryStore, source: str, target: str) -> None:
    """Copy a directory: new files, of other versions."""
    for name, data in tree(store, source).items():
        put(store, f"{target}/{name}", data)


def saved(
    store: MemoryStore, source: str = "m", target: str = "t", options: WriteOptions = BY_3
) -> PlanFile:
    """A plan that was saved and read again."""
    put(store, "plan.json", document(store, source, target, options))
    return read_plan_file(store, "plan.json")


def document(
    store: MemoryStore, source: str = "m", target: str = "t", options: WriteOptions = BY_3
) -> bytes:
    """The file of a plan."""
    work = prepare_all(store, source, store, target, options, finish=False)
    return "".join(dump(plan_document("split", work, store, store))).encode()


def applied(
    plan: PlanFile,
    store: Store,
    *sources: str,
    target: str = "t",
    replace_what: Replace = "nothing",
    **how: Any,
) -> Work:
    """What applying a plan would do, to `m` unless to other sources."""
    options = plan.options_for(replace_what, replace_companions=False)
    how = {"records": NoRecords(), **how}
    return prepare_planned(plan, store, sources or ("m",), store, target, options, **how)


def run_of(plan: PlanFile) -> PlannedRun:
    """The one run of a plan."""
    return plan.runs[""]


def known_by(plan: PlanFile, marks: dict[str, str]) -> PlanFile:
    """The plan, had a server given these marks to its files."""

    def marked(files: tuple[PlannedFile, ...]) -> tuple[PlannedFile, ...]:
        return tuple(
            replace(file, content=("version", marks.get(file.name, "other"))) for file in files
        )

    run = run_of(plan)
    run = replace(run, sources=marked(run.sources), companions=marked(run.companions))
    return replace(plan, runs={"": run})


# what a plan says of its files


def test_a_plan_is_read_from_its_file(store: MemoryStore) -> None:
    """What was saved is what is read, and it names the source and the target as they were given."""
    plan = saved(store)
    assert (plan.sources, plan.target, plan.is_pipeline) == (("m",), "t", False)
    assert plan.options.limits == BY_3.limits
    assert plan == parse_plan_file(document(store), "other.json")


def test_what_is_not_a_file_is_not_a_plan(store: MemoryStore) -> None:
    """A path without a file, and a directory, are errors of the input."""
    with pytest.raises(MissingError):
        read_plan_file(store, "plan.json")
    with pytest.raises(InputError):
        read_plan_file(store, "m")


def test_a_file_larger_than_any_plan_is_not_read() -> None:
    """One byte more than any plan has is refused unread, with the file; the limit is read."""

    class Large(MemoryStore):
        nbytes = MAX_PLAN_BYTES + 1

        def open(self, path: str) -> MemoryReader:
            reader = super().open(path)
            reader.version = Version(self.nbytes, "")
            return reader

    store = Large()
    put(store, "a\nplan", b"{}")
    with pytest.raises(FormatError, match=r"'a\\nplan' has .* more than any plan") as caught:
        read_plan_file(store, "a\nplan")
    assert (caught.value.code, caught.value.file) == ("plan-invalid", "a\nplan")
    store.nbytes = MAX_PLAN_BYTES
    with pytest.raises(SourceChangedError):  # it is shorter than it said
        read_plan_file(store, "a\nplan")


def test_files_are_known_by_their_contents(store: MemoryStore) -> None:
    """A copy in another directory, written later, is described in the same words."""
    copied(store, "m", "copy")
    here = prepare(store, "m", store, "t", BY_3, finish=False)
    there = prepare(store, "copy", store, "t", BY_3, finish=False)
    (weights_file,) = planned_sources(store, here.located, here.checkpoint)
    assert (weights_file.name, weights_file.size) == (
        "model.safetensors",
        len(get(store, WEIGHTS)),
    )
    assert weights_file.content[0] == "sample"
    assert list(planned_sources(store, there.located, there.checkpoint)) == [weights_file]
    (config,) = planned_companions(store, here)
    assert (config.name, config.size, config.header_sha256) == ("config.json", 2, "")
    assert list(planned_companions(store, there)) == [config]
    put(store, "copy/config.json", b"[]")
    assert list(planned_companions(store, there)) != [config]


def test_files_of_a_server_are_known_by_its_mark() -> None:
    """Across a network the version that the server gave is what a file is known by."""
    store = Far()
    sample(store)
    ready = prepare(store, "m", store, "t", BY_3, finish=False)
    (file,) = planned_sources(store, ready.located, ready.checkpoint)
    assert file.content == ("version", store.version(WEIGHTS).mark)
    (config,) = planned_companions(store, ready)
    assert config.content == ("version", store.version("m/config.json").mark)


def test_only_files_of_no_component_are_beside() -> None:
    """Of a pipeline those are the files of the tree; of a checkpoint there are none."""
    store = pipeline(MemoryStore())
    work = prepare_all(store, "p", store, "t", ONE, finish=False)
    beside = [file.name for file in planned_beside(store, work)]
    assert beside == [
        "README.md",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "model_index.json",
    ]
    sample(store)
    work = prepare_all(store, "m", store, "t", BY_3, finish=False)
    assert list(planned_beside(store, work)) == []


def test_known_contents_tell_files_apart(store: MemoryStore) -> None:
    """A shared run knows each file by size, header and contents: another of any is another run."""
    run = run_of(saved(store))
    known = known_contents(run)
    assert set(known) == {"model.safetensors", "config.json"}
    (file,) = run.sources
    assert known["model.safetensors"].size == file.size
    for other in (
        replace(file, size=file.size + 1),
        replace(file, header_sha256="0" * 64),
        replace(file, content=("sample", "0" * 64)),
        replace(file, content=("version", file.content[1])),
    ):
        assert known_contents(replace(run, sources=(other,))) != known
    assert known["config.json"].mark == " ".join(run.companions[0].content)


# the source


def test_a_plan_gives_the_work_that_it_was_made_for(store: MemoryStore) -> None:
    """Applied to its source it has the same id, and no note of a comparison that lacks."""
    plan = saved(store)
    work = applied(plan, store)
    (part,) = work.parts
    assert part.prepared.plan.id == run_of(plan).plan_id
    assert [shard.filename for shard in part.prepared.plan.shards] == [
        f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)
    ]
    assert part.prepared.notes == ()


def test_a_copy_is_as_good_as_the_source(store: MemoryStore) -> None:
    """Another directory, later times and another target do not matter."""
    plan = saved(store)
    copied(store, "m", "deep/copy")
    work = applied(plan, store, "deep/copy", target="deep/target")
    assert work.parts[0].prepared.plan.id == run_of(plan).plan_id


def renamed(store: MemoryStore) -> None:
    """Give the weights a free name."""
    put(store, "m/other.safetensors", get(store, WEIGHTS))
    store.remove(WEIGHTS)


CHANGES: dict[str, tuple[Callable[[MemoryStore], object], str, str]] = {
    "header": (
        lambda store: put(store, WEIGHTS, get(store, WEIGHTS).replace(b"layer.0", b"layer.9")),
        "model.safetensors",
        "has another header",
    ),
    "bytes": (
        lambda store: put(store, WEIGHTS, get(store, WEIGHTS)[:-1] + b"!"),
        "model.safetensors",
        "has other contents",
    ),
    "size": (
        lambda store: put(store, WEIGHTS, weights({"a": b"1"})),
        "model.safetensors",
        "bytes, and had",
    ),
    "name": (renamed, "model.safetensors", "is in the plan, and is not read now"),
    "companion": (
        lambda store: put(store, "m/config.json", b"[]"),
        "config.json",
        "has other contents",
    ),
    "companion's size": (
        lambda store: put(store, "m/config.json", b"{ }"),
        "config.json",
        "has 3 bytes, and had 2",
    ),
    "a companion more": (
        lambda store: put(store, "m/z.json", b"{}"),
        "z.json",
        "is not in the plan",
    ),
    "a companion less": (
        lambda store: store.remove("m/config.json"),
        "config.json",
        "is in the plan, and is not read now",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_source_that_changed_is_refused(store: MemoryStore, name: str) -> None:
    """Whatever differs, the error names the file as the plan does, and what to do."""
    plan = saved(store)
    change, file, said = CHANGES[name]
    change(store)
    with pytest.raises(SourceChangedError) as caught:
        applied(plan, store)
    assert caught.value.file == file
    assert said in caught.value.message
    assert f"'{file}'" in caught.value.message
    assert caught.value.hint
    assert store.kind("t") is None


def test_a_shard_more_or_less_is_refused(store: MemoryStore) -> None:
    """The shards are those of the plan, in their order, and as many."""
    for number in (1, 2):
        data = weights({f"layer.{number}": b"1234"})
        put(store, f"s/model-0000{number}-of-00002.safetensors", data)
    plan = saved(store, "s", options=ONE)
    first = "s/model-00001-of-00002.safetensors"
    put(store, "one/model.safetensors", get(store, first))
    with pytest.raises(SourceChangedError, match="is in the plan, and is not read now") as caught:
        applied(plan, store, "one")
    assert caught.value.file == "model-00001-of-00002.safetensors"
    run = run_of(plan)
    fewer = replace(plan, runs={"": replace(run, sources=run.sources[:1])})
    with pytest.raises(SourceChangedError, match="is not in the plan") as caught:
        applied(fewer, store, "s")
    assert caught.value.file == "model-00002-of-00002.safetensors"


def test_a_source_is_looked_at_before_the_options(store: MemoryStore) -> None:
    """What the options ask for and another source cannot give is not the error that is shown."""
    plan = saved(store, options=replace(BY_3, limits=Limits(num_shards=6)))
    put(store, WEIGHTS, weights({"one": b"1"}))
    with pytest.raises(SourceChangedError):
        applied(plan, store)


def test_headers_are_compared_before_any_contents(store: MemoryStore) -> None:
    """A file with another header is what is named, though the contents of one before it differ."""
    first, second = "s/model-00001-of-00002.safetensors", "s/model-00002-of-00002.safetensors"
    put(store, first, weights({"a": b"1234"}))
    put(store, second, weights({"b": b"1234"}))
    plan = saved(store, "s", options=ONE)
    put(store, first, weights({"a": b"5678"}))
    with pytest.raises(SourceChangedError, match="other contents") as caught:
        applied(plan, store, "s")
    assert caught.value.file == "model-00001-of-00002.safetensors"
    put(store, second, weights({"c": b"1234"}))
    with pytest.raises(SourceChangedError, match="another header") as caught:
        applied(plan, store, "s")
    assert caught.value.file == "model-00002-of-00002.safetensors"


def test_sources_that_are_joined_are_all_compared(store: MemoryStore) -> None:
    """A plan that joins files needs each of them, in their order."""
    for name in "ab":
        put(store, f"j/{name}.safetensors", weights({name: b"1234"}))
    one, other = "j/a.safetensors", "j/b.safetensors"
    work = prepare_all(store, one, store, "t", ONE, finish=False, more_sources=[other])
    text = "".join(dump(plan_document("merge", work, store, store)))
    plan = parse_plan_file(text.encode(), "plan.json")
    assert plan.sources == (one, other)
    assert applied(plan, store, one, other).parts[0].prepared.plan.id == run_of(plan).plan_id
    for wrong in ([one], [other, one]):
        with pytest.raises(SourceChangedError):
            applied(plan, store, *wrong)


# the target


def test_a_target_of_another_kind_is_refused(store: MemoryStore) -> None:
    """A plan for a directory does not fit a file, which the error says with both."""
    plan = saved(store, options=ONE)
    with pytest.raises(UsageError, match="does not fit this source and target: ") as caught:
        applied(plan, store, target="t/x.safetensors")
    assert "x.safetensors" in caught.value.message
    assert caught.value.file == "t/x.safetensors"


def test_an_id_of_other_files_is_refused(store: MemoryStore) -> None:
    """Options and source as they were, and an id that is not theirs, do not fit together."""
    plan = saved(store)
    plan = replace(plan, runs={"": replace(run_of(plan), plan_id="0" * 64)})
    with pytest.raises(UsageError, match="its id is that of other files"):
        applied(plan, store)


def test_what_is_replaced_is_decided_by_who_applies(store: MemoryStore) -> None:
    """A plan made with leave to replace has none; with it the old set is named."""
    put(store, "t/model.safetensors", weights({"old": b"1"}))
    plan = saved(store, options=IN_PLACE)
    with pytest.raises(TargetExistsError):
        applied(plan, store)
    changes = applied(plan, store, replace_what="same").parts[0].prepared.changes
    assert changes.superseded == ("model.safetensors",)


def test_a_record_proves_that_a_plan_was_applied(store: MemoryStore) -> None:
    """With the record of the run, its result is up to date without a comparison."""
    plan = saved(store)
    records = StoredRecords(MemoryStore(), "records", str)
    (part,) = applied(plan, store).parts
    write(store, store, part.prepared, RunOptions(jobs=1), Silent(), records=records)
    assert applied(plan, store, records=records).parts[0].prepared.notes == ()
    (note,) = applied(plan, store).parts[0].prepared.notes
    assert "compared with the source" in note


def test_signals_are_held_while_a_replacement_is_completed(store: MemoryStore) -> None:
    """What is entered for that is left again, whatever is found there."""
    held: list[str] = []

    @contextmanager
    def hold() -> Iterator[None]:
        held.append("held")
        yield
        held.append("released")

    applied(saved(store), store, hold=hold)
    assert held == ["held", "released"]


# pipelines


def test_each_component_has_its_own_plan() -> None:
    """A pipeline is applied with the plan of each component, and of the files around them."""
    store = pipeline(MemoryStore())
    plan = saved(store, "p", options=WriteOptions(limits=Limits(max_shard_bytes=150)))
    copied(store, "p", "q")
    work = applied(plan, store, "q")
    assert plan.is_pipeline
    assert {part.name: part.prepared.plan.id for part in work.weights} == {
        name: run.plan_id for name, run in plan.runs.items()
    }
    assert [part.name for part in work.parts] == ["text_encoder", "unet", "vae", ""]


def test_a_component_more_or_less_is_refused() -> None:
    """The error names the component."""
    store = pipeline(MemoryStore())
    plan = saved(store, "p", options=ONE)
    put(store, "p/vae_2/diffusion_pytorch_model.safetensors", weights({"a": b"1"}))
    with pytest.raises(SourceChangedError, match="'vae_2' is not in the plan"):
        applied(plan, store, "p")
    for name in ("vae_2", "vae"):
        store.remove(f"p/{name}/diffusion_pytorch_model.safetensors")
    with pytest.raises(SourceChangedError, match="'vae' is in the plan, and not in the source"):
        applied(plan, store, "p")


def test_files_around_the_components_are_compared() -> None:
    """One byte of them is another source."""
    store = pipeline(MemoryStore())
    plan = saved(store, "p", options=ONE)
    put(store, "p/tokenizer/vocab.json", b"[]")
    with pytest.raises(SourceChangedError, match=r"'tokenizer/vocab\.json' has other contents"):
        applied(plan, store, "p")


# what cannot be compared


def test_files_of_a_plan_on_a_server(store: MemoryStore) -> None:
    """A plan of files is applied to a server by sizes and headers, which a note says."""
    plan = saved(store)
    far = Far()
    copied_to = tree(store, "m")
    for name, data in copied_to.items():
        put(far, f"m/{name}", data)
    note, *_ = applied(plan, far).parts[0].prepared.notes
    assert note == (
        "the plan was made from files, and is applied to a URL: of 2 files it was compared with "
        "the sizes and headers alone"
    )
    put(far, WEIGHTS, get(far, WEIGHTS).replace(b"layer.0", b"layer.9"))
    with pytest.raises(SourceChangedError, match="another header"):
        applied(plan, far)


def test_a_plan_of_a_server_on_files(store: MemoryStore) -> None:
    """The other way round it is the same, where no digest is recorded here."""
    sha256 = hashlib.sha256(get(store, WEIGHTS)).hexdigest()
    plan = known_by(saved(store), {"model.safetensors": sha256})
    note, *_ = applied(plan, store).parts[0].prepared.notes
    assert note == (
        "the plan was made from a URL, and is applied to files: of 2 files it was compared with "
        "the sizes and headers alone"
    )


def test_digests_that_both_have_are_compared(store: MemoryStore) -> None:
    """A SHA-256 that the server and the copy have must be the same; the note says of how many."""
    sha256 = hashlib.sha256(get(store, WEIGHTS)).hexdigest()
    plain = saved(store)
    put(store, "m/SHA256SUMS", format_checksums({"model.safetensors": sha256}))
    plan = known_by(plain, {"model.safetensors": sha256})
    note, *_ = applied(plan, store).parts[0].prepared.notes
    assert note.endswith("the sizes and headers, and with the SHA-256 recorded for 1 of them")
    other = known_by(plain, {"model.safetensors": "0" * 64})
    with pytest.raises(SourceChangedError, match=r"has other contents: so says .*SHA256SUMS"):
        applied(other, store)
    put(store, "m/SHA256SUMS", format_checksums({"config.json": sha256}))
    config = known_by(plain, {"config.json": sha256})
    assert applied(config, store).parts[0].prepared.notes[0].endswith("for 1 of them")
    etag = known_by(plain, {"model.safetensors": "an-etag"})
    assert applied(etag, store).parts[0].prepared.notes[0].endswith("headers alone")


# in place


def in_bucket(target: str) -> tuple[Place, PlanFile]:
    """A checkpoint in a bucket, and the plan to write it as three shards."""
    place = Place()
    fill(place, "m")
    store = MemoryBucket(place)
    work = prepare_all(store, "m", store, target, IN_PLACE, finish=False)
    text = "".join(dump(plan_document("split", work, store, store)))
    return place, parse_plan_file(text.encode(), "plan.json")


def by_one_part(place: Place, plan: PlanFile, left: int = Fragile.left) -> int:
    """Apply the plan by one part; return how much power is left of so much."""
    store = Fragile(place)
    store.left = left
    work = applied(plan, store, target=plan.target, replace_what="same")
    ends = (store, store, work.parts[0].prepared)
    run, planned = RunOptions(jobs=1), run_of(plan)
    write_share(*ends, Share(1, 1), run, Silent(), planned=planned)
    commit(*ends, run, Silent(), planned=planned)
    return store.left


def cut_off(target: str) -> Iterator[tuple[Place, PlanFile]]:
    """Yield what is there when the power fails before each step of the commit, the last first."""
    found = False
    left = Fragile.left - by_one_part(*in_bucket(target))
    while True:
        left -= 1
        place, plan = in_bucket(target)
        with pytest.raises(CutError):
            by_one_part(place, plan, left)
        if f"{target}/.shardctl/commit.json" in place.objects:
            found = True
            unlock(place)
            yield place, plan
        elif found:
            return  # before that the source is as it was, and the parts go on


def test_a_commit_in_place_that_was_cut_off_is_completed() -> None:
    """A plan whose commit has begun is up to date by the same call, though its source is gone."""
    place, plan = in_bucket("m")
    by_one_part(place, plan)
    expected, cuts = files(place, "m"), list(cut_off("m"))
    assert len(cuts) > len(expected)
    for place, plan in cuts:
        assert applied(plan, MemoryBucket(place), target="m", replace_what="same").up_to_date
        assert files(place, "m") == expected
        assert state(place) == []


def test_the_source_of_a_commit_elsewhere_that_was_cut_off_is_compared() -> None:
    """Where it is still there it must be the plan's, although the target is completed first."""
    place, plan = next(cut_off("t"))
    data = place.objects[WEIGHTS].data
    assert applied(plan, MemoryBucket(place), target="t").up_to_date
    place, plan = next(cut_off("t"))
    MemoryBucket(place).put(WEIGHTS, data[:-1] + b"!")
    with pytest.raises(SourceChangedError, match="other contents"):
        applied(plan, MemoryBucket(place), target="t", replace_what="same")


def test_the_result_of_another_run_in_place_is_not_the_plans(store: MemoryStore) -> None:
    """Once a plan has replaced its source, that is gone, and the result is another source."""
    plan = saved(store, target="m", options=IN_PLACE)
    work = applied(plan, store, target="m", replace_what="same")
    write(store, store, work.parts[0].prepared, RunOptions(jobs=1), Silent())
    index = json.loads(get(store, "m/model.safetensors.index.json"))
    assert len(set(index["weight_map"].values())) == 3
    with pytest.raises(SourceChangedError, match="is in the plan, and is not read now"):
        applied(plan, store, target="m", replace_what="same")
