"""The options and arguments that commands share, each described once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from shardctl._version import __version__
from shardctl.cli.exits import write_stdout


class ContainerName(StrEnum):
    """Containers that can be written."""

    safetensors = "safetensors"
    bin = "bin"


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


WHAT, WHERE, SAFETY, OUTPUT = "What to write", "Where and under which names", "Safety", "Output"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A checkpoint file, an index file, or a folder that holds exactly one checkpoint.",
        show_default=False,
    ),
]
TargetPath = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="A folder; made where it is missing.", show_default=False),
]
MergeTarget = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="A folder, or a file ending in .safetensors or .bin.", show_default=False),
]

MaxShardSize = Annotated[
    str | None,
    typer.Option(
        "--max-shard-size",
        metavar="SIZE",
        help="The most bytes of tensors in a shard: 200MB, 5GB, 512MiB, or bytes.",
        rich_help_panel=WHAT,
        show_default=False,
    ),
]
NumShards = Annotated[
    int | None,
    typer.Option(
        "--num-shards", metavar="N", min=1, help="Exactly N shards, balanced by bytes.", rich_help_panel=WHAT,
        show_default=False,
    ),
]  # fmt: skip
Single = Annotated[bool, typer.Option("--single", help="One file.", rich_help_panel=WHAT)]
To = Annotated[
    ContainerName | None,
    typer.Option(
        "--to", help="The container to write; default the source's.", rich_help_panel=WHAT, show_default=False
    ),
]
StrictSize = Annotated[
    bool, typer.Option("--strict-size", help="Limit the whole file, header included.", rich_help_panel=WHAT)
]
Order = Annotated[
    OrderName,
    typer.Option("--order", help="The order in which tensors are packed.", rich_help_panel=WHAT),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="PATH", help="A nested state dict, as state_dict or model.ema.", rich_help_panel=WHAT,
        show_default=False,
    ),
]  # fmt: skip
DropNonTensors = Annotated[
    bool, typer.Option("--drop-non-tensors", help="Leave out entries that are not tensors.", rich_help_panel=WHAT)
]
Tied = Annotated[
    TiedName,
    typer.Option("--tied", help="Tied tensors stay one, or every name gets its own bytes.", rich_help_panel=WHAT),
]
Layout = Annotated[
    LayoutName,
    typer.Option("--layout", help="How bytes stand in the files.", rich_help_panel=WHAT),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="STEM", help="The files' stem: model, pytorch_model, …", rich_help_panel=WHERE,
        show_default=False,
    ),
]  # fmt: skip
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant", metavar="NAME", help="A variant in the files' names: fp16, …", rich_help_panel=WHERE,
        show_default=False,
    ),
]  # fmt: skip
Companions = Annotated[
    bool,
    typer.Option(
        "--companions/--no-companions",
        help="Copy config, tokenizer and the other files at the top of the source folder.",
        rich_help_panel=WHERE,
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Replace the checkpoint of the same container and variant, once the new one is safe on disk.",
        rich_help_panel=SAFETY,
    ),
]
ReplaceAll = Annotated[
    bool, typer.Option("--replace-all", help="Replace every checkpoint in the target.", rich_help_panel=SAFETY)
]
ReadBack = Annotated[
    bool, typer.Option("--verify", help="Read back what was written and compare it.", rich_help_panel=SAFETY)
]
Checksums = Annotated[
    bool,
    typer.Option(
        "--checksums", help="Write SHA256SUMS, for `sha256sum -c` and `verify --deep`.", rich_help_panel=SAFETY
    ),
]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Throw a half-done run away; the default is to resume.", rich_help_panel=SAFETY),
]
Record = Annotated[
    bool,
    typer.Option(
        "--record/--no-record", help="Leave .shardctl/record.json, so that the next run knows.", rich_help_panel=SAFETY
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show the plan and write nothing.", rich_help_panel=OUTPUT)
]
Check = Annotated[
    bool,
    typer.Option("--check", help="Write and print nothing; exit 1 if there were work.", rich_help_panel=OUTPUT),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", metavar="N", min=1, help="Files at once.", rich_help_panel=OUTPUT, show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=OUTPUT)]
Progress = Annotated[
    ProgressName, typer.Option("--progress", help="How progress is shown on stderr.", rich_help_panel=OUTPUT)
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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only errors.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what is read and what will be written.", rich_help_panel=OUTPUT)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)]
