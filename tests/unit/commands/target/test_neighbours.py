"""What lies beside the weights: which files and directories, and of what sort."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from shardctl.commands.target.neighbours import Neighbour, neighbours
from shardctl.errors import StorageError
from shardctl.source.locate import find_source
from shardctl.stores.base import Entry, Store
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights


def found(
    store: Store, source: str, target: str = "", apart: Collection[str] = ()
) -> dict[str, Neighbour]:
    """The neighbours of a source, by name."""
    located = find_source(store, source)
    return {
        each.name: each
        for each in neighbours(store, located, located.files, apart, lambda path: path == target)
    }


@pytest.mark.parametrize(
    ("name", "sort"),
    [
        ("tokenizer.json", "companion"),
        (".gitattributes", "companion"),
        ("optimizer.py", "companion"),
        ("optimizer.pt", "training"),
        ("trainer_state.json", "training"),
        ("rng_state_0.pth", "training"),
        ("model.onnx", "foreign"),
        ("SHA256SUMS", "barred"),
        ("mm_projector.bin", "companion"),
        ("pytorch_model.bin", "weights"),
        ("adapter_model.safetensors", "weights"),
        ("x-00001-of-00002.bin", "weights"),
        ("flax_model.msgpack.index.json", "weights"),
    ],
)
def test_files(name: str, sort: str) -> None:
    """A small file is of the sort that its name says."""
    store = MemoryStore()
    sample(store, nbytes=1000)
    put(store, f"m/{name}", b"12")
    each = found(store, "m/model.safetensors")[name]
    assert (each.sort, each.size, dict(each.files)) == (sort, 2, {name: f"m/{name}"})
    assert bool(each.why) == (sort != "companion")


def test_only_small_weights_are_companions() -> None:
    """Weights of names that no loader looks for are companions below a twentieth of the set."""
    store = MemoryStore()
    sample(store)
    size = store.version("m/model.safetensors").size
    put(store, "m/head.bin", bytes(size // 20 - 1))
    put(store, "m/other.bin", bytes(size // 20 + 1))
    there = found(store, "m")
    assert (there["head.bin"].sort, there["other.bin"].sort) == ("companion", "weights")


@pytest.mark.parametrize(
    ("name", "sort"),
    [
        ("1_Pooling/config.json", "companion"),
        ("additional_chat_templates/tool/use.jinja", "companion"),
        ("assets/head.bin", "companion"),
        ("original/consolidated.00.pth", "weights"),
        ("int8/model.safetensors.index.json", "weights"),
        ("onnx/deep/model.onnx", "foreign"),
        ("checkpoint-5/trainer_state.json", "training"),
        ("global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt", "training"),
        (".git/config", "hidden"),
        (".cache/huggingface/x.metadata", "hidden"),
    ],
)
def test_directories(name: str, sort: str) -> None:
    """A directory is of the sort of the worst that is in it, at any depth, and is one thing."""
    store = MemoryStore()
    sample(store, nbytes=1000)
    top = name.split("/", maxsplit=1)[0]
    put(store, f"m/{top}/README.md", b"123")
    put(store, f"m/{name}", bytes(5000 if name.endswith(".pth") else 5))
    each = found(store, "m")[top]
    assert (each.sort, each.is_directory) == (sort, True)
    assert set(each.files) == {name, f"{top}/README.md"}
    homes = [top, *([name.rpartition("/")[0]] if name.count("/") > 1 else [])]
    assert list(each.directories) == homes


def test_modules_are_companions_whatever_they_hold() -> None:
    """Beside `modules.json` directories of numbered names are companions, weights and all."""
    store = MemoryStore()
    sample(store)
    put(store, "m/2_Dense/model.safetensors", weights({"linear": bytes(600)}))
    assert found(store, "m")["2_Dense"].sort == "weights"
    put(store, "m/modules.json", b"[]")
    assert found(store, "m")["2_Dense"].sort == "companion"


def test_what_is_passed_over() -> None:
    """Shards in sub-directories, staging and the target are passed over."""
    store = MemoryStore()
    put(store, "m/sub/a.safetensors", weights({"a": b"1"}))
    index = b'{"metadata": {}, "weight_map": {"a": "sub/a.safetensors"}}'
    put(store, "m/model.safetensors.index.json", index)
    put(store, "m/.shardctl/files/x", b"1")
    put(store, "m/out/x", b"1")
    assert set(found(store, "m", target="m/out")) == set()


def test_an_empty_directory_stays() -> None:
    """A directory without files is named among what stays, whatever directories are in it."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"1"}))
    store.make_directory("m/empty/inner")
    (each,) = found(store, "m").values()
    assert (each.name, each.sort, each.why) == ("empty", "barred", "an empty directory")


def test_links(tmp_path: Path) -> None:
    """A link is followed within the directory and into a hub cache's blobs, and nowhere else."""
    model = tmp_path / "models--a--b" / "snapshots" / "1"
    blobs = tmp_path / "models--a--b" / "blobs"
    outside = tmp_path / "outside"
    for directory in (model / "sub", blobs, outside):
        directory.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(weights({"a": bytes(1000)}))
    (blobs / "1234").write_bytes(b"blob")
    (outside / "id_ed25519").write_bytes(b"secret")
    (model / "here.txt").write_bytes(b"here")
    for name, target in {
        "config.json": "../../blobs/1234",
        "sub/tokenizer.json": "../../../blobs/1234",
        "inside.txt": "here.txt",
        "stolen": "../../../outside/id_ed25519",
        "sub/stolen": "../../../../outside/id_ed25519",
        "through": "sub/stolen",
        "directory": "../../../outside",
        "gone": "nowhere",
    }.items():
        (model / name).symlink_to(target)
    os.mkfifo(model / "pipe")
    there = found(LocalStore(), str(model))
    sorts = {name: each.sort for name, each in there.items()}
    assert sorts == {
        "here.txt": "companion",
        "config.json": "companion",
        "inside.txt": "companion",
        "sub": "companion",
        "sub/stolen": "barred",
        **dict.fromkeys(("stolen", "through", "directory", "gone", "pipe"), "barred"),
    }
    assert set(there["sub"].files) == {"sub/tokenizer.json"}
    assert there["config.json"].files["config.json"] == os.path.realpath(blobs / "1234")


def test_directories_that_are_nested_too_deeply() -> None:
    """A chain of directories that is too long to be opened at once is named, and not copied."""
    store = MemoryStore()
    sample(store)
    put(store, f"m/deep/{'a/' * 31}x", b"1")
    assert found(store, "m")["deep"].sort == "companion"
    put(store, f"m/deep/{'a/' * 32}x", b"1")
    assert (found(store, "m")["deep"].sort, found(store, "m")["deep"].size) == ("barred", None)


class Closed(MemoryStore):
    """A store with a directory that may not be read."""

    def list(self, directory: str) -> list[Entry]:
        """List any other directory."""
        if directory.endswith("closed"):
            raise StorageError("permission denied", hint="ask for it", file=directory)
        return super().list(directory)


def test_a_directory_that_cannot_be_read_is_named() -> None:
    """A directory without permission is named, and does not stop the run."""
    store = Closed()
    sample(store)
    put(store, "m/closed/x", b"1")
    assert (found(store, "m")["closed"].sort, found(store, "m")["closed"].size) == ("barred", None)


def test_a_target_in_a_sub_directory() -> None:
    """Only the target is passed over; the directory that it is in goes along with its files."""
    store = MemoryStore()
    sample(store)
    put(store, "m/tokenizer/vocab.json", b"{}")
    put(store, "m/tokenizer/new/model.safetensors", weights({"a": b"1"}))
    put(store, "m/results/new/model.safetensors", weights({"a": b"1"}))
    tokenizer = found(store, "m", target="m/tokenizer/new")["tokenizer"]
    assert (tokenizer.sort, set(tokenizer.files)) == ("companion", {"tokenizer/vocab.json"})
    assert "results" not in found(store, "m", target="m/results/new")


def test_what_is_written_separately() -> None:
    """It is passed over, and so is a list of checksums above it; its directory is not empty."""
    store = MemoryStore()
    sample(store)
    for path in ("prior/unet/x", "prior/unet/SHA256SUMS", "prior/SHA256SUMS", "other/SHA256SUMS"):
        put(store, f"m/{path}", b"x")
    every = found(store, "m", apart={"m/prior/unet"})
    assert set(every) == {"config.json", "prior/SHA256SUMS", "other"}
    assert (every["prior/SHA256SUMS"].sort, every["other"].sort) == ("barred", "companion")
