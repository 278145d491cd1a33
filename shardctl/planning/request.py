"""Everything that a writing command was asked for, and the complete request that follows from it.

`WriteOptions` is what the user said; with the source and the target it becomes a `Request`, in
which every default is filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

from shardctl.errors import UsageError
from shardctl.model import Tensor
from shardctl.sizes import parse_size
from shardctl.text import escape

Order = Literal["source", "natural"]
Tied = Literal["share", "expand"]
LayoutChoice = Literal["auto", "compact", "reflink"]
Replace = Literal["nothing", "same", "all"]

#: Options that decide a plan, by the names that plan files and journals use.
Options = Mapping[str, str | int | bool | None]

#: Exact bytes of the file that would hold these tensors: a format's `measure`.
Measure = Callable[[Sequence[Tensor], Mapping[str, str]], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large or how many: at most one is set; neither means a single file.

    `strict` limits the whole file, header included; `or_fewer` takes fewer shards where there are
    not enough tensors to fill them.
    """

    max_shard_bytes: int | None = None
    num_shards: int | None = None
    strict: bool = False
    or_fewer: bool = False

    @property
    def one_file(self) -> bool:
        """Whether the result is a single file, whatever the source holds."""
        return self.max_shard_bytes is None and self.num_shards is None


def parse_limits(
    *, max_shard_size: int | str | None, num_shards: int | None, single: bool, strict_size: bool
) -> Limits | None:
    """Return the limits that were asked for, None for the source's number of shards.

    A size that is a number is in bytes. Raises UsageError for a size that cannot be read, for less
    than one shard, and for what cannot be used together.
    """
    asked = {"max_shard_size": max_shard_size, "num_shards": num_shards, "single": single or None}
    given = [f"`{name}`" for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} cannot be used together", hint="give just one of them"
        )
    if num_shards is not None and num_shards < 1:
        raise UsageError("`num_shards` is less than one", hint="give the number of files to write")
    if max_shard_size is not None:
        return Limits(max_shard_bytes=parse_size(str(max_shard_size)), strict=strict_size)
    if strict_size:
        raise UsageError("`strict_size` needs a size limit", hint="add `max_shard_size`")
    return Limits(num_shards=num_shards) if given else None


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
    replace_companions: bool = False
    read_back: bool = False
    accept_damage: bool = False
    checksums: bool = False


class WriteKeywords(TypedDict, total=False):
    """What a writing function takes as keyword arguments. All may be left out.

    At most one of `max_shard_size` (such as "5GB", or bytes), `num_shards` and `single` limits the
    result; `strict_size` limits the whole file, header included. The other keys are the fields of
    `WriteOptions`, with `name` for its `stem`.
    """

    max_shard_size: int | str | None
    num_shards: int | None
    single: bool
    strict_size: bool
    format: str | None
    order: Order
    name: str | None
    variant: str | None
    key: str | None
    drop_non_tensors: bool
    tied: Tied
    layout: LayoutChoice
    companions: bool
    replace: Replace
    replace_companions: bool
    read_back: bool
    accept_damage: bool
    checksums: bool


#: The values of settings that have a few.
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "order": get_args(Order),
    "tied": get_args(Tied),
    "layout": get_args(LayoutChoice),
    "replace": get_args(Replace),
}


def options_from(keywords: WriteKeywords) -> WriteOptions:
    """Return the options that keyword arguments ask for.

    Raises UsageError as `parse_limits` does and for a value that a setting does not have, and
    TypeError for an argument that does not exist.
    """
    given: dict[str, Any] = {**keywords}
    for setting, choices in _CHOICES.items():
        if setting in given and given[setting] not in choices:
            raise UsageError(
                f"`{setting}` cannot be {escape(repr(given[setting]))}",
                hint=f"choose one of: {', '.join(choices)}",
            )
    limits = parse_limits(
        max_shard_size=given.pop("max_shard_size", None),
        num_shards=given.pop("num_shards", None),
        single=given.pop("single", False),
        strict_size=given.pop("strict_size", False),
    )
    return WriteOptions(limits=limits, stem=given.pop("name", None), **given)


@dataclass(frozen=True, slots=True)
class Request:
    """What to write, complete: every default is filled in.

    `filename` is the one file's name where the user gave it. `block` is the block, in bytes, for
    which a reflink layout pads; None is the compact layout.
    """

    limits: Limits
    format: str
    suffix: str
    stem: str
    variant: str | None = None
    filename: str | None = None
    order: Order = "source"
    tied: Tied = "share"
    block: int | None = None


def options_of(request: Request) -> dict[str, str | int | bool | None]:
    """Return the options that decide a plan, as a plan file and a journal record them."""
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
        # The reflink layout's first name stays here, so that a plan keeps its id.
        "layout": "compact" if request.block is None else "shareable",
    }


#: How messages name a recorded option where that is not its own name.
_NAMES = {
    "container": "`format`",
    "max_shard_bytes": "`max_shard_size`",
    "filename": "the target's file name",
}


def option_differences(before: Options, now: Options) -> list[str]:
    """Say which options differ, for example "`checksums` was off, is on"."""
    return [
        f"{_NAMES.get(name, f'`{name}`')} was {_worded(name, before.get(name))}, "
        f"is {_worded(name, now.get(name))}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _worded(name: str, value: str | int | None) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "on" if value else "off"
        case int():
            return f"{value:,} bytes" if name == "max_shard_bytes" else f"{value:,}"
        case "shareable":
            return "reflink"
    return escape(str(value))
