"""What a writing command was asked for, and the complete request that follows from it, the source and the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shardctl.model import Tensor


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a writing command was asked for. `limits` None keeps the source's number of shards."""

    limits: Limits | None
    format: str | None = None
    order: Order = "source"
    stem: str | None = None
    variant: str | None = None
    key: str | None = None
    drop_non_tensors: bool = False
    tied: Tied = "share"
    layout: LayoutChoice = "auto"
    companions: bool = True
    replace: Replace = "nothing"
    read_back: bool = False
    checksums: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How large or how many: at most one is set; neither means one file.

    `strict` limits the whole file; `or_fewer` takes fewer shards where there is not enough to fill
    them.
    """

    max_shard_bytes: int | None = None
    num_shards: int | None = None
    strict: bool = False
    or_fewer: bool = False


Tied = Literal["share", "expand"]


Order = Literal["source", "natural"]


#: Exact bytes of the file that would hold these tensors: a format's `measure`.
Measure = Callable[[Sequence[Tensor], Mapping[str, str]], int]


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for, complete: every default is filled in."""

    limits: Limits
    format: str
    suffix: str
    stem: str
    variant: str | None = None
    filename: str | None = None  # the one file's name, where the user gave it
    order: Order = "source"
    tied: Tied = "share"
    block: int | None = None  # of a shareable layout, in bytes; None: compact

    @property
    def layout(self) -> Literal["compact", "shareable"]:
        """How bytes stand in the files."""
        return "compact" if self.block is None else "shareable"


def options_of(request: Request) -> dict[str, str | int | bool | None]:
    """The options that decide a plan, as a plan file and a journal record them."""
    return {
        "container": request.format,
        "max_shard_bytes": request.limits.max_shard_bytes,
        "num_shards": request.limits.num_shards,
        "strict_size": request.limits.strict,
        "name": request.stem,
        "variant": request.variant,
        "filename": request.filename,
        "order": request.order,
        "tied": request.tied,
        "layout": request.layout,
    }


Replace = Literal["nothing", "same", "all"]


LayoutChoice = Literal["auto", "compact", "shareable"]
