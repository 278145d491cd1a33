"""The argument and the options of `apply`."""

from __future__ import annotations

from typing import Annotated

import typer

from shardctl.cli.options.panels import SAFETY, WHAT, WHERE
from shardctl.cli.options.shared import decision, option
from shardctl.text import escape

#: Digits that the number of parts is shorter than: there are fewer shards.
_DIGITS = 10


def part(text: str) -> str:
    """Return I/N as it is; raise a usage error for any other text."""
    number, slash, count = text.partition("/")
    fits = slash and _is_number(number) and _is_number(count)
    if not fits or not 1 <= int(number) <= int(count):
        raise typer.BadParameter(
            f"'{escape(text)}' is not I/N: parts are counted from 1 to N, for example 1/2 and 2/2."
        )
    return text


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < _DIGITS


PlanPath = Annotated[
    str,
    typer.Argument(metavar="PLAN", help="Plan that --dry-run --json printed", show_default=False),
]
Source = Annotated[
    list[str] | None,
    option(
        WHERE,
        "--source",
        metavar="SOURCE",
        show_default="that of PLAN",
        text="Where the source of the plan is",
        details="Its headers are read again, and must be those that the plan was made from. "
        "Repeatable, for a plan that joins several files.",
    ),
]
Target = Annotated[
    str | None,
    option(
        WHERE,
        "--target",
        metavar="TARGET",
        show_default="that of PLAN",
        text="Where to write",
        details="A directory, or a file of the same name, as in the plan.",
    ),
]
Part = Annotated[
    str | None,
    option(
        WHAT,
        "--part",
        metavar="I/N",
        parser=part,
        text="Write the I-th of N parts of the shards, e.g. 2/8",
        details="The parts are of about equal bytes, and can run in any order, at once, on several "
        "machines and more than once; what is finished is kept. The files get their names by "
        "`--commit`.",
    ),
]
Commit = Annotated[
    bool,
    option(
        WHAT,
        "--commit",
        text="Finish a run by parts: check every shard, write the index last",
        allow_from_autoenv=False,  # one step of several, and not how each of them is done
    ),
]
Restart = Annotated[
    bool,
    decision(
        SAFETY,
        "--restart",
        show_default="resume",
        text="Discard an unfinished run and start over",
        details="With `--part`, one of another plan only.",
    ),
]
