"""Elements of a file into memory of any type and strides."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.state_dicts import bits, save

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("seed", range(20))
def test_elements_go_where_they_belong(seed: int) -> None:
    """Row-major pieces of any length fill a tensor of any strides."""
    from shardctl.torch.loading.fill import put_flat

    draw = random.Random(seed)
    shape = [draw.randint(1, 5) for _ in range(draw.randint(0, 4))]
    order = draw.sample(range(len(shape)), len(shape))
    expected = torch.randn(shape)
    target = torch.zeros([shape[at] for at in order]).permute(
        [order.index(at) for at in range(len(shape))]
    )
    assert list(target.shape) == shape
    flat, done = expected.reshape(-1), 0
    while done < len(flat):
        count = draw.randint(1, len(flat) - done)
        put_flat(target, done, flat[done : done + count])
        done += count
    assert torch.equal(target, expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_large_tensors_are_read_in_parts(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of one tensor are read at once, straight or converted, and all of them arrive."""
    from shardctl.torch.loading import fill
    from shardctl.torch.opened import read_headers

    monkeypatch.setattr(fill, "PART_BYTES", 1000)
    monkeypatch.setattr(fill, "_BUFFER_BYTES", 300)
    state = {"w": torch.randn(70, 11), "t": torch.randn(9, 60).t(), "e": torch.empty(0, 4)}
    opened = read_headers(save(state, tmp_path / "m.bin"), None)
    targets = {
        "w": torch.zeros(70, 11),
        "w2": torch.zeros(70, 11, dtype=torch.float64),
        "t": torch.zeros(9, 60).t(),
        "e": torch.empty(0, 4),
    }
    fills = [fill.Fill(name, opened.tensors[name[:1]], target) for name, target in targets.items()]
    progress = fill.Progress()
    with opened.sources() as sources:
        fill.fill(sources, fills, threads, progress)
    assert bits(targets["w"]) == bits(state["w"])
    assert torch.equal(targets["w2"], state["w"].double())
    assert torch.equal(targets["t"], state["t"])
    assert progress.partial == []
    assert len(progress.finished) == 3
