"""Which client reads one weights file of a directory, by its stem and the files beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from shardctl.formats.limits import MAX_CONFIG_BYTES
from shardctl.source.directory.clients import one_file_client
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

TIMM = {"architecture": "resnet18", "num_classes": 10, "pretrained_cfg": {}}
DENSE = {"in_features": 4, "out_features": 2, "bias": True, "activation_function": "Tanh"}
BERT = {"model_type": "bert", "architectures": ["BertModel"]}
MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"},
    {"path": "3_LSTM", "type": "sentence_transformers.base.modules.lstm.LSTM"},
]


def client_of(
    stem: str, files: Mapping[str, object] | None = None, directory: str = "top/m"
) -> str | None:
    """The name of the client, with these JSON files by their paths."""
    store = MemoryStore()
    store.make_directory("top/m")
    for path, document in (files or {}).items():
        put(store, path, json.dumps(document).encode())
    found = one_file_client(store, directory, stem)
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("adapter_model", "PEFT"),
        ("pytorch_lora_weights", "diffusers"),
        ("learned_embeds", "diffusers"),
        ("open_clip_model", "open_clip"),
        ("open_clip_pytorch_model", "open_clip"),
        ("pytorch_model_fsdp", "Accelerate's load_state"),
        ("model", None),
        ("diffusion_pytorch_model", None),
        ("anything", None),
    ],
)
def test_a_stem_that_one_client_looks_for(stem: str, name: str | None) -> None:
    """The stem alone decides where only one client looks for it, whatever is in the directory."""
    assert client_of(stem) == client_of(stem, {"top/m/config.json": BERT}) == name


@pytest.mark.parametrize("stem", ["model", "pytorch_model"])
@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"config.json": TIMM}, "timm"),
        ({"config.json": DENSE}, "sentence-transformers"),
        ({"random_states_0.pkl": 0, "config.json": BERT}, "Accelerate's load_state"),
        ({"open_clip_config.json": {}}, "open_clip"),
        ({"open_clip_config.json": {}, "config.json": BERT}, None),
        ({"config.json": {**TIMM, "model_type": "timm_wrapper"}}, None),
        ({"config.json": BERT}, None),
        ({"config.json": [1]}, None),
        ({"rng_state.pth": 0, "optimizer.pt": 0}, None),
        ({"modules.json": [{"path": "", "type": "x.StaticEmbedding"}]}, "sentence-transformers"),
        ({"modules.json": MODULES}, None),
        ({"modules.json": {"path": ""}}, None),
    ],
)
def test_what_is_beside_a_model(files: Mapping[str, object], stem: str, name: str | None) -> None:
    """For a stem that transformers reads, the files beside the weights say whose they are."""
    assert client_of(stem, {f"top/m/{path}": data for path, data in files.items()}) == name


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("2_Dense", "sentence-transformers"),
        ("2_Dense/", "sentence-transformers"),
        ("3_LSTM", "sentence-transformers"),
        ("0_CLIPModel", None),
        ("1_Pooling", None),
    ],
)
def test_a_module_of_sentence_transformers(module: str, name: str | None) -> None:
    """The list of modules above a directory says that its weights are one file."""
    files = {"top/modules.json": MODULES, f"top/{module.rstrip('/')}/config.json": {}}
    assert client_of("model", files, f"top/{module}") == name


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b" " * (MAX_CONFIG_BYTES + 1), b"\xff"]
)
def test_a_file_that_cannot_be_read_says_nothing(data: bytes) -> None:
    """A configuration that is empty, invalid, deep or too large is passed over."""
    store = MemoryStore()
    for name in ("config.json", "modules.json"):
        put(store, f"m/{name}", data)
    assert one_file_client(store, "m", "model") is None


def test_a_directory_that_does_not_exist() -> None:
    """A target that is yet to be made belongs to no client."""
    assert one_file_client(MemoryStore(), "new", "model") is None
