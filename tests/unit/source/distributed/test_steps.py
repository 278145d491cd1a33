"""Which step of training is meant, and which files belong to it, is known by names."""

from __future__ import annotations

import pytest

from shardctl.errors import InputError, MissingError, ShardctlError
from shardctl.source.distributed.steps import StepFile, step_file
from shardctl.source.locate import find_source
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.zero_files import MODEL, model_file, optimizer_file


def directory(*names: str, latest: bytes | None = None) -> MemoryStore:
    """A store with a directory `d` of these files, and one that names the latest step."""
    store = MemoryStore()
    for name in names:
        put(store, f"d/{name}", b"?")
    if latest is not None:
        put(store, "d/latest", latest)
    return store


def names(stage: int, ranks: int = 2, step: str = "") -> list[str]:
    """The files of a step."""
    models = [model_file(stage, rank) for rank in range(ranks)] if stage == 3 else [MODEL]
    return [f"{step}{name}" for name in (*models, *map(optimizer_file, range(ranks)))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zero_pp_rank_12_mp_rank_00_optim_states.pt", (True, 12, 0)),
        ("bf16_zero_pp_rank_0_mp_rank_03_optim_states.pt", (True, 0, 3)),
        ("zero_pp_rank_0_mp_rank_00optim_states.pt", (True, 0, 0)),
        ("fp16_zero_pp_rank_0_mp_rank_00_optim_states.pt", (True, 0, 0)),
        ("mp_rank_00_model_states.pt", (False, None, 0)),
        ("zero_pp_rank_1_mp_rank_00_model_states.pt", (False, 1, 0)),
        ("zero_pp_rank_1_mp_rank_00_model_states.pt.tmp", None),
        ("layer_00-model_states.pt", None),
        ("zero_pp_rank__mp_rank_00_optim_states.pt", None),
    ],
)
def test_names_say_the_rank(name: str, expected: tuple[bool, int | None, int] | None) -> None:
    """Every name that DeepSpeed gives to a file of a step is known, and no other."""
    assert step_file(name) == (None if expected is None else StepFile(name, *expected))


@pytest.mark.parametrize("stage", [1, 3])
def test_a_step_is_named_or_the_latest(stage: int) -> None:
    """The directory of a step means that step, and the one above it the step that `latest` names.

    The files of the model come first, and ranks count as numbers.
    """
    files = names(stage, 12, "global_step7/")
    store = directory(*files, "global_step3/x", latest=b"global_step7\n")
    step = find_source(store, "d/global_step7")
    assert step.distributed == "vectors"
    assert step.files == tuple(f"d/{name}" for name in files)
    latest = find_source(store, "d")
    assert (latest.files, latest.directory) == (step.files, "d")
    assert "'d/global_step7' is read" in latest.notes[0]


@pytest.mark.parametrize("name", ["model.safetensors", "other.bin"])
def test_weights_come_before_the_latest_step(name: str) -> None:
    """Weights in the directory itself are what loaders take of it."""
    store = directory(*names(2, 2, "global_step7/"), "rng_state_0.pth", latest=b"global_step7")
    assert find_source(store, "d").distributed == "vectors"
    put(store, f"d/{name}", weights({"a": b"1"}))
    assert find_source(store, "d").files == (f"d/{name}",)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b"global_step8", MissingError, "names the step 'global_step8', which is not there"),
        (b"../d/global_step7", InputError, "it leads out of the directory"),
        (b"/d/global_step7", InputError, "absolute path"),
        (b"global_step7/x", InputError, "it is a path"),
        (b"..", InputError, "it leads out of the directory"),
        (b".", InputError, "it has an empty part"),
        (b"", InputError, "it is empty"),
        (b"global_step7\0", InputError, "NUL"),
        (b"x" * 5000, InputError, "longer than 255 bytes"),
        (b"global_step7/" + bytes([0xFF]), InputError, "it is a path"),
        (b"C:global_step7", InputError, "drive"),
        (b"g\x1b[31m", MissingError, r"g\x1b[31m"),
        (b"global_step9", MissingError, "none with the parameters of a rank"),
        (b"latest", MissingError, "not there"),
    ],
)
def test_latest_is_a_name_and_no_path(text: bytes, kind: type[ShardctlError], message: str) -> None:
    """What `latest` says is never used as a path before it was checked, nor shown unescaped."""
    store = directory(*names(2, 2, "global_step7/"), f"global_step9/{MODEL}", latest=text)
    with pytest.raises(kind) as caught:
        find_source(store, "d")
    assert message in caught.value.message
    assert caught.value.exit_code == 3


def test_a_step_without_ranks_names_the_file_of_the_model() -> None:
    """Without ZeRO the file of the model has all weights: what to name is said."""
    store = directory(f"global_step9/{MODEL}", latest=b"global_step9")
    with pytest.raises(MissingError) as caught:
        find_source(store, "d")
    assert f"d/global_step9/{MODEL}" in caught.value.hint
    assert "module" in caught.value.hint


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "zero_pp_rank_0_mp_rank_01_optim_states.pt",
            "of a model in parts (mp_rank_00, mp_rank_01)",
        ),
        ("layer_03-model_states.pt", "layers or experts apart"),
        ("layer_0_expert_1_mp_rank_00_model_states.pt", "layers or experts apart"),
        ("expp_rank_0_mp_rank_00_optim_states.pt", "layers or experts apart"),
        ("zero_pp_rank_0_mp_rank_00_optim_states.pt", "several saves"),
    ],
)
def test_other_ways_to_divide_are_refused(more: str, message: str) -> None:
    """Parts of a model that were divided in other ways too are refused, with the file's name."""
    store = directory(*names(2), more)
    with pytest.raises(InputError) as caught:
        find_source(store, "d")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((MODEL, "mp_rank_01_model_states.pt"), "(mp_rank_00, mp_rank_01)"),
        (("mp_rank_01_model_states.pt",), "(mp_rank_01)"),
        ((MODEL, "layer_00-model_00-model_states.pt"), "layers or experts apart"),
    ],
)
def test_parts_of_a_model_without_zero_are_refused(files: tuple[str, ...], message: str) -> None:
    """A file that holds a part of a model is not offered as the model; what converts it is said."""
    for source, store in (
        ("d", directory(*files)),
        ("d", directory(*(f"global_step9/{name}" for name in files), latest=b"global_step9")),
    ):
        with pytest.raises(InputError) as caught:
            find_source(store, source)
        assert message in caught.value.message
        assert "tools/convert_checkpoint" in caught.value.hint
    beside = directory(*files)
    put(beside, "d/model.safetensors", weights({"a": b"1"}))
    assert find_source(beside, "d").files == ("d/model.safetensors",)


def test_a_step_of_stage_3_without_ranks_has_no_parameters() -> None:
    """The files of its model have none, and are not offered: the others are to be copied."""
    store = directory(f"global_step9/{model_file(3)}", latest=b"global_step9")
    with pytest.raises(MissingError, match="none with the parameters of a rank") as caught:
        find_source(store, "d")
    assert "copy the whole directory again" in caught.value.hint


def test_one_file_can_be_looked_at_alone() -> None:
    """A named file is that file, as any other torch file."""
    store = directory(*names(2))
    located = find_source(store, f"d/{MODEL}")
    assert (located.files, located.distributed) == ((f"d/{MODEL}",), None)
