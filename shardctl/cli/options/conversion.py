"""The options that convert tensors, for writers and for comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from shardctl.cli.options.panels import BECOME
from shardctl.cli.options.shared import option

if TYPE_CHECKING:
    from shardctl.planning.keywords import TransformKeywords

Dtype = Annotated[
    str | None,
    option(
        BECOME,
        "--dtype",
        metavar="NAME",
        text="Convert floating-point tensors, e.g. to bf16",
        details="NAME is f64, f32, f16, bf16, f8_e4m3 or f8_e5m2, or torch's name of one. The "
        "result is torch's, bit for bit. Integers stay as they are, and quantised weights with "
        "their scales are refused unless `--keep-dtype` covers them. The copy of config.json that "
        "a writer makes names the new type. It needs shardctl[numbers].",
    ),
]
KeepDtype = Annotated[
    list[str] | None,
    option(
        BECOME,
        "--keep-dtype",
        metavar="GLOB",
        text="Do not convert tensors whose names match; repeatable",
    ),
]


def keywords_of(dtype: str | None, keep_dtype: Sequence[str] | None) -> TransformKeywords:
    """Return the conversion as the library takes it."""
    return {"dtype": dtype, "keep_dtype": tuple(keep_dtype or ())}
