"""The manual: one page of roff for the program and for each command, with the macros of man(7).

Only macros that every formatter knows are used (groff's `man` macros and mandoc): TH SH SS PP TP RS
RE EX EE, and the fonts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from textwrap import wrap

from shardctl import __version__
from shardctl.cli.guidance.help import EXIT_CODES, VARIABLES
from shardctl.cli.spec import Command, Option
from tools import prose, source

_SPANS = re.compile(r"`([^`]+)`|\*([A-Z]+)\*")
#: The longest line of the source, in characters; formatters fill lines again.
MOST_COLUMNS = 78
#: Characters that roff has names for; any other that is not ASCII is written by its number.
_NAMED = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    "…": "...",
    "–": r"\(en",  # noqa: RUF001 - a dash
}


def pages() -> dict[str, str]:
    """Return every page by its file's name."""
    return {
        f"{_title(command)}.1": "\n".join(_page(command)) + "\n" for command in source.commands()
    }


def escape(text: str) -> str:
    """Return text that roff prints as it is: without escapes, other hyphens, or requests."""
    escaped = "".join(_NAMED.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def prose_lines(text: str) -> str:
    """Return prose as lines of roff: `x` is bold, *X* italic."""
    parts, end = [], 0
    for span in _SPANS.finditer(text):
        code, value = span.groups()
        parts += [_plain(text[end : span.start()]), _font("B", code) if code else _font("I", value)]
        end = span.end()
    return _folded("".join((*parts, _plain(text[end:]))))


def _folded(line: str) -> str:
    """Return a line of text as short lines, none of which a formatter takes for a request."""
    lines = wrap(line, MOST_COLUMNS, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{each}" if each.startswith(".") else each for each in lines)


def _plain(text: str) -> str:
    """Return prose between the spans: a hyphen in a word is a hyphen."""
    return escape(text).replace(r"\-", "-")


def _font(font: str, text: str) -> str:
    return f"\\f{font}{escape(text)}\\fR"


def _title(command: Command) -> str:
    return command.path.replace(" ", "-")


def _page(command: Command) -> Iterator[str]:
    title = _title(command)
    yield '.\\" Written by `make generate` from the command line itself.'
    yield f'.TH {escape(title.upper())} 1 "{source.date(__version__)}" "shardctl {__version__}"'
    summary = command.summary[0].lower() + command.summary[1:].rstrip(".")
    yield from (".SH NAME", _folded(f"{escape(title)} \\- {_plain(summary)}"))
    yield from (".SH SYNOPSIS", _synopsis(command))
    yield ".SH DESCRIPTION"
    yield from _paragraphs((command.summary, *prose.DESCRIPTIONS[command.name]))
    yield from _commands(command)
    yield ".SH OPTIONS"
    for panel, options in command.panels():
        yield f".SS {_plain(panel)}"
        for option in options:
            yield from _term(_spelling(option), prose_lines(source.details(option)))
    yield from _terms("EXIT STATUS", EXIT_CODES)
    yield from _environment(command)
    if source.writes(command):
        yield from _terms("FILES", prose.WRITER_FILES, font="I")
    yield from _examples(command)
    yield from _see_also(command)


def _synopsis(command: Command) -> str:
    if not command.name:
        return f"{_font('B', 'shardctl')} {_font('I', 'COMMAND')} [{_font('I', 'OPTION')}]..."
    words = [
        _font("B", command.path),
        *(_font("I", argument.spelling) for argument in command.arguments),
    ]
    if command.exclusive():
        words.append(f"[{' | '.join(_one_spelling(option) for option in command.exclusive())}]")
    return _folded(" ".join((*words, f"[{_font('I', 'OPTION')}]...")))


def _one_spelling(option: Option) -> str:
    value = "" if option.value is None else f" {_font('I', option.value)}"
    return _font("B", option.flags[-1]) + value


def _spelling(option: Option) -> str:
    flags = ", ".join(_font("B", flag) for flag in option.spellings)
    if option.value is None:
        return flags
    value = "|".join(_font("B", choice) for choice in option.choices) or _font("I", option.value)
    return f"{flags} {value}"


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield prose_lines(text)


def _term(term: str, text: str) -> Iterator[str]:
    yield from (".TP", term, text)


def _terms(heading: str, rows: Iterable[tuple[str, str]], font: str = "B") -> Iterator[str]:
    yield f".SH {heading}"
    for term, text in rows:
        yield from _term(_font(font, term), prose_lines(text))


def _commands(command: Command) -> Iterator[str]:
    """Yield the list of commands in the program's page, or the arguments of a command."""
    if command.name:
        for argument in command.arguments:
            yield from _term(_font("I", argument.spelling), prose_lines(argument.text))
        return
    yield ".SH COMMANDS"
    for each in source.commands()[1:]:
        yield from _term(f"{_font('B', _title(each))}(1)", prose_lines(each.summary))


def _environment(command: Command) -> Iterator[str]:
    yield ".SH ENVIRONMENT"
    yield prose_lines(
        "Each option below has a variable; for a switch it is `1` or `0`. Options that replace, "
        "discard or leave out something have none. Command-line options override variables, and "
        "an option of a group of which only one can be given overrides the variables of the whole "
        "group."
    )
    if not command.name:
        yield from _term(
            _font("B", "SHARDCTL_COMMAND_OPTION"),
            prose_lines("For example `SHARDCTL_SPLIT_DEBUG`."),
        )
    for option in command.options:
        if option.variable is not None and option.variable not in dict(VARIABLES):
            yield from _term(_font("B", option.variable), f"{_font('B', option.flags[-1])}")
    for name, text in VARIABLES:
        yield from _term(_font("B", name), prose_lines(text))


def _examples(command: Command) -> Iterator[str]:
    yield ".SH EXAMPLES"
    for number, (text, line) in enumerate(source.examples(command)):
        if number:
            yield ".PP"
        yield from (prose_lines(text), ".PP", ".EX", f"    {escape(line)}", ".EE")


def _see_also(command: Command) -> Iterator[str]:
    yield ".SH SEE ALSO"
    others = [_title(each) for each in source.commands() if each.name != command.name]
    yield ",\n".join(f".BR {escape(other)} (1)" for other in sorted(others)).replace(",\n", " ,\n")
