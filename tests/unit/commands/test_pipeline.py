"""What `inspect` says of a pipeline: the sums, and every component."""

from __future__ import annotations

import pytest

from shardctl.commands.pipeline import inspect_all
from shardctl.errors import FormatError, MissingError
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights
from tests.support.pipelines import WEIGHTS, pipeline


@pytest.fixture
def store() -> MemoryStore:
    """The pipeline `p`."""
    return pipeline(MemoryStore())


def test_every_component_is_summed_up(store: MemoryStore) -> None:
    """The sums are those of all components."""
    found = inspect_all(store, "p", key=None)
    assert {name: part.total_size for name, part in found.parts} == {
        "text_encoder": 120,
        "unet": 300,
        "vae": 40,
    }
    assert (found.total_size, found.total_parameters) == (460, 460)


def test_a_checkpoint_is_one_part() -> None:
    """Without a pipeline nothing is different."""
    store = MemoryStore()
    sample(store)
    found = inspect_all(store, "m", key=None)
    assert found.pipeline is None
    assert [name for name, _ in found.parts] == [""]


def test_a_filter_chooses_among_all(store: MemoryStore) -> None:
    """Components without a match are left out; without any match that is an error."""
    found = inspect_all(store, "p", key=None, globs=["up.*"])
    assert [name for name, _ in found.parts] == ["unet"]
    with pytest.raises(MissingError, match="no tensor's name matches"):
        inspect_all(store, "p", key=None, globs=["none.*"])


def test_notes_say_which_component_they_are_about(store: MemoryStore) -> None:
    """So does what is missing or damaged."""
    put(store, "p/unet/diffusion_pytorch_model.fp16.safetensors", weights({"a": b"1"}))
    put(store, "p/vae/diffusion_pytorch_model-00001-of-00002.safetensors", weights({"a": b"1"}))
    store.remove("p/vae/diffusion_pytorch_model.safetensors")
    found = inspect_all(store, "p", key=None)
    assert [note.partition(":")[0] for note in found.notes] == ["unet"]
    assert [warning.partition(":")[0] for warning in found.warnings] == ["vae"]


def test_a_missing_component_is_a_note(store: MemoryStore) -> None:
    """What `model_index.json` names and is not there is said."""
    put(store, "p/model_index.json", b'{"prior": ["diffusers", "Prior"]}')
    (note,) = inspect_all(store, "p", key=None).notes
    assert "the component 'prior' has no directory" in note


def test_a_component_that_cannot_be_read(store: MemoryStore) -> None:
    """The others are shown, with a warning; where none can be read that is the error."""
    put(store, "p/vae/diffusion_pytorch_model.safetensors", b"x" * 50)
    found = inspect_all(store, "p", key=None)
    assert [name for name, _ in found.parts] == ["text_encoder", "unet"]
    assert [warning.partition(":")[0] for warning in found.warnings] == ["vae"]
    for path in WEIGHTS:
        put(store, f"p/{path}", b"x" * 50)
    with pytest.raises(FormatError):
        inspect_all(store, "p", key=None)
