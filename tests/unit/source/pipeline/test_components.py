"""Which directories are pipelines, and which of their directories are components."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.errors import MissingError, StorageError
from shardctl.source.locate import find_source
from shardctl.source.pipeline.components import (
    DEEPEST,
    Passed,
    Pipeline,
    directories_around,
    find_pipeline,
)
from shardctl.stores.base import EntryKind
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.pipelines import OTHERS, WEIGHTS, pipeline, written_pipeline

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


def test_a_distributed_checkpoint_is_no_component(store: MemoryStore) -> None:
    """No loader of a pipeline reads what several processes saved."""
    put(store, "p/state/__0_0.distcp", b"x")
    put(store, "p/state/.metadata", b"x")
    assert "state" not in names(store)


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


def test_what_is_not_looked_into(store: MemoryStore) -> None:
    """The states of a training run, and what is nested too deeply, are named with the reason."""
    put(store, "p/checkpoint-500/unet/diffusion_pytorch_model.safetensors", ONE)
    put(store, "p/checkpoint-500/optimizer.bin", b"x")
    deep = "/".join(["d"] * (DEEPEST + 1))
    put(store, f"p/{deep}/model.safetensors", ONE)
    assert names(store) == ["text_encoder", "unet", "vae"]
    assert found(store).passed == (Passed("checkpoint-500", "training"), Passed(deep, "depth"))


def test_pipelines_within_it(store: MemoryStore) -> None:
    """Each directory with an index is known, at whatever depth."""
    for name in ("prior", "prior/decoder"):
        put(store, f"p/{name}/model_index.json", b"{}")
    assert found(store).indexes == ("", "prior", "prior/decoder")


def test_an_index_without_components_beside_it(store: MemoryStore) -> None:
    """Where its file is named, the error says so, and does not call it an index of shards."""
    put(store, "q/model_index.json", b"{}")
    put(store, "q/model.safetensors", ONE)
    with pytest.raises(MissingError, match="no directory beside it holds weights"):
        find_pipeline(store, "q/model_index.json")


@pytest.mark.parametrize("name", ["model_index.json", "mine.json"])
def test_a_link_to_the_index_of_a_pipeline_elsewhere(tmp_path: Path, name: str) -> None:
    """The components are beside the file, not beside the link: the hint names their directory."""
    root = written_pipeline(tmp_path / "p")
    link = tmp_path / "links" / name
    link.parent.mkdir()
    link.symlink_to(root / "model_index.json")
    with pytest.raises(MissingError, match="a link to the file of a pipeline in") as caught:
        find_pipeline(LocalStore(), str(link))
    assert caught.value.hint == f"name that directory: {root}"


def test_an_index_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    """The directory is a pipeline all the same."""
    root = written_pipeline(tmp_path / "p")
    (root / "model_index.json").unlink()
    (root / "model_index.json").symlink_to("gone")
    pipeline = find_pipeline(LocalStore(), str(root))
    assert pipeline is not None
    assert len(pipeline.components) == 3


def test_directories_around_a_component(store: MemoryStore) -> None:
    """They go up to the outermost pipeline; around anything else there are none."""
    put(store, "p/prior/unet/model.safetensors", ONE)
    assert list(directories_around(store, "p/prior/unet")) == [
        ("p/prior", "unet"),
        ("p", "prior/unet"),
    ]
    put(store, "other/model/model.safetensors", ONE)
    assert list(directories_around(store, "other/model")) == []
    assert list(directories_around(store, "p")) == []


def test_directories_around_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a component is the current directory, its pipeline is found too."""
    root = written_pipeline(tmp_path / "p")
    monkeypatch.chdir(root / "unet")
    for path in ("", ".", "../unet"):
        assert list(directories_around(LocalStore(), path)) == [(str(root), "unet")]


@pytest.mark.parametrize("name", ["p/model_index.json", "links/mine.json"])
def test_an_index_where_one_checkpoint_is_meant(tmp_path: Path, name: str) -> None:
    """What takes one component says where they are, and not that shards are missing."""
    root = written_pipeline(tmp_path / "p")
    (tmp_path / "links").mkdir()
    (tmp_path / "links/mine.json").symlink_to(root / "model_index.json")
    with pytest.raises(MissingError, match="is the index of a pipeline") as caught:
        find_source(LocalStore(), str(tmp_path / name))
    assert caught.value.hint == f"name the directory of one of its models in '{root}'"


class OutOfReach(MemoryStore):
    """A store that says nothing of what is at its top."""

    def kind(self, path: str) -> EntryKind | None:
        """Raise StorageError for the index of a pipeline there."""
        if path == "top/model_index.json":
            raise StorageError("forbidden", hint="check it", file=path)
        return super().kind(path)


def test_what_is_around_may_be_out_of_reach() -> None:
    """Where a directory above may not be looked into, it is none of a pipeline."""
    store = pipeline(OutOfReach(), "top/p")
    assert list(directories_around(store, "top/p/unet")) == [("top/p", "unet")]
