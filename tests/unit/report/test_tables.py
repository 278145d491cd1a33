"""Tables show the most, count what they leave out, and colour what can be distinguished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardctl.report import tables as module
from shardctl.report.content import Content, FileContent
from shardctl.report.tables import COLOURS, by_dtype, by_kind, palettes, tables
from shardctl.view.shares import group_shares
from shardctl.view.tensors import TensorRow

if TYPE_CHECKING:
    import pytest


def row(name: str, nbytes: int = 10, dtype: str = "F32") -> TensorRow:
    """A tensor of so many bytes."""
    return TensorRow(name, dtype, (nbytes,), nbytes, 0)


def content(*files: list[TensorRow]) -> Content:
    """A report of files with these tensors."""
    held = tuple(FileContent.of(f"f{at}", 1_000, rows) for at, rows in enumerate(files))
    rows = [each for file in held for each in file.rows]
    dtypes = group_shares((each.dtype, each.nbytes) for each in rows)
    return Content("t", "inspect", (), held, dtypes)


def test_what_is_left_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, layers and tensors each have so many rows as the limit, and the rest is a number."""
    rows = [[row(f"l{at}.w", 10 + at)] for at in range(5)]
    whole = tables(content(*rows))
    assert (len(whole.files), len(whole.layers), len(whole.largest)) == (5, 5, 5)
    assert (whole.hidden_files, whole.hidden_layers, whole.hidden_tensors) == (0, 0, 0)
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    cut = tables(content(*rows))
    assert (len(cut.files), len(cut.layers), len(cut.largest)) == (3, 3, 3)
    assert (cut.hidden_files, cut.hidden_layers, cut.hidden_tensors) == (2, 2, 2)
    assert [each.name for each in cut.largest] == ["l4.w", "l3.w", "l2.w"]
    assert [each.share.name for each in cut.layers] == ["l4.w", "l3.w", "l2.w"]


def test_an_empty_report() -> None:
    """It has no rows, and leaves nothing out."""
    empty = tables(content())
    assert (empty.files, empty.layers, empty.largest) == ((), (), ())
    assert (empty.hidden_files, empty.hidden_layers, empty.hidden_tensors) == (0, 0, 0)


def test_dtypes_have_colours_by_their_bytes() -> None:
    """The largest has the first; all beyond the last share one more, as what is unknown does."""
    rows = [row("w", 100 - at, f"T{at}") for at in range(COLOURS + 2)]
    palette = by_dtype(content(rows))
    assert [palette.colour(f"T{at}") for at in range(COLOURS + 2)] == [
        *range(COLOURS),
        COLOURS,
        COLOURS,
    ]
    assert palette.colour(None) == palette.colour("none") == COLOURS
    assert palette.tells


def test_kinds_have_the_same_colour_in_every_report() -> None:
    """Whatever else is there."""
    one = by_kind(content([row("model.layers.0.self_attn.q_proj.weight")]))
    both = by_kind(
        content([row("model.layers.0.mlp.up_proj.weight", 99), row("h.0.self_attn.q_proj.weight")])
    )
    shared = set(one.colours) & set(both.colours)
    assert shared
    assert all(one.colour(kind) == both.colour(kind) for kind in shared)


def test_names_that_tell_no_kind_are_not_coloured_by_kind() -> None:
    """Then the dtypes alone are used."""
    titles = [palette.title for palette in palettes(content([row("xyz")]))]
    assert titles == ["dtype"]
    known = content([row("model.layers.0.self_attn.q_proj.weight")])
    assert [palette.title for palette in palettes(known)] == ["kind", "dtype"]
