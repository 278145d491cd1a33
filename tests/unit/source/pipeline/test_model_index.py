"""What a `model_index.json` names is compared with what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shardctl.errors import StorageError
from shardctl.formats.limits import MAX_CONFIG_BYTES
from shardctl.source.pipeline.components import DEEPEST, find_pipeline
from shardctl.source.pipeline.model_index import pipeline_findings
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryReader, MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.pipelines import INDEX, pipeline, written_pipeline

ONE = weights({"a": b"1"})


@pytest.fixture
def store() -> MemoryStore:
    """The pipeline `p`."""
    return pipeline(MemoryStore())


def problems(store: MemoryStore) -> list[tuple[str, str, str]]:
    """Code, severity and message of each finding."""
    found = find_pipeline(store, "p")
    assert found is not None
    listed = pipeline_findings(store, found)
    return [(each.code, each.severity, each.message) for each in listed]


def test_a_whole_pipeline_has_no_findings(store: MemoryStore) -> None:
    """What is null in `model_index.json` need not be there."""
    assert problems(store) == []


def test_components_that_are_missing(store: MemoryStore) -> None:
    """A model without a directory, or without weights in it, is an error."""
    named = {**INDEX, "image_encoder": ["transformers", "CLIPVisionModel"], "a": [1, 2], "b": "c"}
    named["_class_name"] = ["my_pipeline", "MyPipeline"]
    put(store, "p/model_index.json", json.dumps(named).encode())
    put(store, "p/tokenizer/config.json", b"{}")
    store.remove("p/vae/diffusion_pytorch_model.safetensors")
    no_weights = "the component 'vae' has no weights of a name that loaders know"
    assert problems(store) == [
        ("component-missing", "error", no_weights),
        ("component-missing", "error", "the component 'image_encoder' has no directory"),
    ]


@pytest.mark.parametrize("name", ["diffusion.safetensors", "optimizer.bin", "config.json"])
def test_a_model_of_which_loaders_find_no_weights(store: MemoryStore, name: str) -> None:
    """Weights that no loader looks for, or what a training run left: an error."""
    store.remove("p/vae/diffusion_pytorch_model.safetensors")
    store.remove("p/vae/config.json")
    put(store, f"p/vae/{name}", b"x")
    assert [each[:2] for each in problems(store)] == [("component-missing", "error")]


def test_an_empty_component(tmp_path: Path) -> None:
    """A directory without files is what an interrupted download leaves."""
    root = written_pipeline(tmp_path / "p")
    for path in (root / "vae").iterdir():
        path.unlink()
    assert "'vae' is empty" in problem_of(root)


def test_a_component_that_is_a_link(tmp_path: Path) -> None:
    """Loaders follow it, and nothing here does: what it holds was not checked."""
    root = written_pipeline(tmp_path / "p")
    (root / "vae").rename(tmp_path / "vae")
    (root / "vae").symlink_to(tmp_path / "vae")
    assert "'vae' is a link to a directory, and is not read" in problem_of(root)


def problem_of(root: Path) -> str:
    """The message of the only finding, which is an error."""
    pipeline = find_pipeline(LocalStore(), str(root))
    assert pipeline is not None
    (finding,) = pipeline_findings(LocalStore(), pipeline)
    assert finding.severity == "error"
    return finding.message


def test_weights_at_the_top(store: MemoryStore) -> None:
    """They are of no component, which is said."""
    put(store, "p/v1-5-pruned.safetensors", ONE)
    assert [each[:2] for each in problems(store)] == [("weights-unlisted", "note")]


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_an_index_that_says_nothing(store: MemoryStore, data: bytes) -> None:
    """It is an error, and the components are found all the same."""
    put(store, "p/model_index.json", data)
    ((code, severity, _),) = problems(store)
    assert (code, severity) == ("pipeline-index-invalid", "error")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "not a JSON object"),
        (b"{", "not valid JSON"),
        (
            b" " * (MAX_CONFIG_BYTES + 1),
            "has 1,048,577 bytes, and more than 1,048,576 are not read",
        ),
    ],
)
def test_why_an_index_says_nothing(store: MemoryStore, data: bytes, message: str) -> None:
    """The message is about what is wrong with that file."""
    put(store, "p/model_index.json", data)
    assert problems(store) == [("pipeline-index-invalid", "error", message)]


def test_an_index_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    """It is not said to be invalid JSON."""
    root = written_pipeline(tmp_path / "p")
    (root / "model_index.json").unlink()
    (root / "model_index.json").symlink_to("gone")
    assert problem_of(root) == "the name is a link to a file that does not exist"


class Unreadable(MemoryStore):
    """A store that cannot read the index of a pipeline."""

    def open(self, path: str) -> MemoryReader:
        """Raise StorageError for an index."""
        if path.endswith("model_index.json"):
            raise StorageError(f"'{path}': permission denied", hint="check it", file=path)
        return super().open(path)


def test_an_index_that_cannot_be_read() -> None:
    """That is the error of any file that cannot be read, not a finding about its contents."""
    with pytest.raises(StorageError, match="permission denied"):
        problems(pipeline(Unreadable()))


def test_the_index_of_a_pipeline_within_another(store: MemoryStore) -> None:
    """It is compared with the directories beside it."""
    named = {"unet": ["diffusers", "UNet2DModel"], "vae": ["diffusers", "AutoencoderKL"]}
    put(store, "p/prior/model_index.json", json.dumps(named).encode())
    put(store, "p/prior/unet/diffusion_pytorch_model.safetensors", ONE)
    put(store, "p/prior/extra.safetensors", ONE)
    put(store, "p/decoder/model_index.json", b"{")
    assert problems(store) == [
        ("pipeline-index-invalid", "error", "not valid JSON"),
        ("component-missing", "error", "the component 'prior/vae' has no directory"),
        ("weights-unlisted", "note", "these weights are in no component, and are not looked at"),
    ]


def test_weights_in_a_component_with_an_index_are_its_own(store: MemoryStore) -> None:
    """Where a pipeline within another has weights at its top, it is a component itself."""
    put(store, "p/prior/model_index.json", b"{}")
    put(store, "p/prior/model.safetensors", ONE)
    assert problems(store) == []


def test_the_state_of_a_training_run(store: MemoryStore) -> None:
    """Its directory is named in a note; where it should be a component, that is an error."""
    put(store, "p/checkpoint-500/optimizer.bin", b"x")
    assert [each[:2] for each in problems(store)] == [("weights-unlisted", "note")]
    put(store, "p/vae/optimizer.bin", b"x")
    store.remove("p/vae/config.json")
    first, *rest = problems(store)
    assert first[:2] == ("component-unread", "error")
    assert "'vae' has the state of a training run and no config.json" in first[2]
    assert [each[:2] for each in rest] == [("weights-unlisted", "note")]


def test_what_is_nested_too_deeply(store: MemoryStore) -> None:
    """What was not looked into is an error: there may be a component."""
    put(store, f"p/{'/'.join(['d'] * (DEEPEST + 1))}/model.safetensors", ONE)
    assert [each[:2] for each in problems(store)] == [("component-unread", "error")]


def test_an_index_that_names_a_thousand(store: MemoryStore) -> None:
    """A hundred of them are listed, and the others counted."""
    named = {f"part_{number}": ["diffusers", "UNet2DModel"] for number in range(1000)}
    put(store, "p/model_index.json", json.dumps(named).encode())
    found = problems(store)
    assert len(found) == 101
    assert found[-1][2] == "900 more findings like the ones above"
