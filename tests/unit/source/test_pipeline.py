"""Which directories are pipelines, and which of their directories are components."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shardctl.errors import MissingError
from shardctl.source.pipeline import Pipeline, find_pipeline, pipeline_findings
from shardctl.stores.local import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.pipelines import INDEX, OTHERS, WEIGHTS, pipeline, written_pipeline

ONE = weights({"a": b"1"})


@pytest.fixture
def store() -> MemoryStore:
    """The pipeline `p`."""
    return pipeline(MemoryStore())


def found(store: MemoryStore, source: str = "p") -> Pipeline:
    """The pipeline, which is there."""
    pipeline = find_pipeline(store, source)
    assert pipeline is not None
    return pipeline


def names(store: MemoryStore) -> list[str]:
    """The names of the components."""
    return [component.name for component in found(store).components]


@pytest.mark.parametrize("source", ["p", "p/model_index.json"])
def test_the_components_are_the_directories_with_weights(store: MemoryStore, source: str) -> None:
    """A pipeline is named by its directory or its index; schedulers and tokenizers are none."""
    assert [each.name for each in found(store, source).components] == [
        "text_encoder",
        "unet",
        "vae",
    ]


@pytest.mark.parametrize(
    ("path", "data", "component"),
    [
        ("controlnet_1/diffusion_pytorch_model.bin", b"x", "controlnet_1"),
        ("prior/unet/diffusion_pytorch_model.safetensors", ONE, "prior/unet"),
        ("text_encoder/adapter/adapter_model.safetensors", ONE, "text_encoder/adapter"),
        ("text_encoder_3/model.safetensors.index.json", b"{}", "text_encoder_3"),
    ],
)
def test_any_directory_with_weights_that_loaders_know_counts(
    store: MemoryStore, path: str, data: bytes, component: str
) -> None:
    """Numbered and nested ones too, and those whose shards are missing: nothing is lost."""
    put(store, f"p/{path}", data)
    put(store, "p/prior/scheduler/scheduler_config.json", b"{}")
    assert component in names(store)


@pytest.mark.parametrize(
    "path",
    [
        "checkpoint-500/model.safetensors",
        "checkpoint-500/unet/diffusion_pytorch_model.safetensors",
        ".cache/model.safetensors",
        "lora/style.safetensors",
    ],
)
def test_other_weights_are_no_components(store: MemoryStore, path: str) -> None:
    """States of a training run, hidden directories and free names are not the pipeline's."""
    put(store, f"p/{path}", ONE)
    put(store, "p/checkpoint-500/optimizer.bin", b"x")
    assert names(store) == ["text_encoder", "unet", "vae"]


def test_training_arguments_beside_a_model_do_not_matter(store: MemoryStore) -> None:
    """A component with a config stays one, whatever a trainer left in its directory."""
    put(store, "p/unet/training_args.bin", b"x")
    assert "unet" in names(store)


@pytest.mark.parametrize("source", ["p/unet", "p/unet/config.json", "q", "nothing"])
def test_what_is_no_pipeline(store: MemoryStore, source: str) -> None:
    """Without the file, or without weights in any directory, SOURCE is read as ever."""
    put(store, "q/model_index.json", b"{}")
    put(store, "q/model.safetensors", ONE)
    put(store, "q/scheduler/scheduler_config.json", b"{}")
    assert find_pipeline(store, source) is None


def test_a_snapshot_of_the_hubs_cache(tmp_path: Path) -> None:
    """The files of a snapshot are links to blobs; the cache root means its only snapshot."""
    root = tmp_path / "models--org--name"
    (root / "blobs").mkdir(parents=True)
    every = {**{path: weights(held) for path, held in WEIGHTS.items()}, **OTHERS}
    for number, (path, data) in enumerate(every.items()):
        (root / "blobs" / str(number)).write_bytes(data)
        link = root / "snapshots/aa" / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(root / "blobs" / str(number))
    pipeline = find_pipeline(LocalStore(), str(root))
    assert pipeline is not None
    assert len(pipeline.components) == 3
    assert pipeline.note is not None


def test_links_to_directories_are_not_followed(tmp_path: Path) -> None:
    """A component is in the pipeline itself."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/model.safetensors").write_bytes(ONE)
    (tmp_path / "p/unet").mkdir(parents=True)
    (tmp_path / "p/unet/model.safetensors").write_bytes(ONE)
    (tmp_path / "p/model_index.json").write_bytes(b"{}")
    (tmp_path / "p/vae").symlink_to(tmp_path / "elsewhere")
    pipeline = find_pipeline(LocalStore(), str(tmp_path / "p"))
    assert pipeline is not None
    assert [each.name for each in pipeline.components] == ["unet"]


@pytest.mark.parametrize(
    ("variant", "read"), [("fp16", ["fp16", None]), ("", [None, ""]), (None, [None, None])]
)
def test_a_variant_is_read_where_a_component_has_it(
    variant: str | None, read: list[str | None]
) -> None:
    """The others are read as they are, as diffusers does."""
    store = MemoryStore()
    put(store, "p/model_index.json", b"{}")
    put(store, "p/a/model.fp16.safetensors", ONE)
    put(store, "p/b/model.safetensors", ONE)
    pipeline = found(store)
    pipeline.check_variant(variant)
    assert [each.variant_to_read(variant) for each in pipeline.components] == read


def test_a_variant_that_no_component_has(store: MemoryStore) -> None:
    """That is an error."""
    with pytest.raises(MissingError, match="holds a variant 'fp16'"):
        found(store).check_variant("fp16")


def problems(store: MemoryStore) -> list[tuple[str, str, str]]:
    """Code, severity and message of each finding."""
    listed = pipeline_findings(store, found(store))
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
