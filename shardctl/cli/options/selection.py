"""The options that choose tensors and rename them, for writers and for comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from shardctl.cli.options.panels import WHICH
from shardctl.cli.options.shared import option

if TYPE_CHECKING:
    from shardctl.planning.keywords import SelectionKeywords

Include = Annotated[
    list[str] | None,
    option(
        WHICH,
        "--include",
        metavar="GLOB",
        text="Take only tensors whose names match; repeatable",
        details="A GLOB matches whole names, and `*` crosses dots: 'model.layers.0.*'. One that "
        "matches nothing is an error.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    option(
        WHICH,
        "--exclude",
        metavar="GLOB",
        text="Leave out tensors whose names match; repeatable",
        details="It wins over `--include`. What is left out is counted in a note.",
    ),
]
StripPrefix = Annotated[
    str,
    option(
        WHICH,
        "--strip-prefix",
        metavar="PREFIX",
        show_default=False,
        text="Remove a prefix from the names, e.g. 'module.'",
        details="Names that do not begin with it stay as they are.",
    ),
]
AddPrefix = Annotated[
    str,
    option(
        WHICH,
        "--add-prefix",
        metavar="PREFIX",
        show_default=False,
        text="Put a prefix before every name, e.g. 'model.'",
        details="After `--strip-prefix`.",
    ),
]
Rename = Annotated[
    list[str] | None,
    option(
        WHICH,
        "--rename",
        metavar="REGEX=NAME",
        text="Replace every match in the names; repeatable",
        details=r"REGEX is a regular expression of Python, NAME may have its groups: "
        r"'^h\.(\d+)=layers.\1'. What follows the last `=` is NAME. The rules apply in order, "
        "after the prefixes; two tensors with one name are an error.",
    ),
]


def keywords_of(
    include: Sequence[str] | None,
    exclude: Sequence[str] | None,
    strip_prefix: str,
    add_prefix: str,
    rename: Sequence[str] | None,
) -> SelectionKeywords:
    """Return the selection as the library takes it; raises UsageError for a rule without `=`."""
    return {
        "include": tuple(include or ()),
        "exclude": tuple(exclude or ()),
        "strip_prefix": strip_prefix,
        "add_prefix": add_prefix,
        "rename": tuple(map(_rule, rename or ())),
    }


def _rule(text: str) -> tuple[str, str]:
    from shardctl.errors import UsageError  # noqa: PLC0415 - as above
    from shardctl.text import escape  # noqa: PLC0415 - as above

    pattern, equals, replacement = text.rpartition("=")
    if not equals or not pattern:
        raise UsageError(
            f"`rename` '{escape(text)}' has no '=' between what is replaced and the new text",
            hint=r"write it as 'REGEX=NAME', for example '^h\.=layers.'",
        )
    return pattern, replacement
