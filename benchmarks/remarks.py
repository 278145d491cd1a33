"""What is said about the figures: what each table shows, and which limit a figure is near to."""

from __future__ import annotations

from collections.abc import Mapping

#: For each stage, in the order of the page: its heading, and what stands above its table.
TITLES: Mapping[str, tuple[str, str]] = {
    "disk": ("Split, merge, convert, verify", "On $filesystem, $size of tensors."),
    "xfs": (
        "Where the filesystem shares blocks",
        """On an $filesystem of its own in an image file, $size of tensors. A plain `cp` shares blocks there as well, so
the yardstick copies with `--reflink=never`. The shards that are merged were split there, by shardctl.""",
    ),
    "size": ("Time against size", "`split` of one safetensors file, on $filesystem."),
    "headers": (
        "Headers alone",
        """Sparse files with real headers: the tensors take no room, and are not read. A set of a million tensors has a
thousand files of a gibibyte each; `bin-100000` is one `.bin` of as many tensors, and `terabyte` one safetensors file of
a hundred tensors. `plan` is `split --dry-run`.""",
    ),
    "start": ("Starting", "From the command to its end, for commands that have next to nothing to do."),
}

#: Which limit the figures are near to, in the order of the page: for a work, or all that match a pattern as for --only,
#: a heading of two or three words, and a sentence. It is shown where one of its works was measured.
LIMITS: Mapping[str, tuple[str, str]] = {}
