"""--report: a page or an image that loads nothing, over nothing but an earlier one, whatever the
names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from shardctl.cli.app import app
from shardctl.cli.exits import run
from shardctl.report.page import MARKER
from tests.cli import browser
from tests.cli.files import plain_directory, write_safetensors

HOSTILE = {
    "<img src=x onerror=alert(1)>.w": 400, "</script><script>alert(2)</script>": 400,
    "nul\x00.w": 800, "bidi\u202etxt.w": 400, "__proto__.constructor": 400, "line\u2028end": 400,
    "'\"&amp;{{ 7*7 }}": 400, "שלום.עולם": 400, "名前.重み": 400, "..": 400, "a" * 300: 400,
}  # fmt: skip
Call = Callable[..., tuple[str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call(*arguments, code=0)` runs the command line in this process; returns what it printed to
    either stream.
    """

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        ended = run(app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert ended == code, err
        return out, err

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file of a few layers."""
    return plain_directory(
        tmp_path / "source", [f"model.layers.{n}.{part}.w" for n in range(4) for part in "abc"]
    )


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A checkpoint whose names try to become markup, script or control characters."""
    return write_safetensors(tmp_path / "hostile" / "model.safetensors", HOSTILE)


class Elements(HTMLParser):
    """What a page is made of: its elements, and its texts by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1] if self.tags else "", data))


def data_of(path: Path) -> Any:
    """The data that a page's script draws."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>',
        path.read_text("utf-8"),
        re.DOTALL,
    )
    assert found is not None
    return json.loads(found[1])


# where it goes


@pytest.mark.parametrize("name", ["r.html", "r.svg", "R.HTML"])
def test_every_command_that_looks_can_report(
    source: Path, tmp_path: Path, call: Call, name: str
) -> None:
    """`inspect`, `verify` and a writer, dry or not, write the report beside what they print, which
    stays the same.
    """
    path = tmp_path / name
    target = tmp_path / "out"
    for arguments in (
        ("inspect", source),
        ("inspect", source, "--json"),
        ("verify", source),
        ("split", source, target, "-n", "--max-shard-size", "800"),
        ("split", source, target, "--max-shard-size", "800", "--progress", "none"),
    ):
        path.unlink(missing_ok=True)
        out, _ = call(*arguments, "--report", path)
        assert MARKER in path.read_text("utf-8")[:100]
        if arguments[0] != "split" or "-n" in arguments:
            assert out == call(*arguments)[0]
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("name", ["report", "report.pdf", "html", "report.html/"])
def test_other_suffixes_are_usage_errors(
    source: Path, tmp_path: Path, call: Call, name: str
) -> None:
    """Neither .html nor .svg is 2, before any work, and says both."""
    _, err = call("split", source, tmp_path / "out", "--report", f"{tmp_path}/{name}", code=2)
    assert ".html" in err
    assert ".svg" in err
    assert not (tmp_path / "out").exists()


def test_a_directory_that_does_not_exist(source: Path, tmp_path: Path, call: Call) -> None:
    """The directory of a report is not created; that it is missing is an error before any work."""
    assert (
        "does not exist"
        in call("inspect", source, "--report", tmp_path / "no" / "r.html", code=2)[1]
    )


def test_only_reports_are_overwritten(source: Path, tmp_path: Path, call: Call) -> None:
    """A report is replaced, with its permissions, and so is an empty file; anything else is 4 and
    stays as it is.
    """
    path = tmp_path / "r.html"
    path.touch(mode=0o600)
    call("inspect", source, "--report", path)
    call("inspect", source, "--report", path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("<!DOCTYPE html><p>mine")
    _, err = call("inspect", source, "--report", path, code=4)
    assert "not a shardctl report" in err
    assert "hint: " in err
    assert path.read_text() == "<!DOCTYPE html><p>mine"
    (tmp_path / "directory.svg").mkdir()
    call("inspect", source, "--report", tmp_path / "directory.svg", code=4)


def test_check_writes_no_report(source: Path, tmp_path: Path, call: Call) -> None:
    """--check writes nothing, and so no report."""
    call("split", source, tmp_path / "out", "--check", "--report", tmp_path / "r.html", code=1)
    assert not (tmp_path / "r.html").exists()


def test_a_failure_leaves_the_old_report(
    source: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new report cannot be finished, the old one stays and nothing lies beside it."""
    from shardctl.errors import StorageError
    from shardctl.stores.local import LocalStore

    path = tmp_path / "r.html"
    call("inspect", source, "--report", path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise StorageError("no more room", hint="free some")

    monkeypatch.setattr(LocalStore, "rename", fail)
    call("inspect", source, "--report", path, code=5)
    assert path.read_bytes() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"source", "r.html"}


# what is in it


def test_a_page_holds_the_checkpoint(source: Path, tmp_path: Path, call: Call) -> None:
    """The data are the tensors of each file in order; the tables show the same without script."""
    path = tmp_path / "r.html"
    call("inspect", source, "--report", path)
    listed = json.loads(call("inspect", source, "--json")[0])["tensors"]
    data = data_of(path)
    assert data["dtypes"] == ["F32"]
    (shard,) = data["shards"]
    assert shard["nbytes"] == sum(tensor["nbytes"] for tensor in listed)
    assert [(t[0], t[3], t[4]) for t in shard["tensors"]] == [
        (t["name"], t["nbytes"], t["offset"]) for t in listed
    ]
    texts = " ".join(text for _, text in Elements(path.read_text("utf-8")).texts)
    assert all(tensor["name"] in texts for tensor in listed)


def test_a_plan_shows_the_planned_shards(source: Path, tmp_path: Path, call: Call) -> None:
    """A writer's report has the shards of the plan and the limit, and no offsets, which are not
    known yet.
    """
    path = tmp_path / "r.html"
    call("split", source, tmp_path / "out", "-n", "--max-shard-size", "800", "--report", path)
    data = data_of(path)
    assert data["limit"] == 800
    assert [shard["nbytes"] for shard in data["shards"]] == [800] * 6
    assert all(tensor[4] is None for shard in data["shards"] for tensor in shard["tensors"])
    assert "Before and after" in path.read_text("utf-8")


def test_findings_are_in_the_page(source: Path, tmp_path: Path, call: Call) -> None:
    """`verify` shows its findings with their remedies, over what can still be read, and where
    nothing can too.
    """
    path, weights = tmp_path / "r.html", source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    call("verify", source, "--report", path, code=1)
    text = path.read_text("utf-8")
    assert "file-truncated" in text
    assert "not ok" in text
    assert data_of(path)["shards"]
    weights.write_bytes(b"")
    call("verify", source, "--report", path, code=1)
    assert "file-empty" in path.read_text("utf-8")
    assert sum(len(shard["tensors"]) for shard in data_of(path)["shards"]) == 0


def test_tied_tensors_take_their_bytes_once(tmp_path: Path, call: Call) -> None:
    """Tied names are one tensor with a further name, views of one storage are its parts,
    overlapping ones are it.
    """
    import torch

    base, flat, over = torch.ones(10), torch.ones(10), torch.ones(10)
    tensors = {
        "a": base,
        "z": base,
        "f.0": flat[:4],
        "f.1": flat[4:],
        "o.0": over,
        "o.1": over[2:5],
    }
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    call("inspect", tmp_path / "pytorch_model.bin", "--report", tmp_path / "r.html")
    (shard,) = data_of(tmp_path / "r.html")["shards"]
    assert {tensor[0]: (tensor[3], tensor[5]) for tensor in shard["tensors"]} == {
        "a": (40, 1), "f.0": (16, 0), "f.1": (24, 0), "o.0": (40, 1),
    }  # fmt: skip


# hostile names


def test_names_are_only_text_in_a_page(hostile: Path, tmp_path: Path, call: Call) -> None:
    """No name makes an element, an attribute or an end of the script; what is invisible is written
    out.
    """
    path = tmp_path / "r.html"
    call("inspect", hostile, "--report", path)
    text = path.read_text("utf-8")
    page = Elements(text)
    assert "img" not in page.tags
    assert page.tags.count("script") == 2
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [name for name, _ in page.attributes if name in ("href", "src", "style")]
    assert not re.search("[\x00\u202e\u2028]", text)
    shown = {tensor[0] for shard in data_of(path)["shards"] for tensor in shard["tensors"]}
    assert {
        r"nul\x00.w",
        r"bidi\u202etxt.w",
        r"line\u2028end",
        "</script><script>alert(2)</script>",
    } <= shown
    assert len(shown) == len(HOSTILE)


def test_names_are_only_text_in_an_image(hostile: Path, tmp_path: Path, call: Call) -> None:
    """The image is well-formed, without script, links or handlers, and has the names."""
    path = tmp_path / "r.svg"
    call("inspect", hostile, "--report", path)
    root = ET.parse(path).getroot()  # noqa: S314 - made here
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "title", "style", "rect", "text", "line"}
    assert not [
        name
        for element in root.iter()
        for name in element.attrib
        if name.startswith("on") or "href" in name
    ]
    titles = " ".join(
        element.text or "" for element in root.iter() if element.tag.endswith("title")
    )
    assert "<img src=x onerror=alert(1)>" in titles


def test_an_image_counts_in_plural_forms(tmp_path: Path, call: Call) -> None:
    """The caption has a singular for one, and the format and the size without a label."""
    path = tmp_path / "r.svg"
    call("inspect", write_safetensors(tmp_path / "model.safetensors", {"a": 4}), "--report", path)
    title = ET.parse(path).getroot()[0].text or ""  # noqa: S314 - made here
    assert title.endswith(": safetensors · 1 file · 1 tensor · 1 parameter · 4 B")
    write_safetensors(tmp_path / "model.safetensors", {"a": 4, "b": 40})
    call("inspect", tmp_path / "model.safetensors", "--report", path)
    title = ET.parse(path).getroot()[0].text or ""  # noqa: S314 - made here
    assert title.endswith(": safetensors · 1 file · 2 tensors · 11 parameters · 44 B")


def test_a_page_allows_no_network(source: Path, tmp_path: Path, call: Call) -> None:
    """The policy allows just the page's own style and script, by their digests, and nothing is
    linked.
    """
    path = tmp_path / "r.html"
    call("inspect", source, "--report", path)
    page = Elements(path.read_text("utf-8"))
    policy = next(v for n, v in page.attributes if n == "content" and v)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "link" not in page.tags
    assert "http:" not in path.read_text("utf-8")
    assert "https:" not in path.read_text("utf-8")


# in a browser

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
    """In a browser every name is drawn as a text: no request, no error, no element of its own;
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
    header: dict[str, object] = {
        f"{'ab'[n % 2]}.x{n}": {"dtype": "U8", "shape": [4], "data_offsets": [4 * n, 4 * n + 4]}
        for n in range(100_000)
    }
    header["large"] = {"dtype": "U8", "shape": [4_000_000], "data_offsets": [400_000, 4_400_000]}
    text = json.dumps(header).encode()
    source, path = tmp_path / "model.safetensors", tmp_path / "r.html"
    source.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4_400_000))
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
    call("inspect", write_safetensors(tmp_path / "model.safetensors", names), "--report", path)
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
    call("inspect", write_safetensors(tmp_path / "model.safetensors", names), "--report", path)
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
