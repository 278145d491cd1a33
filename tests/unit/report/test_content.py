"""What a report shows of a pipeline."""

from __future__ import annotations

from shardctl.commands.pipeline import inspect_all
from shardctl.report.content import of_inspected
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.pipelines import pipeline


def test_tensors_of_components_are_told_apart() -> None:
    """Files and tensors have the component's name before theirs, which two components may share."""
    store = pipeline(MemoryStore())
    for name in ("prior/a", "prior/b"):
        put(store, f"p/{name}/model.safetensors", weights({"w": b"1"}))
    content = of_inspected(inspect_all(store, "p", key=None))
    held = {file.bar.name: [row.name for row in file.rows] for file in content.files}
    assert held["prior/a/model.safetensors"] == ["prior.a.w"]
    assert held["prior/b/model.safetensors"] == ["prior.b.w"]
    assert held["vae/diffusion_pytorch_model.safetensors"] == ["vae.decoder"]
