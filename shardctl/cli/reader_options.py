"""The options of the commands that only read: `inspect`, `verify` and `index`."""

from __future__ import annotations

from typing import Annotated

from shardctl.cli.options import key, option
from shardctl.cli.panels import LOOK, OUTPUT

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
        details="On a terminal they are one more table, in a pipe the only rows.",
    ),
]
Filter = Annotated[
    str | None,
    option(
        LOOK,
        "--filter",
        metavar="GLOB",
        envvar="SHARDCTL_INSPECT_FILTER",
        text="Only tensors whose whole names match, e.g. '*.bias'",
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
        "formats.",
    ),
]
Strict = Annotated[bool, option(LOOK, "--strict", text="Count warnings as errors")]
Check = Annotated[
    bool, option(OUTPUT, "--check", text="Write nothing; exit with 1 if the index is wrong")
]
