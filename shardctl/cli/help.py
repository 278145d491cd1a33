"""The help of a command in two lengths.

`-h` has its main options on one screen, `--help` all of them with details.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from shardctl.cli import spec as tree
from shardctl.cli.terminal.canvas import canvas, drawn

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

#: Columns that rows are indented below their heading, and a text below its name where there is no
#: room beside it.
INDENT = 2
#: The options of commands that `-h` shows.
MAIN = {
    *("--max-shard-size", "--num-shards", "--single", "--to", "--replace", "--verify"),
    *("--dry-run", "--check", "--json"),
    *("--source", "--target", "--part", "--commit"),
    *("--depth", "--top", "--filter", "--deep", "--load", "--against", "--strict"),
}
EXIT_CODES = (
    ("0", "done, or up to date"),
    ("1", "check failed: `verify` found errors, or `--check` found something to change"),
    ("2", "usage error"),
    ("3", "the source is missing, damaged or unsafe"),
    ("4", "the target exists or is locked"),
    ("5", "I/O error or disk full"),
    ("70", "internal error"),
    ("128 + signal", "interrupted: 129, 130, 143; 141 for a closed pipe"),
)
#: Variables that hold for every command, besides those of its options.
VARIABLES = (
    ("SHARDCTL_DEBUG", "`1` shows the traceback of an error, as `--debug` does."),
    ("NO_COLOR", "If set, nothing is coloured."),
    ("FORCE_COLOR", "If set, a pipe is drawn on like a terminal."),
    ("TERM", "`dumb` makes everything plain text."),
)

#: A heading, and names with their texts.
Section = tuple[str, Sequence[tuple[Text, Text]]]


def page(command: TyperCommand | TyperGroup, *, full: bool) -> str:
    """Return the help of a command, or of the program itself, laid out for stdout."""
    shown = tree.describe(command)
    sections = [
        _program(command) if isinstance(command, TyperGroup) else _arguments(shown),
        *_options(shown, full=full),
    ]
    if full:
        sections += [_environment(shown), ("Exit codes", _plain(EXIT_CODES))]
    width = max(name.cell_len for _, rows in sections for name, _ in rows)
    parts: list[RenderableType] = [_usage(shown), f"\n{shown.summary}\n"]
    for heading, rows in sections:
        parts += [Text(f"{heading}:", "bold"), _Rows(rows, width), *([""] if full else [])]
    parts += [Text.assemble((tree.EXAMPLE, "bold"), example) for example in shown.examples]
    terminal = (sys.stdout is not None and sys.stdout.isatty()) or None
    text = drawn(canvas(), *parts, _more(shown, full=full), terminal=terminal)
    return "\n".join(map(str.rstrip, text.split("\n")))


def _usage(shown: tree.Command) -> Text:
    return Text.assemble(("Usage: ", "bold"), (shown.path, "bold cyan"), f" {shown.synopsis()}")


def _more(shown: tree.Command, *, full: bool) -> str:
    """Return the last line: where there is more help."""
    if full:
        return f"The manual is `man {shown.path.replace(' ', '-')}`."
    if shown.name:
        return f"`{shown.path} --help` shows all options."
    return "`shardctl COMMAND -h` shows the main options of a command, `--help` shows all."


def _program(group: TyperGroup) -> Section:
    _, commands = tree.program(group)
    return "Commands", [(Text(each.name, "bold cyan"), Text(each.summary)) for each in commands]


def _arguments(shown: tree.Command) -> Section:
    return "Arguments", [
        (Text(argument.spelling, "bold yellow"), Text(argument.text))
        for argument in shown.arguments
    ]


def _options(shown: tree.Command, *, full: bool) -> Iterator[Section]:
    for heading, options in shown.panels():
        listed = [
            option for option in options if full or not shown.name or option.flags[-1] in MAIN
        ]
        if listed:
            yield heading, [(_spelling(option), _text(option, full=full)) for option in listed]


def _environment(shown: tree.Command) -> Section:
    name = shown.name.upper() or "SPLIT"
    # Every command has one of these options, and most have both.
    given = {option.variable for option in shown.options} if shown.name else None
    examples = " or ".join(
        f"`SHARDCTL_{name}_{option}={value}`"
        for option, value in (("PROGRESS", "plain"), ("DEBUG", "1"))
        if given is None or f"SHARDCTL_{name}_{option}" in given
    )
    text = f"Each option, e.g. {examples}; a switch is 1 or 0. The command line overrides it."
    return "Environment", _plain(
        [(f"SHARDCTL_{shown.name.upper() or 'COMMAND'}_OPTION", text), *VARIABLES]
    )


def _plain(rows: Iterable[tuple[str, str]]) -> list[tuple[Text, Text]]:
    return [(Text(name, "bold"), Text(text)) for name, text in rows]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Names and texts, side by side where there is room, else each text below its name."""

    rows: Sequence[tuple[Text, Text]]
    name_width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        beside = options.max_width >= 2 * self.name_width
        margin = INDENT + self.name_width + 2 if beside else 2 * INDENT
        for name, text in self.rows:
            first = Text.assemble(" " * INDENT, name)
            lines = text.wrap(console, options.max_width - margin)
            if beside:
                first = Text.assemble(first, " " * (margin - first.cell_len), lines.pop(0))
            yield first
            yield from (Text.assemble(" " * margin, line) for line in lines)


def _spelling(option: tree.Option) -> Text:
    flags = Text(", ").join(Text(flag, "bold cyan") for flag in option.spellings)
    return flags if option.value is None else Text.assemble(flags, " ", (option.value, "yellow"))


def _text(option: tree.Option, *, full: bool) -> Text:
    """Return what an option does, and its default; in full also its details, below."""
    text = Text(option.text)
    if option.default is not None:
        # The text of a switch with two spellings says what the first does.
        text.append(" [default]" if option.negative else f" [default: {option.default}]", "dim")
    if full and option.details:
        text.append(f"\n{option.details}")
    return text
