"""The help of a command in two lengths.

`-h` has its main options on one screen, `--help` all of them with details.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from shardctl.cli import spec as tree
from shardctl.cli.commands.verbs import VERBS
from shardctl.cli.process import drawing

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperGroup

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

#: A line or a text in parts, each with its style on a terminal, in the words of Rich.
Parts = Sequence[tuple[str, str]]
#: A heading, and names with their texts.
Section = tuple[str, Sequence[tuple[Parts, Parts]]]


def page(command: TyperCommand | TyperGroup, *, full: bool) -> str:
    """Return the help of a command, or of the program itself, laid out for stdout."""
    if not drawing():
        # Without Rich, whose import takes as long as all the rest.
        lines = _lines(command, shutil.get_terminal_size().columns, full=full)
        return "".join(f"{_plain(line).rstrip()}\n" for line in lines)
    from rich.text import Text  # noqa: PLC0415 - see above

    from shardctl.cli.terminal.canvas import canvas, drawn  # noqa: PLC0415 - see above

    on = canvas()
    drawing_of = drawn(
        on,
        *(Text.assemble(*line) for line in _lines(command, on.width, full=full)),
        terminal=(sys.stdout is not None and sys.stdout.isatty()) or None,
    )
    return "\n".join(map(str.rstrip, drawing_of.split("\n")))


def _lines(command: TyperCommand | TyperGroup, width: int, *, full: bool) -> Iterator[Parts]:
    """Yield the lines of the help, each in at most `width` columns."""
    shown = tree.describe(command)
    sections = [
        _arguments(shown) if shown.name else _program(),
        *_options(shown, full=full),
    ]
    if full:
        sections += [_environment(shown), ("Exit codes", _unmarked(EXIT_CODES))]
    widest = max(len(_plain(name)) for _, rows in sections for name, _ in rows)
    yield from _wrapped(_usage(shown), width)
    for text in ("", shown.summary, ""):
        yield from _wrapped([(text, "")], width)
    for heading, rows in sections:
        yield [(f"{heading}:", "bold")]
        yield from _rows(rows, widest, width)
        if full:
            yield []
    for example in shown.examples:
        yield from _wrapped([(tree.EXAMPLE, "bold"), (example, "")], width)
    yield from _wrapped([(_more(shown, full=full), "")], width)


def _usage(shown: tree.Command) -> Parts:
    return [("Usage: ", "bold"), (shown.path, "bold cyan"), (f" {shown.synopsis()}", "")]


def _more(shown: tree.Command, *, full: bool) -> str:
    """Return the last line: where there is more help."""
    if full:
        return f"The manual is `man {shown.path.replace(' ', '-')}`."
    if shown.name:
        return f"`{shown.path} --help` shows all options."
    return "`shardctl COMMAND -h` shows the main options of a command, `--help` shows all."


def _program() -> Section:
    return "Commands", [
        ([(name, "bold cyan")], [(verb.summary, "")]) for name, verb in VERBS.items()
    ]


def _arguments(shown: tree.Command) -> Section:
    return "Arguments", [
        ([(argument.spelling, "bold yellow")], [(argument.text, "")])
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
    return "Environment", _unmarked(
        [(f"SHARDCTL_{shown.name.upper() or 'COMMAND'}_OPTION", text), *VARIABLES]
    )


def _unmarked(rows: Iterable[tuple[str, str]]) -> list[tuple[Parts, Parts]]:
    return [([(name, "bold")], [(text, "")]) for name, text in rows]


def _rows(rows: Iterable[tuple[Parts, Parts]], widest: int, width: int) -> Iterator[Parts]:
    """Yield names and texts, side by side where there is room, else each text below its name."""
    beside = width >= 2 * widest
    margin = INDENT + widest + 2 if beside else 2 * INDENT
    for name, text in rows:
        first = [(" " * INDENT, ""), *name]
        lines = list(_wrapped(text, width - margin))
        if beside:
            first = [*first, (" " * (margin - len(_plain(first))), ""), *lines.pop(0)]
        yield first
        yield from ([(" " * margin, ""), *line] for line in lines)


def _spelling(option: tree.Option) -> Parts:
    flags = [part for flag in option.spellings for part in ((", ", ""), (flag, "bold cyan"))][1:]
    return flags if option.value is None else [*flags, (" ", ""), (option.value, "yellow")]


def _text(option: tree.Option, *, full: bool) -> Parts:
    """Return what an option does, and its default; in full also its details, below."""
    text = [(option.text, "")]
    if option.default is not None:
        # The text of a switch with two spellings says what the first does.
        default = " [default]" if option.negative else f" [default: {option.default}]"
        text.append((default, "dim"))
    if full and option.details:
        text.append((f"\n{option.details}", ""))
    return text


def _plain(parts: Parts) -> str:
    return "".join(text for text, _ in parts)


def _wrapped(parts: Parts, width: int) -> Iterator[Parts]:
    """Yield a text in lines of at most `width` columns, of which each has its parts."""
    plain, at = _plain(parts), 0
    for paragraph in plain.split("\n"):
        for line in textwrap.wrap(paragraph, max(width, 1), break_on_hyphens=False) or [""]:
            at = plain.index(line, at)
            yield _cut(parts, at, at + len(line))
            at += len(line)


def _cut(parts: Parts, begin: int, end: int) -> Parts:
    """Return what of the parts is between two places of their text."""
    taken = []
    at = 0
    for text, style in parts:
        taken.append((text[max(begin - at, 0) : max(end - at, 0)], style))
        at += len(text)
    return taken
