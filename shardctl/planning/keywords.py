"""What a writing function takes as keyword arguments, and the options that these ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, get_args

from shardctl.errors import UsageError
from shardctl.planning.request import (
    Companions,
    Experts,
    ExpertsAction,
    LayoutChoice,
    Order,
    Replace,
    Selection,
    Tied,
    Transform,
    WriteOptions,
    parse_limits,
)
from shardctl.text import escape


class SelectionKeywords(TypedDict, total=False):
    """Which tensors are taken, and what they are called: the fields of `Selection`.

    A text in the place of several patterns is one pattern.
    """

    include: str | Sequence[str]
    exclude: str | Sequence[str]
    strip_prefix: str
    add_prefix: str
    rename: Sequence[tuple[str, str]] | Mapping[str, str]


class TransformKeywords(SelectionKeywords, total=False):
    """What becomes of tensors: `include` to `rename` are those of `Selection`.

    `dtype` and `keep_dtype` choose a `Conversion`; "stack" and "split" for `experts` go by the
    rules that are known.
    """

    experts: Experts | ExpertsAction | None
    dtype: str | None
    keep_dtype: str | Sequence[str]


class WriteKeywords(TransformKeywords, total=False):
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
    group_by: str | None
    drop_non_tensors: bool
    tied: Tied
    layout: LayoutChoice
    companions: Companions
    replace: Replace
    replace_companions: bool
    read_back: bool
    accept_damage: bool
    checksums: bool


def selection_from(keywords: SelectionKeywords) -> Selection:
    """Return the selection that keyword arguments ask for.

    Raises UsageError for renames that are not pairs.
    """
    return Selection(
        include=_texts(keywords.get("include", ())),
        exclude=_texts(keywords.get("exclude", ())),
        strip_prefix=keywords.get("strip_prefix", ""),
        add_prefix=keywords.get("add_prefix", ""),
        rename=tuple(_pairs(keywords.get("rename", ()))),
    )


def transform_from(keywords: TransformKeywords) -> Transform:
    """Return the transform that keyword arguments ask for.

    Raises UsageError as `selection_from` and `conversion_of` do, and for experts that cannot be.
    """
    experts = keywords.get("experts")
    if experts is not None and not isinstance(experts, Experts):
        _check("experts", experts, get_args(ExpertsAction))
        experts = Experts(experts)
    selection = selection_from(keywords)
    dtype, kept = keywords.get("dtype"), _texts(keywords.get("keep_dtype", ()))
    conversion = None
    if dtype is not None or kept:
        from shardctl.planning.transform.cast import conversion_of  # noqa: PLC0415 - few runs convert

        conversion = conversion_of(dtype, kept)
    return Transform(selection, experts, conversion)


def _texts(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _pairs(given: Iterable[object] | Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for pair in given.items() if isinstance(given, Mapping) else given:
        # A text of two letters would be a pair, too.
        match pair:
            case (str(old), str(new)):
                yield old, new
            case _:
                raise UsageError(
                    f"`rename` cannot be {escape(repr(pair))}",
                    hint='give pairs of an expression and what replaces it: [("old", "new")]',
                )


#: The values of settings that have a few.
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "order": get_args(Order),
    "tied": get_args(Tied),
    "layout": get_args(LayoutChoice),
    "replace": get_args(Replace),
    "companions": get_args(Companions),
}


def options_from(keywords: WriteKeywords) -> WriteOptions:
    """Return the options that keyword arguments ask for.

    Raises UsageError as `parse_limits` does and for a value that a setting does not have, and
    TypeError for an argument that does not exist.
    """
    given: dict[str, Any] = {**keywords}
    for setting, choices in _CHOICES.items():
        if setting in given:
            _check(setting, given[setting], choices)
    limits = parse_limits(
        max_shard_size=given.pop("max_shard_size", None),
        num_shards=given.pop("num_shards", None),
        single=given.pop("single", False),
        strict_size=given.pop("strict_size", False),
    )
    transform = transform_from(keywords)
    for name in TransformKeywords.__optional_keys__:
        given.pop(name, None)
    return WriteOptions(
        limits=limits,
        stem=given.pop("name", None),
        selection=transform.selection,
        experts=transform.experts,
        conversion=transform.conversion,
        **given,
    )


def _check(setting: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(
            f"`{setting}` cannot be {escape(repr(value))}",
            hint=f"choose one of: {', '.join(choices)}",
        )
