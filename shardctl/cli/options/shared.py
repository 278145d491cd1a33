"""The options and the argument that commands share, and how an option is declared."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from shardctl.cli.options.panels import OUTPUT


class ProgressName(StrEnum):
    """Ways to show progress."""

    auto = "auto"
    plain = "plain"
    json = "json"
    none = "none"


Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Checkpoint file, index file, directory or URL",
        show_default=False,
    ),
]


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Checkpoint file, index file or directory; several files are joined",
        show_default=False,
    ),
]


def option(panel: str, *names: str, text: str, details: str = "", **settings: Any) -> Any:
    """Return an option for Typer.

    `text` is its line of help; `details` are sentences that `--help` and the manual add to it.
    """
    full = f"{text}\n\n{details}" if details else text
    return typer.Option(*names, help=full, rich_help_panel=panel, **settings)


def decision(panel: str, *names: str, text: str, **settings: Any) -> Any:
    """Return an option that is typed each time: no variable sets it for every command.

    It decides about the files at hand, and a variable that was set for others would remove or
    leave out what this user did not mean.
    """
    return option(panel, *names, text=text, allow_from_autoenv=False, **settings)


def key(panel: str) -> Any:
    """Return `--key`, which is listed under one heading or another."""
    return option(
        panel,
        "--key",
        metavar="PATH",
        text="Use the state dict at this key, e.g. state_dict or model.ema",
        details="A key of exactly this name is tried first, then the path is split at dots.",
    )


Jobs = Annotated[
    int | None,
    option(
        OUTPUT,
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        show_default="2 to 4, by CPU count",
        text="Files to process in parallel",
    ),
]
Json = Annotated[
    bool,
    option(
        OUTPUT,
        "--json",
        text="Print one JSON document",
        details="Errors are then one JSON line on stderr.",
    ),
]
Report = Annotated[
    str | None,
    option(OUTPUT, "--report", metavar="FILE", text="Also save a report (.html or .svg)"),
]
Progress = Annotated[
    ProgressName,
    option(
        OUTPUT,
        "--progress",
        text="How progress is shown on stderr",
        details="`auto` draws bars on a terminal, and prints a line now and then elsewhere; `json` "
        "prints one object a line.",
    ),
]
Quiet = Annotated[bool, option(OUTPUT, "--quiet", "-q", text="Print only errors")]
Verbose = Annotated[
    bool,
    option(
        OUTPUT,
        "--verbose",
        "-v",
        text="List the files read and written",
        details="A writer also says how the bytes were copied.",
    ),
]
