"""The manual pages: formatters report no problems, and the texts are those of the command line."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from shardctl.cli.guidance.help import EXIT_CODES
from shardctl.cli.spec import Command
from tests.support.program import ROOT, call_cli
from tests.support.safetensors_files import plain_directory, write_floats
from tools import manual, prose, source

COMMANDS = source.commands()
BY_NAME = {command.name: command for command in COMMANDS}
PAGES = sorted(manual.pages())
EXAMPLES = [line for command in COMMANDS for _, line in source.examples(command)]


def rendered(page: str) -> str:
    """A page as a reader sees it, each run of blanks as one."""
    command = ["mandoc", "-T", "utf8", str(ROOT / "man" / page)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return " ".join(re.sub(r".\x08", "", text).replace("\N{HYPHEN}\n", "").split())


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_a_formatter_complains_of_nothing(page: str) -> None:
    """`mandoc -T lint` finds neither errors nor matters of style."""
    command = ["mandoc", "-T", "lint", "-W", "style", str(ROOT / "man" / page)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    assert found == []


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name or "shardctl")
def test_a_page_has_every_option_variable_and_example(command: Command) -> None:
    """Nothing of the command line is missing from what a reader sees."""
    text = rendered(f"{command.path.replace(' ', '-')}.1")
    spellings = [each for option in command.options for each in option.spellings]
    variables = [option.variable for option in command.options if option.variable]
    examples = [line for _, line in source.examples(command)]
    assert [each for each in (*spellings, *variables, *examples) if each not in text] == []
    sections = (
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "EXAMPLES",
        "SEE ALSO",
    )
    assert [each for each in sections if each not in text] == []
    assert ("FILES" in text) == source.writes(command)


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_finds_the_pages(tmp_path: Path) -> None:
    """Where an installation puts the pages, `man` shows them."""
    shutil.copytree(ROOT / "man", tmp_path / "share" / "man" / "man1")
    for page in ("shardctl", "shardctl-split"):
        command = ["man", "-M", str(tmp_path / "share" / "man"), "-P", "cat", page]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f"{page.upper()}(1)" in done.stdout


def test_roff_prints_what_is_meant() -> None:
    """No text turns into an escape, a request or a hyphen of another kind."""
    assert manual.escape(r"a\b") == r"a\eb"
    assert manual.escape(".TH --x") == r"\&.TH \-\-x"
    assert manual.escape("'x…ü") == r"\(aqx...\[u00FC]"
    assert (
        manual.prose_lines("`--a` of *SIZE*, a well-known one")
        == r"\fB\-\-a\fR of \fISIZE\fR, a well-known one"
    )


def test_the_manual_and_the_documentation_agree_on_exit_codes() -> None:
    """The table in docs/cli.md has the manual's exit codes, in its words."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [
        f"| {code} | {meaning} |"
        for code, meaning in EXIT_CODES
        if f"| {code} | {meaning} |" not in text
    ] == []


def test_every_description_is_of_a_command() -> None:
    """No words are kept for a command that is gone."""
    assert set(prose.DESCRIPTIONS) == set(prose.EXAMPLES) == {command.name for command in COMMANDS}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with everything that the examples name."""
    monkeypatch.chdir(tmp_path)
    plain_directory(tmp_path / "model", ["layer.0.weight", "layer.0.bias", "head"])
    write_floats(
        tmp_path / "model.safetensors", {"layer.0.weight": 400, "layer.0.bias": 400, "head": 400}
    )
    call_cli("split", "model.safetensors", "sharded", "--num-shards", 2)
    call_cli("merge", "sharded", "old/pytorch_model.bin")
    with (tmp_path / "plan.json").open("w") as plan, redirect_stdout(plan):
        call_cli("split", "model", "out", "--dry-run", "--json")
    return tmp_path


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_works(workplace: Path, line: str) -> None:
    """The examples of the help and the manual succeed as they are."""
    _run(workplace, line, alone=True)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name or "program")
def test_the_examples_of_a_page_follow_each_other(workplace: Path, command: Command) -> None:
    """Run one after another, as a reader does, the examples of a page do not get in each other's
    way.
    """
    lines = [line for _, line in source.examples(command)]
    # A reader has no target yet; what the later examples read was written by the first.
    _, name, _, *target = shlex.split(lines[0])
    if target and source.writes(BY_NAME[name]):
        _make_way(workplace / target[0])
    for line in lines:
        _run(workplace, line, alone=False)


def _run(workplace: Path, line: str, *, alone: bool) -> None:
    """Run an example; `alone` first removes what is in its target."""
    if "last.ckpt" in line:
        _nested(workplace / "last.ckpt")
    if "|" in line or ">" in line:
        program = shlex.join([sys.executable, "-m", "shardctl"])
        command = ["sh", "-c", line.replace("shardctl ", f"{program} ")]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("name\tdtype") or ">" in line
        return
    program, command_name, *arguments = shlex.split(line)
    assert program == "shardctl"
    if (
        "TARGET" in {argument.name for argument in BY_NAME[command_name].arguments}
        and "--replace" not in arguments
        and alone
    ):
        _make_way(workplace / arguments[1])
    call_cli(command_name, *arguments)


def _make_way(target: Path) -> None:
    """The examples that write begin where there is no target yet."""
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)


def _nested(path: Path) -> None:
    """A training checkpoint with its weights below `state_dict`."""
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {"a": torch.zeros(3)}, "epoch": 3}, path)
