"""The help: `-h` is one screen of main options, `--help` is everything, and no variable asks for
it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from shardctl.cli.guidance.help import EXIT_CODES, MAIN, VARIABLES
from shardctl.cli.spec import Command
from tests.support.program import run_cli
from tests.support.safetensors_files import plain_directory
from tools import source

ROOT, *COMMANDS = source.commands()
#: Lines of a terminal window as it opens.
SCREEN = 24
WIDTHS = (80, 100)
each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
each_page = pytest.mark.parametrize(
    "command", [ROOT, *COMMANDS], ids=lambda command: command.name or "shardctl"
)


@cache
def page(name: str, option: str, width: int = 100) -> str:
    """The help of a command, or of the program where the name is empty, in so many columns."""
    return run_cli(*filter(None, [name]), option, env={"COLUMNS": str(width)}).stdout


def words(text: str) -> str:
    """A text with single blanks for any white space, so that it does not matter where lines end."""
    return " ".join(text.split())


@each_page
@pytest.mark.parametrize("width", WIDTHS)
def test_the_short_help_fits_one_screen(command: Command, width: int) -> None:
    """`-h` is at most 24 lines in windows of 80 and of 100 columns, and says where the rest is."""
    lines = page(command.name, "-h", width).splitlines()
    assert len(lines) <= SCREEN
    assert lines[0].startswith(f"Usage: {command.path} ")
    assert "--help" in lines[-1]


@each_page
@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("width", [40, *WIDTHS])
def test_no_line_is_too_long(command: Command, option: str, width: int) -> None:
    """No line of the help is longer than the window, and none ends with blanks."""
    lines = page(command.name, option, width).splitlines()
    assert [line for line in lines if len(line) > width or line != line.rstrip()] == []


@each_command
def test_the_short_help_has_the_main_options(command: Command) -> None:
    """`-h` has the summary, every argument, each main option of the command under its heading, and
    an example.
    """
    text = page(command.name, "-h")
    main = [option for option in command.options if option.flags[-1] in MAIN]
    headings = [heading for heading, options in command.panels() if set(options) & set(main)]
    assert main or command.name == "completion"
    expected = [command.summary, "Arguments:", *(f"{heading}:" for heading in headings)]
    expected += [argument.text for argument in command.arguments]
    expected += [each for option in main for each in (option.spelling, option.text)]
    expected += [f"Example: {example}" for example in command.examples]
    assert [each for each in expected if each not in text] == []
    others = [option.spelling for option in command.options if option not in main]
    assert [spelling for spelling in others if f"  {spelling} " in text] == []


def test_every_main_option_exists() -> None:
    """The list of main options names none that is gone."""
    assert {option.flags[-1] for command in COMMANDS for option in command.options} >= MAIN


@each_page
def test_the_full_help_has_everything(command: Command) -> None:
    """`--help` has every option with its text, default and details under its heading, variables and
    exit codes.
    """
    text = page(command.name, "--help")
    at = [text.index(f"\n{heading}:\n") for heading in [name for name, _ in command.panels()]]
    assert at == sorted(at)
    expected = [option.spelling for option in command.options]
    expected += [
        f"[default: {option.default}]"
        for option in command.options
        if option.default and not option.negative
    ]
    expected += [
        words(each) for option in command.options for each in (option.text, option.details)
    ]
    expected += [words(each) for row in (*VARIABLES, *EXIT_CODES) for each in row]
    # Where a text takes several lines, the column of names is empty beside it.
    assert [each for each in expected if each not in text and each not in words(text)] == []
    assert f"man {command.path.replace(' ', '-')}" in text.splitlines()[-1]


@each_command
def test_the_variables_in_the_help_exist(command: Command) -> None:
    """The examples of variables that the help gives are variables of the command's options."""
    text = words(page(command.name, "--help"))
    variables = {option.variable for option in command.options}
    assert f"SHARDCTL_{command.name.upper()}_DEBUG" in variables
    for name in ("PROGRESS", "DEBUG"):
        variable = f"SHARDCTL_{command.name.upper()}_{name}"
        assert (variable in variables) == (f"`{variable}=" in text)


@each_page
def test_texts_have_one_form(command: Command) -> None:
    """An option's text is a short line without a full stop, its details are sentences."""
    for option in command.options:
        assert option.text[0].isupper(), option.text
        assert "\n" not in option.text
        assert len(option.text) <= 64
        assert not option.text.endswith(".")
        assert option.details == "" or option.details.endswith("."), option.details


def test_the_program_lists_its_commands() -> None:
    """The program's own help, short and full, has every command with what it does."""
    for option in ("-h", "--help"):
        text = page("", option)
        assert [each.name for each in COMMANDS if f"\n  {each.name} " not in text] == []
        assert [each.name for each in COMMANDS if each.summary not in words(text)] == []


def test_nothing_asked_is_the_short_help() -> None:
    """Without a command the short help is a message: on stderr, with exit code 2."""
    done = run_cli(code=2, env={"COLUMNS": "100"})
    assert (done.stdout, done.stderr) == ("", page("", "-h"))


def test_help_as_a_command() -> None:
    """`help` and `help COMMAND` show what `--help` shows, and an unknown command is a
    usage error.
    """
    assert page("", "help") == page("", "--help")
    assert run_cli("help", "index", env={"COLUMNS": "100"}).stdout == page("index", "--help")
    assert "no such command 'frob'" in run_cli("help", "frob", code=2).stderr


def test_no_variable_asks_for_help_or_version(tmp_path: Path) -> None:
    """SHARDCTL_SPLIT_HELP=1 in an environment does not keep the command from its work."""
    directory = plain_directory(tmp_path / "source")
    names = [
        f"{prefix}{name}"
        for prefix in ("", "SPLIT_")
        for name in ("HELP", "SHORT_HELP", "H", "VERSION")
    ]
    done = run_cli(
        "split",
        directory,
        directory / "out",
        "--dry-run",
        env={f"SHARDCTL_{name}": "1" for name in names},
    )
    assert done.stdout.startswith("shard\tsize\ttensors\n")
