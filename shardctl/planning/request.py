"""Everything that a writing command was asked for, and the complete request that follows from it.

`WriteOptions` is what the user said; with the source and the target it becomes a `Request`, in
which every default is filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shardctl.errors import UsageError
from shardctl.model import Tensor
from shardctl.sizes import parse_size
from shardctl.text import escape

Order = Literal["source", "natural"]
Tied = Literal["share", "expand"]
LayoutChoice = Literal["auto", "compact", "reflink"]
ExpertsAction = Literal["stack", "split"]
Replace = Literal["nothing", "same", "all"]
#: Which other files of the source directory go along: those that a loader may want, all that can
#: lie beside the new set, or none.
Companions = Literal["auto", "all", "none"]

#: The largest block, in bytes, for which a reflink layout pads: a record's padding takes space, and
#: must fit a 16-bit field of its zip header.
LARGEST_BLOCK = 16 * 1024

#: Options that decide a plan, by the names that plan files and journals use.
OptionValue = str | int | bool | list[str] | list[list[str]] | None
Options = Mapping[str, OptionValue]

#: Exact bytes of the file that would hold these tensors: a format's `measure`.
Measure = Callable[[Sequence[Tensor], Mapping[str, str]], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large or how many: at most one is set; neither means a single file.

    `strict` limits the whole file, header included; `or_fewer` takes fewer shards where there are
    not enough tensors to fill them. `each_group` is a file for each group of tensors.
    """

    max_shard_bytes: int | None = None
    num_shards: int | None = None
    strict: bool = False
    or_fewer: bool = False
    each_group: bool = False

    @property
    def one_file(self) -> bool:
        """Whether the result is a single file, whatever the source holds."""
        return self.max_shard_bytes is None and self.num_shards is None and not self.each_group


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
class Selection:
    """Which tensors are taken, and what they are called then; an empty one takes all as they are.

    `include` and `exclude` are patterns as in a shell (`*` crosses dots) for whole names as the
    source has them; what both match is left out. Then `strip_prefix` is removed where a name begins
    with it, `add_prefix` put before every name, and each pair of `rename` is a regular expression
    of Python and what replaces every match, in order.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    strip_prefix: str = ""
    add_prefix: str = ""
    rename: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return self != Selection()


#: Takes every tensor under its own name.
EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Conversion:
    """Which type floating-point tensors become; those whose names match a pattern of `keep` do not.

    `dtype` is a name of `model.DTYPES`.
    """

    dtype: str
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpertRule:
    """Which tensors of single experts are one stacked tensor.

    `parts` are the ends of their names, with `*` for the expert's number; `stacked` is that of the
    stacked tensor's name. Several parts are joined for each expert, in order, along the first
    dimension of each.
    """

    stacked: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Experts:
    """What becomes of the tensors of experts: one for all ("stack"), or one for each ("split").

    `rules` None means those that are known (`expert_rules.KNOWN`).
    """

    action: ExpertsAction
    rules: tuple[ExpertRule, ...] | None = None


@dataclass(frozen=True, slots=True)
class Transform:
    """What becomes of a checkpoint's tensors, whatever the files: in the order of the fields.

    It makes a copy, and is applied to the original again to compare the two.
    """

    selection: Selection = EVERYTHING
    experts: Experts | None = None
    conversion: Conversion | None = None

    def __bool__(self) -> bool:
        return self != Transform()


#: Leaves all tensors as they are.
UNCHANGED = Transform()


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a writing command was asked for.

    `limits` None keeps the source's number of shards; with `group_by`, each group is a file then.
    `group_by` is as in `layers.grouped`. `block` is the block, in bytes, of a reflink layout that a
    plan has decided on; None leaves it to source and target.
    """

    limits: Limits | None
    format: str | None = None
    order: Order = "source"
    stem: str | None = None
    variant: str | None = None
    key: str | None = None
    selection: Selection = EVERYTHING
    drop_non_tensors: bool = False
    experts: Experts | None = None
    conversion: Conversion | None = None
    group_by: str | None = None
    tied: Tied = "share"
    layout: LayoutChoice = "auto"
    block: int | None = None
    companions: Companions = "auto"
    replace: Replace = "nothing"
    replace_companions: bool = False
    read_back: bool = False
    accept_damage: bool = False
    checksums: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What to write, complete: every default is filled in.

    `filename` is the one file's name where the user gave it. `block` is the block, in bytes, for
    which a reflink layout pads; None is the compact layout. `variant_first`: the index's name has
    the variant before the suffix, as the source's has.
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
    selection: Selection = EVERYTHING
    experts: Experts | None = None
    conversion: Conversion | None = None
    variant_first: bool = False
    group_by: str | None = None


def options_of(request: Request) -> dict[str, OptionValue]:
    """Return the options that decide a plan, as a plan file and a journal record them.

    Those that change tensors, or group them, and what few sources have, are there only where they
    are not the default.
    """
    chosen, conversion, experts = request.selection, request.conversion, request.experts
    given: dict[str, OptionValue] = {
        "include": list(chosen.include),
        "exclude": list(chosen.exclude),
        "strip_prefix": chosen.strip_prefix,
        "add_prefix": chosen.add_prefix,
        "rename": [list(rule) for rule in chosen.rename],
        "dtype": None if conversion is None else conversion.dtype,
        "keep_dtype": [] if conversion is None else list(conversion.keep),
        "variant_first": request.variant_first,
        "experts": None if experts is None else experts.action,
        "experts_map": [[rule.stacked, *rule.parts] for rule in (experts and experts.rules) or ()],
        "group_by": request.group_by,
    }
    return {
        **{name: value for name, value in given.items() if value},
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


def _worded(name: str, value: OptionValue) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "on" if value else "off"
        case int():
            return f"{value:,} bytes" if name == "max_shard_bytes" else f"{value:,}"
        case "shareable":
            return "reflink"
        case list():
            return ", ".join(
                escape(each if isinstance(each, str) else "=".join(each)) for each in value
            )
    return escape(str(value))
