"""The command line that everything here is written from, with the words that belong to it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from shardctl.cli.app import app
from shardctl.cli.commands.verbs import VERBS
from shardctl.cli.options.everywhere import made
from shardctl.cli.spec import Command, Option, describe
from tools import prose

#: The word before a command that asks for its help, with what it does.
HELP, HELP_TEXT = "help", "Show the help of a command"
ROOT = Path(__file__).parents[1]


@cache
def commands() -> tuple[Command, ...]:
    """The program itself, then its commands in the order of the help."""
    return (describe(app), *(describe(made(name)) for name in VERBS))


def details(option: Option) -> str:
    """What an option does, as fully as the manual says it."""
    default = None
    if option.default is not None:
        default = "This is the default." if option.negative else f"Default: {option.default}."
    return " ".join(filter(None, (f"{option.text}.", option.details, default)))


def examples(command: Command) -> tuple[tuple[str, str], ...]:
    """Return each example: the text before it, and its line."""
    shown = tuple(
        (f"{command.summary.split(':')[0].rstrip('.')}:", line) for line in command.examples
    )
    return (*shown, *prose.EXAMPLES.get(command.name, ()))


def writes(command: Command) -> bool:
    """Whether a command makes files in a TARGET, or in that of a PLAN."""
    return any(argument.name in ("TARGET", "PLAN") for argument in command.arguments)


def date(version: str) -> str:
    """Return the day of a version's release in the changelog; before it, that of the last one."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = dict(re.findall(r"^## \[([^\]]+)\] - (\S+)$", text, re.MULTILINE))
    return str(released.get(version) or next(iter(released.values())))
