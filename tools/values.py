"""The completions that shells offer for the values of options and arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shardctl.cli.options.readers import ShellName
from shardctl.cli.spec import Argument, Command, Option
from shardctl.formats.registry import all_suffixes, writable
from shardctl.naming import KNOWN_STEMS

#: `checkpoint`: weights, indexes and directories; `weights`: directories, and files that a merge
#: may write; `report`: directories, and reports; `plan`: directories, and JSON.
Kind = Literal["words", "checkpoint", "weights", "directory", "report", "plan", "typed"]

SIZES = ("200MB", "500MB", "1GB", "2GB", "5GB", "10GB", "50GB")
#: The endings of what a SOURCE can be, and of what a TARGET can be that is a file; the second are
#: shell patterns.
SOURCE_SUFFIXES = tuple(suffix.removeprefix(".") for suffix in all_suffixes())
TARGET_SUFFIXES = tuple(known.suffix.removeprefix(".") for known in writable())
REPORT_SUFFIXES = ("html", "svg")
PLAN_SUFFIX = "json"
INDEX_PATTERNS = ("*.index.json", "*.index.*.json")
#: Commands whose TARGET may be a file.
INTO_A_FILE = ("merge", "reshard")


@dataclass(frozen=True, slots=True)
class Value:
    """How a value is completed: from these words, from files of a kind, or not at all (`typed`)."""

    kind: Kind
    words: tuple[str, ...] = ()


_BY_NAME = {
    "SOURCE": Value("checkpoint"),
    "A": Value("checkpoint"),
    "B": Value("checkpoint"),
    "OTHER": Value("checkpoint"),
    "SIZE": Value("words", SIZES),
    "STEM": Value("words", tuple(sorted(KNOWN_STEMS))),
    "FILE": Value("report"),
    "PLAN": Value("plan"),
    "TARGET": Value("weights"),
    "SHELL": Value("words", tuple(shell.value for shell in ShellName)),
}


def of_option(option: Option) -> Value | None:
    """Return how an option's value is completed; None for a switch, which has none."""
    if option.value is None:
        return None
    return (
        Value("words", option.choices)
        if option.choices
        else _BY_NAME.get(option.value, Value("typed"))
    )


def of_argument(command: Command, argument: Argument) -> Value:
    """Return how an argument is completed."""
    if argument.name == "TARGET":
        return Value("weights" if command.name in INTO_A_FILE else "directory")
    return _BY_NAME.get(argument.name, Value("typed"))
