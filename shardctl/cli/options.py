"""The options and arguments that commands share, each described once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from shardctl._version import __version__
from shardctl.cli.exits import write_stdout
from shardctl.cli.panels import LOOK, OUTPUT, SAFETY, WHAT, WHERE

DEFAULT_SHARD_SIZE = "5GB"


class FormatName:
    """Parses the name of a format that can be written.

    The registry is asked when a value or the help needs it: `--version` needs no format, and a
    program may add one.
    """

    __name__ = "format"  # what Typer calls the type of the value

    @property
    def choices(self) -> tuple[str, ...]:
        """The names to choose from."""
        from shardctl.formats.registry import writable  # noqa: PLC0415 - `--version` needs no format

        return tuple(known.name for known in writable())

    def __call__(self, text: str) -> str:
        """The name, or a usage error."""
        if text not in self.choices:
            raise typer.BadParameter(
                f"{text!r} is not one of {', '.join(map(repr, self.choices))}."
            )
        return text


class OrderName(StrEnum):
    """Orders in which tensors are packed."""

    source = "source"
    natural = "natural"


class TiedName(StrEnum):
    """What becomes of tied tensors."""

    share = "share"
    expand = "expand"


class LayoutName(StrEnum):
    """How bytes stand in the files."""

    auto = "auto"
    compact = "compact"
    shareable = "shareable"


class ProgressName(StrEnum):
    """How progress is shown."""

    auto = "auto"
    plain = "plain"
    json = "json"
    none = "none"


def _print_version(asked: bool) -> None:
    if asked:
        write_stdout(f"shardctl {__version__}\n")
        raise typer.Exit


def _print_help(ctx: typer.Context, asked: bool) -> None:
    if asked and isinstance(ctx.command, TyperCommand | TyperGroup):
        from shardctl.cli.help import page  # noqa: PLC0415 - Rich is only needed to draw

        write_stdout(page(ctx.command))
        raise typer.Exit


Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A checkpoint file, an index, or a folder with one checkpoint.",
        show_default=False,
    ),
]
TargetPath = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A folder; made where it is missing.", show_default=False
    ),
]
MergeTarget = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A folder, or a file ending in .safetensors or .bin.",
        show_default=False,
    ),
]


def _max_shard_size(default: str | bool) -> Any:
    return typer.Option(
        "--max-shard-size",
        metavar="SIZE",
        help="The most bytes of tensors in a shard: 200MB, 5GB, 512MiB.",
        rich_help_panel=WHAT,
        show_default=default,
    )


MaxShardSize = Annotated[str | None, _max_shard_size(default=False)]
SplitShardSize = Annotated[str | None, _max_shard_size(default=DEFAULT_SHARD_SIZE)]
NumShards = Annotated[
    int | None,
    typer.Option(
        "--num-shards", metavar="N", min=1, help="Exactly N shards, balanced by bytes.", rich_help_panel=WHAT,
        show_default=False,
    ),
]  # fmt: skip
Single = Annotated[bool, typer.Option("--single", help="One file.", rich_help_panel=WHAT)]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        parser=FormatName(),
        help="The container to write; else the source's.",
        rich_help_panel=WHAT,
        show_default=False,
    ),
]
StrictSize = Annotated[
    bool,
    typer.Option(
        "--strict-size", help="Limit the whole file, header included.", rich_help_panel=WHAT
    ),
]
Order = Annotated[
    OrderName,
    typer.Option("--order", help="The order in which tensors are packed.", rich_help_panel=WHAT),
]


def _key(panel: str) -> Any:
    return typer.Option(
        "--key",
        metavar="PATH",
        help="A nested state dict, as state_dict or model.ema.",
        rich_help_panel=panel,
        show_default=False,
    )


Key = Annotated[str | None, _key(WHAT)]
KeyToLookAt = Annotated[str | None, _key(LOOK)]
DropNonTensors = Annotated[
    bool,
    typer.Option(
        "--drop-non-tensors", help="Leave out entries that are not tensors.", rich_help_panel=WHAT
    ),
]
Tied = Annotated[
    TiedName,
    typer.Option(
        "--tied", help="Tied tensors stay one, or each has its own bytes.", rich_help_panel=WHAT
    ),
]
Layout = Annotated[
    LayoutName,
    typer.Option(
        "--layout", help="auto shares blocks where the filesystem can.", rich_help_panel=WHAT
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="STEM", help="The files' stem, as model or pytorch_model.", rich_help_panel=WHERE,
        show_default=False,
    ),
]  # fmt: skip
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant", metavar="NAME", help="A variant in the files' names, as fp16.", rich_help_panel=WHERE,
        show_default=False,
    ),
]  # fmt: skip
Companions = Annotated[
    bool,
    typer.Option(
        "--companions/--no-companions",
        help="Copy config, tokenizer and so on too; the default.",
        rich_help_panel=WHERE,
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Replace the checkpoint of that name once the new one is safe.",
        rich_help_panel=SAFETY,
    ),
]
ReplaceAll = Annotated[
    bool,
    typer.Option(
        "--replace-all", help="Replace every checkpoint in the target.", rich_help_panel=SAFETY
    ),
]
ReadBack = Annotated[
    bool,
    typer.Option(
        "--verify", help="Read back what was written and compare it.", rich_help_panel=SAFETY
    ),
]
Checksums = Annotated[
    bool,
    typer.Option(
        "--checksums",
        help="Write SHA256SUMS, for sha256sum and verify --deep.",
        rich_help_panel=SAFETY,
    ),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Throw a half-done run away; the default is to go on.",
        rich_help_panel=SAFETY,
    ),
]
Record = Annotated[
    bool,
    typer.Option(
        "--record/--no-record",
        help="Leave a record, so that the next run knows; the default.",
        rich_help_panel=SAFETY,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", "-n", help="Show the plan and write nothing.", rich_help_panel=OUTPUT
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Write and print nothing; exit 1 if there were work.",
        rich_help_panel=OUTPUT,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="Files at once; else 2 to 4, by the number of cores.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=OUTPUT)
]
Report = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a picture too: a page (.html) or an image (.svg).",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Progress = Annotated[
    ProgressName,
    typer.Option("--progress", help="How progress is shown on stderr.", rich_help_panel=OUTPUT),
]
Version = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_print_version,
        is_eager=True,
        allow_from_autoenv=False,
        help="Print the version.",
        rich_help_panel=OUTPUT,
    ),
]
Help = Annotated[
    bool,
    typer.Option(
        "--help",
        "-h",
        callback=_print_help,
        is_eager=True,
        allow_from_autoenv=False,
        help="Show the help.",
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say only errors.", rich_help_panel=OUTPUT)
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say what is read and written.", rich_help_panel=OUTPUT),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)
]
