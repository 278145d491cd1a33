"""Poor terminals, narrow ones, and encodings that lack characters: nothing fails, and nothing is
coloured.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_terminal import on_terminal
from tests.support.program import RunCli
from tests.support.safetensors_files import plain_directory, write_floats

SURROUNDINGS = {
    "dumb": {"TERM": "dumb"},
    "narrow": {"COLUMNS": "40", "NO_COLOR": "1"},
    "C": {"LC_ALL": "C", "NO_COLOR": "1"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252", "NO_COLOR": "1"},
    "NO_COLOR": {"NO_COLOR": "1"},
}
ASCII_ONLY = ("C", "ASCII", "dumb")
#: A line to run, and its exit code.
LINES = {"split --help": 0, "inspect good": 0, "verify bad": 1, "splt": 2}
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|38|9[0-7])(?:;\d+)*m")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a good checkpoint and a damaged one, with names that most encodings lack."""
    directory = tmp_path_factory.mktemp("place")
    names = ["layer.0.重み", "layer.0.ключ", "head"]
    plain_directory(directory / "good", names)
    path = write_floats(directory / "bad" / "model.safetensors", dict.fromkeys(names, 400))
    path.write_bytes(path.read_bytes()[:-1])
    return directory


def words_of(line: str, place: Path) -> list[str]:
    """The line's words, with the checkpoints' full paths."""
    return [str(place / word) if word in ("good", "bad") else word for word in line.split()]


@pytest.mark.parametrize("surroundings", ["ASCII", "cp1252"])
@pytest.mark.parametrize("line", LINES)
def test_in_a_pipe(place: Path, run_cli: RunCli, line: str, surroundings: str) -> None:
    """In a pipe every command ends as it does elsewhere, without a traceback, and sends no
    sequence.
    """
    done = run_cli(
        *words_of(line, place),
        code=LINES[line],
        env={**SURROUNDINGS[surroundings], "PYTHONUTF8": "0"},
    )
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("line", LINES)
def test_on_a_terminal(place: Path, line: str, surroundings: str) -> None:
    """On a terminal too; what cannot be shown is escaped, and what is drawn keeps to the width."""
    environment = SURROUNDINGS[surroundings]
    text = on_terminal(*words_of(line, place), code=LINES[line], env=environment)
    assert "Traceback" not in text
    assert not _COLOUR.search(text)
    if surroundings == "dumb":
        assert "\x1b" not in text
    if surroundings in ASCII_ONLY and not line.startswith("verify"):
        assert text.isascii()
    if surroundings == "narrow" and "help" in line:
        assert max(map(len, _STYLE.sub("", text).splitlines())) <= 40
