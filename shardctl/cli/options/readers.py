"""The options and arguments of the commands that write no checkpoint."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from shardctl.cli.options.panels import LOOK, OUTPUT
from shardctl.cli.options.shared import key, option


class ShellName(StrEnum):
    """Shells that have a completion script."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


Depth = Annotated[
    int | None,
    option(LOOK, "--depth", metavar="N", min=1, text="Levels of the layer tree, on a terminal"),
]
Top = Annotated[
    int | None,
    option(
        LOOK,
        "--top",
        metavar="N",
        min=1,
        text="List the N largest tensors",
        details="On a terminal they are one more table; in a pipe and in JSON there are no others.",
    ),
]
Filter = Annotated[
    list[str] | None,
    option(
        LOOK,
        "--filter",
        metavar="GLOB",
        envvar="SHARDCTL_INSPECT_FILTER",
        text="Only tensors whose whole names match, e.g. '*.bias'",
        details="It can be given several times: a tensor is shown if one of them matches. In the "
        "variable they are separated by spaces.",
    ),
]
Numbers = Annotated[
    bool,
    option(
        LOOK,
        "--stats",
        text="Also sum up the numbers: least, largest, mean, NaN",
        details="This reads all bytes of the floating-point tensors that are shown: those of "
        "`--filter`, and of `--top` no others. It counts NaN, infinities and zeros, and takes the "
        "least, the largest and the mean of the finite numbers. It needs shardctl[numbers].",
    ),
]
First = Annotated[
    str,
    typer.Argument(
        metavar="A", help="Checkpoint file, index file, directory or URL", show_default=False
    ),
]
Second = Annotated[
    str,
    typer.Argument(metavar="B", help="The checkpoint to compare it with", show_default=False),
]
Stats = Annotated[
    bool,
    option(
        LOOK,
        "--stats",
        text="Also say how far apart the numbers are",
        details="For floating-point tensors: how many elements changed, and the largest and the "
        "mean difference. It needs shardctl[numbers].",
    ),
]
Key = Annotated[str | None, key(LOOK)]
Variant = Annotated[
    str | None,
    option(
        LOOK,
        "--variant",
        metavar="NAME",
        text="Read this variant in a directory, e.g. fp16",
        details="Without it the one that loaders take is read, which has no variant.",
    ),
]
Deep = Annotated[
    bool,
    option(
        LOOK,
        "--deep",
        text="Read all bytes and compare checksums",
        details="These are the CRCs of `.bin` files, and `SHA256SUMS` where there is one.",
    ),
]
Load = Annotated[
    bool,
    option(
        LOOK,
        "--load",
        text="Also load with torch and safetensors",
        details="Every tensor is loaded with the upstream loaders and compared; needs torch.",
    ),
]
Against = Annotated[
    str | None,
    option(
        LOOK,
        "--against",
        metavar="OTHER",
        text="Compare with another checkpoint",
        details="Names, dtypes and shapes are compared, with `--deep` the bytes too, whatever the "
        "formats. With the options that made a copy, "
        "OTHER can be what it was made from: they apply to OTHER.",
    ),
]
Strict = Annotated[bool, option(LOOK, "--strict", text="Count warnings as errors")]
Shell = Annotated[
    ShellName, typer.Argument(metavar="SHELL", help="bash, zsh or fish", show_default=False)
]
Check = Annotated[
    bool, option(OUTPUT, "--check", text="Write nothing; exit with 1 if the index is wrong")
]
