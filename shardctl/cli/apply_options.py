"""The argument and the options of `apply`."""

from __future__ import annotations

from typing import Annotated

import typer

from shardctl.cli.options import decision, option
from shardctl.cli.panels import SAFETY, WHERE

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
Restart = Annotated[
    bool,
    decision(
        SAFETY,
        "--restart",
        show_default="resume",
        text="Discard an unfinished run and start over",
    ),
]
