"""The reference in Markdown: a section for each command, with the texts of the manual."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import fill

from shardctl.cli.guidance.help import EXIT_CODES, VARIABLES
from shardctl.cli.spec import Command, Option
from tools import prose, source

MOST_COLUMNS = 100
_HEAD = """\
# Reference

Every command with all its options, as in the manual pages. It is written by `make generate` from
the command line itself; the output, and what scripts may rely on, is in [cli.md](cli.md).
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        (_HEAD, *(line for command in source.commands() for line in _section(command)), *_rest())
    )


def _section(command: Command) -> Iterator[str]:
    synopsis = command.synopsis().replace("[OPTIONS]", "[OPTION]…")
    yield from (f"## {command.path}", "", "```", f"{command.path} {synopsis}", "```", "")
    for text in (command.summary, *prose.DESCRIPTIONS[command.name]):
        yield from (
            fill(_markdown(text), MOST_COLUMNS, break_long_words=False, break_on_hyphens=False),
            "",
        )
    if command.arguments:
        yield from ("| argument | |", "| --- | --- |")
        yield from (
            f"| {argument.spelling} | {_cell(argument.text)} |" for argument in command.arguments
        )
        yield ""
    for panel, options in command.panels():
        yield from (
            f"### {command.name or command.path}: {panel.lower()}",
            "",
            "| option | | variable |",
            "| --- | --- | --- |",
        )
        yield from map(_row, options)
        yield ""
    yield from (
        "```",
        *(f"{line}    # {text.rstrip(':.')}" for text, line in source.examples(command)),
        "```",
        "",
    )


def _row(option: Option) -> str:
    value = "" if option.value is None else f" {option.value}"
    spellings = ", ".join(f"`{spelling}`" for spelling in option.spellings[:-1])
    last = f"`{option.spellings[-1]}{value}`"
    variable = "" if option.variable is None else f"`{option.variable}`"
    flags = f"{spellings}, {last}" if spellings else last
    return f"| {_cell(flags)} | {_cell(source.details(option))} | {variable} |"


def _rest() -> Iterator[str]:
    for heading, rows in (
        ("Exit codes", EXIT_CODES),
        ("Variables besides those of options", VARIABLES),
        ("Files", prose.WRITER_FILES),
    ):
        yield from (f"## {heading}", "", "| | |", "| --- | --- |")
        yield from (f"| `{name}` | {_cell(text)} |" for name, text in rows)
        yield ""


def _cell(text: str) -> str:
    return _markdown(text).replace("|", "\\|")


def _markdown(text: str) -> str:
    """Return prose with its placeholders without asterisks: SIZE, as in a line to type."""
    return re.sub(r"\*([A-Z]+)\*", r"\1", text)
