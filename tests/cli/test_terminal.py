"""On a terminal: what is drawn, with which colours, and that no name of a tensor can control the
terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.program import ROOT, RunCli
from tests.support.safetensors_files import ITEM_BYTES, plain_directory, write_floats
from tests.support.terminals import until_closed

pty = pytest.importorskip("pty")

HOSTILE = (
    "[red]x[/red]",
    "line\nbreak",
    "esc\x1b[2Jape",
    "bidi\u202etxt",
    "[link=evil]",
    ":warning:",
)
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7])(?:;\d+)*m")
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(*arguments: object, code: int = 0, env: Mapping[str, str] | None = None) -> str:
    """Run the program with a terminal for all three streams; returns what the terminal got."""
    variables = {
        **{
            name: value
            for name, value in os.environ.items()
            if name not in ("CI", "NO_COLOR", "FORCE_COLOR")
        },
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLUMNS": "120",
        **(env or {}),
    }
    command = [sys.executable, "-m", "shardctl", *map(str, arguments)]
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, variables)  # noqa: S606 - the program under test, as the terminal's child
    text = b"".join(until_closed(terminal)).decode()
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == code, text
    return text


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file of three layers."""
    return plain_directory(tmp_path / "source", ["layer.0.w", "layer.1.w", "head"])


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A file whose tensors have names that markup, a terminal or a reader would stumble over."""
    return write_floats(tmp_path / "hostile" / "model.safetensors", dict.fromkeys(HOSTILE, 400))


def test_inspect_draws(source: Path) -> None:
    """A terminal gets sums and a tree of layers instead of rows."""
    text = on_terminal("inspect", source)
    assert "layers" in text
    assert "0–1" in text  # noqa: RUF001 - an en dash, as in ranges
    assert "\t" not in text


def test_names_of_any_length_and_depth(tmp_path: Path) -> None:
    """A tree is drawn of names with a thousand parts and with a million, however deep it is asked
    to be.
    """
    path = tmp_path / "model.safetensors"
    names = [".".join("a" * parts) for parts in range(1, 1200)] + ["." * 1_000_000]
    write_floats(path, dict.fromkeys(names, ITEM_BYTES))
    drawn = on_terminal("inspect", path, "--depth", "1500")
    assert "1,200 tensors" in drawn
    assert len(drawn) < 100_000


def test_depth_and_top_on_a_terminal(source: Path) -> None:
    """--depth cuts the tree, and --top lists the largest tensors."""
    assert "layer.0–1.w" not in on_terminal("inspect", source, "--depth", "1")  # noqa: RUF001 - an en dash, as in ranges
    assert "largest tensors" in on_terminal("inspect", source, "--top", "2")


def test_verify_draws_the_hint(source: Path) -> None:
    """A terminal gets each finding with what to do about it."""
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    text = on_terminal("verify", source, code=1)
    assert "file-truncated" in text
    assert "→" in text
    assert _COLOUR.search(text)


def test_no_color(source: Path) -> None:
    """NO_COLOR takes the colours away, from results and from progress."""
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert not _COLOUR.search(on_terminal("verify", source, code=1, env={"NO_COLOR": "1"}))


def test_progress_without_colour(source: Path, tmp_path: Path) -> None:
    """NO_COLOR holds for the bars too."""
    assert not _COLOUR.search(on_terminal("split", source, tmp_path / "out", env={"NO_COLOR": "1"}))


def test_a_dumb_terminal_gets_no_sequences(source: Path, tmp_path: Path) -> None:
    """TERM=dumb means plain characters, for drawings and progress."""
    dumb = {"TERM": "dumb"}
    for arguments in (("inspect", source), ("verify", source), ("split", source, tmp_path / "out")):
        assert "\x1b" not in on_terminal(*arguments, env=dumb)


@pytest.mark.parametrize("columns", [40, 100])
def test_a_dumb_terminal_has_its_width(source: Path, columns: int) -> None:
    """Drawings and help fit a terminal that is dumb as well."""
    for arguments in (("inspect", source), ("split", source, "x", "-n"), ("split", "--help")):
        text = on_terminal(*arguments, env={"TERM": "dumb", "COLUMNS": str(columns)})
        assert columns - 5 <= max(map(len, text.splitlines())) <= columns


def test_force_color_draws_in_a_pipe(source: Path, run_cli: RunCli) -> None:
    """FORCE_COLOR asks for the drawing where there is no terminal."""
    assert "\x1b[" in run_cli("inspect", source, env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[" not in run_cli("inspect", source).stdout


@pytest.mark.parametrize("how", ["inspect", "dry-run", "top", "verify"])
def test_names_cannot_control_the_terminal(hostile: Path, tmp_path: Path, how: str) -> None:
    """Markup stays text; line breaks, escapes and turned text are written out, never sent."""
    other = write_floats(tmp_path / "other.safetensors", {"a": 4})
    arguments, code = {
        "inspect": (("inspect", hostile), 0),
        "top": (("inspect", hostile, "--top", "9"), 0),
        "dry-run": (("split", hostile, tmp_path / "out", "-n", "--max-shard-size", "300"), 0),
        "verify": (("verify", hostile, "--against", other), 1),
    }[how]
    text = on_terminal(*arguments, code=code, env={"COLUMNS": "200"})
    plain = _STYLE.sub("", text)
    assert "\x1b" not in plain
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    for shown in (
        "[red]x[/red]",
        r"line\nbreak",
        r"esc\x1b[2Jape",
        r"bidi\u202etxt",
        "[link=evil]",
        ":warning:",
    ):
        assert shown in plain


def test_names_in_errors_cannot_either(tmp_path: Path) -> None:
    """An error that names a hostile tensor or path is as harmless."""
    text = on_terminal("inspect", tmp_path / "no\x1b[2Jwhere\u202e", code=3)
    assert "\x1b" not in text
    assert "\u202e" not in text


# progress


def test_bars_leave_no_trace(source: Path, tmp_path: Path) -> None:
    """On a terminal there are bars while the work lasts; the closing line and the path stay."""
    text = on_terminal("split", source, tmp_path / "out", "--max-shard-size", "400")
    assert "\x1b[?25l" in text
    assert text.rstrip().endswith("model.safetensors.index.json")
    assert "\x1b[?25h" in text


@pytest.mark.parametrize("options", [("--progress", "none"), ("-q",), ("--progress", "plain")])
def test_no_bars_where_they_are_not_wanted(
    source: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """--progress none and plain, and -q, draw no bar on a terminal."""
    assert "\x1b[?25l" not in on_terminal("split", source, tmp_path / "out", *options)


def test_progress_json(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """--progress json is one object a line on stderr: start first, a shard-done for each file,
    committing, done.
    """
    done = run_cli(
        "split", source, tmp_path / "out", "--max-shard-size", "400", "--progress", "json", "-v"
    )
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start"
    assert kinds[-2:] == ["committing", "done"]
    assert kinds.count("shard-done") == len(events[0]["files"]) == 5
    assert events[-1]["done"] == events[-1]["total"] == events[0]["total"]


def test_progress_plain_is_lines(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """In a pipe progress is plain lines; with `none` there is only the closing line."""
    assert "writing 2 files" in run_cli("split", source, tmp_path / "out").stderr
    assert "writing" not in run_cli("split", source, tmp_path / "none", "--progress", "none").stderr
