"""The drawings as a whole: every line fits, whatever the checkpoint, and ASCII where nothing else
can be shown.
"""

from __future__ import annotations

import pytest

from shardctl.cli.terminal import views
from shardctl.cli.terminal.canvas import ASCII, BLOCKS, Canvas, Glyphs, drawn
from shardctl.commands import inspect as inspection
from shardctl.commands.preparing.work import prepare_all
from shardctl.planning.request import Limits, WriteOptions
from shardctl.testing.memory import MemoryStore
from shardctl.text import cells
from tests.support.memory_checkpoints import put, weights
from tests.unit.cli.terminal.test_charts import HOSTILE, WIDTHS

CHECKPOINTS = {
    "hostile": {name: bytes(10 + number) for number, name in enumerate(filter(None, HOSTILE))},
    "one": {"w": bytes(1000)},
    "empty": {},
    "layers": {f"model.layers.{n}.{'x' * (n % 7)}.weight": bytes(n % 5) for n in range(5000)},
    "deep": {"layer." * 40 + "w": bytes(9), "layer." * 39 + "v": bytes(9)},
}


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment changes what is drawn."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")


def store_with(name: str) -> MemoryStore:
    """A store with one of the checkpoints."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights(CHECKPOINTS[name]))
    return store


def check(text: str, on: Canvas) -> list[str]:
    """The lines of a drawing, which fit and can be shown."""
    lines = text.splitlines()
    assert max(map(cells, lines)) <= on.width
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert on.glyphs is BLOCKS or text.isascii()
    return lines


@pytest.mark.usefixtures("plain_terminal")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("glyphs", [BLOCKS, ASCII], ids=["blocks", "ascii"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_drawings_fit(name: str, width: int, glyphs: Glyphs) -> None:
    """`inspect --top` and `--dry-run` fit the terminal, and stay short for thousands of layers."""
    on = Canvas(width, glyphs)
    store = store_with(name)
    found = inspection.inspect(store, "m", key=None)
    seen = check(drawn(on, *views.inspection(found, on, depth=None, top=5)), on)
    assert len(seen) < 400
    options = WriteOptions(Limits(max_shard_bytes=12))
    work = prepare_all(store, "m", store, "out", options, finish=False)
    planned = check(drawn(on, *views.work(work, on)), on)
    assert len(planned) < 80
    assert sum(line.startswith(("before", "after")) for line in planned) == 2


@pytest.mark.usefixtures("plain_terminal")
def test_long_chains_keep_both_ends() -> None:
    """A chain of single layers is one line, shortened in the middle; a fork below it is seen."""
    on = Canvas(80)
    found = inspection.inspect(store_with("deep"), "m", key=None)
    tree = check(drawn(on, *views.inspection(found, on, depth=None, top=None)), on)
    assert any(line.startswith("└── layer.layer") and "…" in line for line in tree)
    assert any(line.lstrip(" ├└─").startswith("v ") for line in tree)
