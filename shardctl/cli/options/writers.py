"""The arguments and options of the commands that write: `split`, `merge` and `reshard`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

import typer
from typer._types import TyperChoice

from shardctl.cli.options.panels import OUTPUT, SAFETY, WHAT, WHERE
from shardctl.cli.options.shared import decision, key, option

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
        from shardctl.formats.registry import writable  # noqa: PLC0415 - not for `--version`

        return tuple(known.name for known in writable())

    def __call__(self, text: str) -> str:
        """Return the name; raise a usage error for any other text."""
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
    """Ways to write tied tensors."""

    share = "share"
    expand = "expand"


class CompanionsName(StrEnum):
    """Which other files of the source directory go along."""

    auto = "auto"
    all = "all"
    none = "none"


class LayoutName(StrEnum):
    """Layouts of the bytes in the files."""

    auto = "auto"
    compact = "compact"
    reflink = "reflink"


class _Companions(TyperChoice[str]):
    """A choice of companions that also takes the values of the switch that it was at first."""

    _OF_A_SWITCH: ClassVar = {
        **dict.fromkeys(("1", "true", "yes", "on"), "auto"),
        **dict.fromkeys(("0", "false", "no", "off"), "none"),
    }

    def __init__(self) -> None:
        super().__init__(companions.value for companions in CompanionsName)

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        return super().convert(self._OF_A_SWITCH.get(value.lower(), value), param, ctx)


class _Layout(TyperChoice[str]):
    """A choice of layouts that also takes the first name of `reflink`, without listing it."""

    def __init__(self) -> None:
        super().__init__(layout.value for layout in LayoutName)

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        return super().convert("reflink" if value == "shareable" else value, param, ctx)


TargetPath = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="Output directory, created if needed, or s3:// URL",
        show_default=False,
    ),
]
MergeTarget = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="Directory, .safetensors or .bin file, or s3:// URL",
        show_default=False,
    ),
]


def _max_shard_size(default: str | bool) -> Any:
    return option(
        WHAT,
        "--max-shard-size",
        metavar="SIZE",
        show_default=default,
        text="Maximum size of the tensors in a shard, e.g. 2GB",
        details="A larger tensor gets its own shard. Units are KB, MB, GB, TB and KiB, MiB, GiB, "
        "TiB; without one it is bytes.",
    )


MaxShardSize = Annotated[str | None, _max_shard_size(default=False)]
SplitShardSize = Annotated[str | None, _max_shard_size(default=DEFAULT_SHARD_SIZE)]
NumShards = Annotated[
    int | None,
    option(
        WHAT, "--num-shards", metavar="N", min=1, text="Write exactly N shards of about equal size"
    ),
]
Single = Annotated[bool, option(WHAT, "--single", text="Write a single file")]
To = Annotated[
    str | None,
    option(
        WHAT,
        "--to",
        parser=FormatName(),
        show_default="same as SOURCE",
        text="Output format",
        details="`dcp` is a directory that torch.distributed.checkpoint loads into any number of "
        "processes.",
    ),
]
StrictSize = Annotated[
    bool,
    option(
        WHAT,
        "--strict-size",
        text="Limit the size of the whole file, header included",
        details="A tensor that cannot fit is an error.",
    ),
]
Order = Annotated[
    OrderName,
    option(
        WHAT,
        "--order",
        text="Order in which tensors are packed",
        details="That of the source is the model's in `.bin`, and by dtype and name in "
        "safetensors. `natural` puts layer 2 before layer 10.",
    ),
]
GroupBy = Annotated[
    str | None,
    option(
        WHAT,
        "--group-by",
        metavar="layer|expert|REGEX",
        text="Never divide a layer, or an expert, between shards",
        details="Without a size or a number of shards, each group is a file. A REGEX of Python is "
        "looked for in the names, and the text of its first group names the group. Tensors that "
        "are in no group stay with those of their module.",
    ),
]
Key = Annotated[str | None, key(WHAT)]
DropNonTensors = Annotated[
    bool,
    decision(
        WHAT,
        "--drop-non-tensors",
        text="Leave out entries that are not tensors",
        details="Without it such an entry is an error.",
    ),
]
Tied = Annotated[
    TiedName,
    option(
        WHAT,
        "--tied",
        text="Keep tied tensors shared, or write a copy for each name",
        details="With `share` they are one storage in `.bin`. Safetensors has no aliases: one name "
        "is written there, that of the input embedding or else the first, and the others are "
        "recorded in the metadata.",
    ),
]
Layout = Annotated[
    LayoutName,
    option(
        WHAT,
        "--layout",
        click_type=_Layout(),
        text="Layout of the bytes in the files",
        details="`reflink` pads headers so that whole blocks can be shared with the source, "
        "which takes neither time nor space; `compact` is the layout of the upstream libraries, "
        "byte for byte; `auto` is `reflink` where source and target are on one filesystem that "
        "can share blocks (XFS, btrfs), else `compact`.",
    ),
]
Name = Annotated[
    str | None,
    option(
        WHERE,
        "--name",
        metavar="STEM",
        text="Base name of the output files, e.g. model",
        details="A file is named `STEM.VARIANT-00001-of-00003.safetensors`, without a number where "
        "it is the only one.",
    ),
]
Variant = Annotated[
    str | None,
    option(
        WHERE,
        "--variant",
        metavar="NAME",
        text="Variant in the names of the output files, e.g. fp16",
        details="Where SOURCE is a directory that holds this variant, it is the one that is read.",
    ),
]
Companions = Annotated[
    CompanionsName,
    option(
        WHERE,
        "--companions",
        click_type=_Companions(),
        text="Which other files of SOURCE are copied",
        details="`auto` copies what TARGET needs to load: config, tokenizer, sub-directories, and "
        "small weights that no index lists; not training state, hidden directories, other "
        "checkpoints, and weights of another framework. `all` copies these too. Notes name what "
        "is not copied.",
    ),
]
NoCompanions = Annotated[
    bool,
    option(
        WHERE,
        "--no-companions",
        text="The same as --companions none",
        allow_from_autoenv=False,  # that of --companions says it
    ),
]
Replace = Annotated[
    bool,
    decision(
        SAFETY,
        "--replace",
        text="Replace the checkpoint of the same name",
        details="This is the checkpoint of the same stem, format and variant, and the one that was "
        "read where TARGET is SOURCE. It is replaced once the new one is complete.",
    ),
]
ReplaceCompanions = Annotated[
    bool,
    decision(
        SAFETY,
        "--replace-companions",
        text="Replace companion files that differ in TARGET",
        details="Without it they are kept, and a note names them.",
    ),
]
ReplaceAll = Annotated[
    bool,
    decision(
        SAFETY,
        "--replace-all",
        text="Replace every checkpoint in TARGET",
        details="Other variants and adapters, too, which nothing else replaces.",
    ),
]
ReadBack = Annotated[
    bool,
    option(
        SAFETY,
        "--verify",
        text="Check SOURCE's SHA-256, and compare the result with it",
    ),
]
AcceptDamage = Annotated[
    bool,
    decision(
        SAFETY,
        "--accept-damage",
        text="Also write damaged tensors, and files with trailing data",
        details="Tensors that do not match their recorded CRC-32 are written as they are. "
        "Of files with trailing data, or a header over 100 MB, the tensors are whole and are "
        "written alone. Without it each is an error. Notes name what was accepted.",
    ),
]
Checksums = Annotated[
    bool,
    option(
        SAFETY,
        "--checksums",
        text="Also write SHA256SUMS, for sha256sum and verify --deep",
        details="SOURCE's SHA-256 is checked before. Files that are replaced lose their lines in "
        "it. Of a pipeline each component has one in its directory.",
    ),
]
Restart = Annotated[
    bool,
    decision(
        SAFETY, "--restart", show_default="resume", text="Discard an unfinished run and start over"
    ),
]
Record = Annotated[
    bool,
    option(
        SAFETY,
        "--record/--no-record",
        text="Record this run, so that an up-to-date target is detected",
        details="It is kept in the user's state directory. With `--no-record` the next run "
        "compares contents.",
    ),
]
Scheduler = Annotated[
    str | None,
    option(
        OUTPUT,
        "--scheduler",
        metavar="URL",
        text="Write the files on a Dask cluster, e.g. tcp://host:8786",
        details="Its workers have the same versions of shardctl and Python, and see SOURCE and "
        "TARGET at the same paths. `--jobs` is then how many files they write at once; without "
        "it, as many as they have threads. It needs shardctl[dask].",
    ),
]
DryRun = Annotated[bool, option(OUTPUT, "--dry-run", "-n", text="Show the plan and write nothing")]
Check = Annotated[
    bool, option(OUTPUT, "--check", text="Write nothing; exit with 1 if anything would change")
]
