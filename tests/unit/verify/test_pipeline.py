"""The verdict on a pipeline: on every component, and on what its index names."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.engine.commit.exchange import Exchange, Named
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import Commit, Journal, RunIdentity
from shardctl.errors import UsageError
from shardctl.formats.limits import MAX_CHECKSUMS_BYTES
from shardctl.testing.memory import MemoryStore
from shardctl.verify.pipeline import asking
from shardctl.verify.run import Thoroughness, Verdict, verify
from tests.support.memory_checkpoints import put, sample, weights
from tests.support.pipelines import pipeline

VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def store() -> MemoryStore:
    """The pipelines `p` and `q`, which are equal."""
    return pipeline(pipeline(MemoryStore()), "q")


def look(store: MemoryStore, source: str = "p", **how: Any) -> Verdict:
    """What is found."""
    asked = asking(store, source, Thoroughness(**how))
    return asked.verdict([verify(store, part.source, part.how) for part in asked.parts])


def test_a_sound_pipeline(store: MemoryStore) -> None:
    """The verdict counts the files and tensors of all components."""
    found = look(store)
    assert (found.ok, found.files, found.tensors) == (True, 3, 6)
    assert [name for name, _ in found.components] == ["text_encoder", "unet", "vae"]
    assert [each.what for each in found.coverage.unchecked] == [
        "the bytes of 2 tensors of text_encoder",
        "the bytes of 3 tensors of unet",
        "the bytes of 1 tensor of vae",
    ]
    assert found.coverage.checked.startswith("text_encoder, unet, vae: each structure only")


def test_a_damaged_component(store: MemoryStore) -> None:
    """Its findings are among those of the pipeline, and the others are checked all the same."""
    put(store, f"p/{VAE}", b"x" * 50)
    found = look(store)
    assert not found.ok
    assert found.findings[0].severity == "error"
    assert found.findings[0].file == f"p/{VAE}"
    assert {name: each.ok for name, each in found.components} == {
        "text_encoder": True,
        "unet": True,
        "vae": False,
    }


def test_a_component_that_is_missing(store: MemoryStore) -> None:
    """What `model_index.json` names must be there."""
    put(store, "p/model_index.json", b'{"prior": ["diffusers", "Prior"]}')
    found = look(store)
    assert [each.code for each in found.findings] == ["component-missing"]
    assert not found.ok


def test_against_another_pipeline(store: MemoryStore) -> None:
    """Each component is compared with the one of its name, byte for byte with `deep`."""
    assert look(store, against="q", deep=True).findings == ()
    put(store, f"q/{VAE}", weights({"decoder": b"\x08" * 40}))
    found = look(store, against="q", deep=True)
    assert [(each.code, each.tensor) for each in found.findings] == [("against-data", "decoder")]
    assert found.coverage.checked.startswith("text_encoder: structure; against 'q/text_encoder'")


def test_against_a_pipeline_with_other_components(store: MemoryStore) -> None:
    """A component that only one of them has is an error."""
    store.remove(f"q/{VAE}")
    put(store, "q/prior/model.safetensors", weights({"a": b"1"}))
    codes = {each.code: each.message for each in look(store, against="q").findings}
    assert codes == {
        "against-extra": "the component 'vae' is missing in 'q'",
        "against-missing": "the component 'prior' is only in 'q'",
    }


def test_against_what_is_no_pipeline(store: MemoryStore) -> None:
    """A pipeline is compared with a pipeline."""
    sample(store)
    with pytest.raises(UsageError, match="is not a pipeline"):
        look(store, against="m")


def test_a_checkpoint_is_asked_for_as_ever(store: MemoryStore) -> None:
    """Where SOURCE is one checkpoint, the verdict is that of `verify`."""
    assert look(store, "p/unet") == verify(store, "p/unet", Thoroughness())


def test_a_list_of_checksums_that_is_too_large(store: MemoryStore) -> None:
    """It is one warning, though it would be about each of the components."""
    put(store, "p/SHA256SUMS", b"#" * (MAX_CHECKSUMS_BYTES + 1))
    found = look(store)
    assert [(each.code, each.severity) for each in found.findings] == [("digest-unread", "warning")]


def test_a_replacement_that_was_interrupted_at_the_top(store: MemoryStore) -> None:
    """That is an error, and the components are checked all the same."""
    with Staging.make(store, "p") as staging:
        place = staging.target.own_identity()
        named = Named("SHA256SUMS", place)
        commit = Commit(RunIdentity("x", {}, {}), place, Exchange((named,), ()), ())
        Journal(staging).begin_commit(commit)
    found = look(store)
    assert [(each.code, each.severity) for each in found.findings] == [("folder-leftover", "error")]
    assert found.tensors == 6
