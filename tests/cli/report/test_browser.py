"""Reports in a browser: keys, sizes, schemes, large checkpoints, and no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.report import browser
from tests.cli.report.pages import HOSTILE
from tests.support.program import Call
from tests.support.safetensors_files import write_floats

needs_browser = pytest.mark.skipif(
    browser.found() is None, reason="needs a Chromium (Debian's package `chromium`)"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """One page for all tests."""
    with browser.browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


CELLS = "[...document.querySelectorAll('#treemap > .cell')].map(c => c.getAttribute('aria-label'))"
FOCUSED = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
TRAIL = "[...document.querySelectorAll('#trail button')].map(b => b.textContent)"


@needs_browser
def test_the_keyboard_opens_layers(
    source: Path, tmp_path: Path, call: Call, page: browser.Page
) -> None:
    """Arrows go from cell to cell, Enter opens one, Escape goes back to it; the address says where
    one is.
    """
    path = tmp_path / "r.html"
    call("inspect", source, "--report", path)
    page.open(path)
    assert sorted(cell[0] for cell in page.value(CELLS)) == ["0", "1", "2", "3"]
    assert page.value("document.querySelectorAll('#treemap [tabindex=\"0\"]').length") == 1
    page.value("document.querySelector('#treemap .cell').focus()")
    first = page.value(FOCUSED)
    page.press("ArrowRight")
    second = page.value(FOCUSED)
    assert second != first
    page.press("Enter")
    assert sorted(cell[:3] for cell in page.value(CELLS)) == ["a.w", "b.w", "c.w"]
    assert page.value("location.hash") == f"#model.layers.{second[0]}"
    assert page.value(TRAIL)[-1] == second[0]
    page.press("Escape")
    assert page.value(FOCUSED) == second
    page.press("ArrowLeft")
    assert page.value(FOCUSED) == first
    page.press("Escape")
    assert len(page.value(CELLS)) == 4
    page.open(path, hash_="#model.layers.2")
    assert page.value(TRAIL)[-1] == "2"
    assert (page.problems, page.requests) == (
        [],
        [f"{path.as_uri()}#model.layers.2"],
    ) or page.requests == [path.as_uri()]


@needs_browser
def test_shards_are_read_with_the_arrows(
    source: Path, tmp_path: Path, call: Call, page: browser.Page
) -> None:
    """A shard's tensors follow each other under the arrow keys, and each says its name, dtype,
    shape and size.
    """
    path = tmp_path / "r.html"
    call("split", source, tmp_path / "out", "-n", "--max-shard-size", "1600", "--report", path)
    page.open(path)
    assert page.value("document.querySelectorAll('.track').length") == 3
    page.value("document.querySelector('.segment').focus()")
    page.press("ArrowRight")
    about = page.value("document.getElementById('shards-about').textContent")
    plain = about.translate(dict.fromkeys(map(ord, "\u200e\u2068\u2069")))
    assert plain.startswith(
        "model-00001-of-00003.safetensors: model.layers.0.b.w · F32 · 100 · 400 B"
    )
    assert page.value("document.querySelectorAll('.limit').length") == 3
    assert page.problems == []


@needs_browser
@pytest.mark.parametrize("script", [True, False])
def test_hostile_names_do_nothing(
    hostile: Path, tmp_path: Path, call: Call, page: browser.Page, *, script: bool
) -> None:
    """In a browser every name is drawn as a text: no request, no error, no extra element;
    without script too.
    """
    path = tmp_path / "r.html"
    call("inspect", hostile, "--report", path)
    page.open(path, script=script)
    assert page.requests == [path.as_uri()]
    assert page.problems == []
    text = page.value("document.body.innerText")
    assert "checkpoint" in text.lower()
    assert page.value("document.querySelectorAll('img').length") == 0
    assert (page.value("document.querySelectorAll('.segment').length") == len(HOSTILE)) == script
    assert page.value("document.getElementById('areas').hidden") is not script


@needs_browser
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [True, False])
def test_pages_fit(
    source: Path, tmp_path: Path, call: Call, page: browser.Page, width: int, *, dark: bool
) -> None:
    """No width makes the page scroll sideways, and the scheme of the reader decides its colours."""
    path = tmp_path / "r.html"
    call("verify", source, "--report", path)
    page.open(path, width=width, dark=dark)
    assert page.value("document.documentElement.scrollWidth") <= width
    background = page.value("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(18, 18, 17)") == dark


@needs_browser
def test_large_checkpoints_stay_usable(tmp_path: Path, call: Call, page: browser.Page) -> None:
    """Of a hundred thousand tensors those that have room are drawn, and the tail is a few dozen
    cells that open.
    """
    sizes = {f"{'ab'[n % 2]}.x{n}": 4 for n in range(100_000)} | {"large": 4_000_000}
    path = tmp_path / "r.html"
    source = write_floats(tmp_path / "model.safetensors", sizes)
    call("inspect", source, "--report", path)
    page.open(path)
    assert page.value("document.querySelectorAll('*').length") < 6000
    page.value("document.querySelector('#treemap > .cell[aria-label^=a]').click()")
    assert 20 < len([cell for cell in page.value(CELLS) if " … " in cell]) <= 60
    page.value("document.querySelector('#treemap > .cell:last-child').click()")
    assert " … " in page.value(TRAIL)[-1]
    page.press("Escape")
    assert page.value(TRAIL)[-1] == "a"
    assert page.problems == []


@needs_browser
def test_a_small_tail_is_one_cell(tmp_path: Path, call: Call, page: browser.Page) -> None:
    """What is too small to be hit, and little of the whole, is one cell that opens and is left
    again.
    """
    names = {"large": 1_000_000, **{f"n{number}": 4 for number in range(300)}}
    path = tmp_path / "r.html"
    call("inspect", write_floats(tmp_path / "model.safetensors", names), "--report", path)
    page.open(path)
    assert [cell.partition(",")[0] for cell in page.value(CELLS)] == ["large", "300 more"]
    page.value("document.querySelector('#treemap > .cell:last-child').click()")
    assert page.value(TRAIL)[-1].endswith(" more")
    page.press("Escape")
    assert page.value(TRAIL) == ["all"]
    assert page.problems == []


@needs_browser
def test_thousands_of_equal_layers(tmp_path: Path, call: Call, page: browser.Page) -> None:
    """None of five thousand layers is large enough to be hit, so each cell is a range of them; the
    trail says whose.
    """
    names = {f"model.layers.{number}.w": 4 for number in range(5000)}
    path = tmp_path / "r.html"
    call("inspect", write_floats(tmp_path / "model.safetensors", names), "--report", path)
    page.open(path)
    cells = page.value(CELLS)
    assert cells[0].startswith("0 … ")
    assert 20 < len(cells) <= 60
    assert page.value(TRAIL) == ["model.layers"]
    assert page.problems == []


@needs_browser
@pytest.mark.parametrize("dark", [True, False])
def test_an_image_is_drawn(
    source: Path, tmp_path: Path, call: Call, page: browser.Page, *, dark: bool
) -> None:
    """A browser draws the image without an error, in either scheme."""
    path = tmp_path / "r.svg"
    call("inspect", source, "--report", path)
    page.open(path, dark=dark)
    assert page.value("document.querySelectorAll('rect.c0').length") > 12
    page_colour = page.value("getComputedStyle(document.querySelector('rect')).fill")
    assert (page_colour == "rgb(26, 26, 25)") == dark
    assert page.problems == []


LABELS = "[...document.querySelectorAll('#treemap > .cell > .title')].map(t => t.textContent)"


@needs_browser
def test_layers_are_in_natural_order(tmp_path: Path, call: Call, page: browser.Page) -> None:
    """Layer 2 comes before layer 10 and is not below it, whatever their sizes."""
    names = {f"layers.{number}.w": 4000 + 400 * (number % 3) for number in range(12)}
    path = tmp_path / "r.html"
    source = write_floats(tmp_path / "model.safetensors", names)
    call("inspect", source, "--report", path)
    page.open(path)
    assert [cell.partition(".")[0] for cell in page.value(CELLS)] == list(map(str, range(12)))
    tops = page.value("[...document.querySelectorAll('#treemap > .cell')].map(c => c.offsetTop)")
    assert tops == sorted(tops)


@needs_browser
def test_colours_show_kinds_or_dtypes(tmp_path: Path, call: Call, page: browser.Page) -> None:
    """A button chooses what colours show, in the areas and the files; the legend follows."""
    names = {"model.embed.w": 4000, "model.layers.0.mlp.w": 4000, "model.layers.0.norm.w": 4000}
    path = tmp_path / "r.html"
    call("inspect", write_floats(tmp_path / "model.safetensors", names), "--report", path)
    page.open(path)
    used = "new Set([...document.querySelectorAll('.segment')].map(s => s.className)).size"
    legends = "[...document.querySelectorAll('.groups:not(.plain) h2')].map(h => h.textContent)"
    assert (page.value(used), page.value(legends)) == (3, ["Kinds"])
    page.value("document.querySelectorAll('#colours button')[1].click()")
    assert (page.value(used), page.value(legends)) == (1, ["Dtypes"])
    assert "3,000 parameters" in page.value("document.getElementById('treemap-about').innerText")
    assert page.problems == []


@needs_browser
def test_labels_keep_their_last_parts(tmp_path: Path, call: Call, page: browser.Page) -> None:
    """Where a label does not fit, its end is shown, without a `weight` that says nothing."""
    names = {f"block.{'long_name.' * 20}part{number}.weight": 400 for number in range(3)}
    path = tmp_path / "r.html"
    call("inspect", write_floats(tmp_path / "model.safetensors", names), "--report", path)
    page.open(path, width=400)
    assert page.value(LABELS) == [f"part{number}.weight" for number in range(3)]
