"""The arguments of the writing commands, of which each command offers those that suit it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from shardctl.cli.options import conversion as c
from shardctl.cli.options import experts as e
from shardctl.cli.options import selection as s
from shardctl.cli.options import shared as o
from shardctl.cli.options import writers as w
from shardctl.cli.options.panels import SIZE_GROUP
from shardctl.errors import UsageError

if TYPE_CHECKING:
    from shardctl.planning.request import WriteOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterArguments:
    """What the user typed, with variables and defaults filled in."""

    source: o.Sources
    target: w.TargetPath
    max_shard_size: w.MaxShardSize = None
    num_shards: w.NumShards = None
    single: w.Single = False
    to: w.To = None
    strict_size: w.StrictSize = False
    include: s.Include = None
    exclude: s.Exclude = None
    strip_prefix: s.StripPrefix = ""
    add_prefix: s.AddPrefix = ""
    rename: s.Rename = None
    order: w.Order = w.OrderName.source
    group_by: w.GroupBy = None
    experts: e.Experts = None
    experts_map: e.ExpertsMap = None
    dtype: c.Dtype = None
    keep_dtype: c.KeepDtype = None
    tied: w.Tied = w.TiedName.share
    key: w.Key = None
    drop_non_tensors: w.DropNonTensors = False
    layout: w.Layout = w.LayoutName.auto
    name: w.Name = None
    variant: w.Variant = None
    companions: w.Companions = w.CompanionsName.auto
    no_companions: w.NoCompanions = False
    replace: w.Replace = False
    replace_companions: w.ReplaceCompanions = False
    replace_all: w.ReplaceAll = False
    verify: w.ReadBack = False
    accept_damage: w.AcceptDamage = False
    checksums: w.Checksums = False
    restart: w.Restart = False
    record: w.Record = True
    dry_run: w.DryRun = False
    check: w.Check = False
    jobs: o.Jobs = None
    scheduler: w.Scheduler = None
    json: o.Json = False
    report: o.Report = None
    progress: o.Progress = o.ProgressName.auto
    quiet: o.Quiet = False
    verbose: o.Verbose = False

    def write_options(self) -> WriteOptions:
        """Return the options as the library takes them; raises as `parse_limits` does."""
        from shardctl.planning.keywords import options_from  # noqa: PLC0415 - not for `--help`

        return options_from(
            {
                "max_shard_size": self.max_shard_size,
                "num_shards": self.num_shards,
                "single": self.single,
                "strict_size": self.strict_size,
                "format": self.to,
                "order": self.order.value,
                "name": self.name,
                "variant": self.variant,
                "key": self.key,
                **s.keywords_of(
                    self.include, self.exclude, self.strip_prefix, self.add_prefix, self.rename
                ),
                **e.keywords_of(self.experts, self.experts_map),
                **c.keywords_of(self.dtype, self.keep_dtype),
                "group_by": self.group_by,
                "drop_non_tensors": self.drop_non_tensors,
                "tied": self.tied.value,
                "layout": self.layout.value,
                "companions": "none" if self.no_companions else self.companions.value,
                "replace": ("all" if self.replace_all else "same" if self.replace else "nothing"),
                "replace_companions": self.replace_companions,
                "read_back": self.verify,
                "accept_damage": self.accept_damage,
                "checksums": self.checksums,
            }
        )


Run = Callable[[str, WriterArguments], None]


def command(
    name: str,
    run: Run,
    *,
    without: tuple[str, ...],
    size: Mapping[str, object],
    annotations: Mapping[str, Any],
) -> Callable[..., None]:
    """Return a function with the signature that Typer reads: the fields, less those in `without`.

    `size` is what holds where no option of the size group is given. `annotations` replace those of
    the fields, by name.
    """

    def body(ctx: typer.Context, **given: object) -> None:
        # With groups and no size, each group is a file.
        usual = {} if given.get("group_by") is not None else size
        arguments = WriterArguments(**_one_of_a_group(ctx, given, usual))
        _check_size(ctx, arguments.max_shard_size)
        run(name, arguments)

    hints = {**_hints(), **annotations}
    offered = [field for field in fields(WriterArguments) if field.name not in without]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            field.name,
            keyword,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in offered
    ]
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    signature = inspect.Signature([context, *parameters])
    body.__signature__ = signature  # type: ignore[attr-defined] # what inspect reads
    body.__annotations__ = {
        "ctx": typer.Context,
        **{field.name: hints[field.name] for field in offered},
    }
    body.__name__ = name
    return body


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(WriterArguments, include_extras=True)


def _one_of_a_group(
    ctx: typer.Context, given: Mapping[str, object], size: Mapping[str, object]
) -> dict[str, Any]:
    """Return the values in force: an option on the command line overrides its group's variables.

    Typer has converted them as the fields say.
    """
    asked = [name for name in SIZE_GROUP if given.get(name) not in (None, False)]
    typed = [name for name in asked if _is_typed(ctx, name)]
    overridden = {name for name in asked if name not in typed} if typed else set[str]()
    return {
        **{name: value for name, value in given.items() if name not in overridden},
        **({} if asked else size),
    }


def _check_size(ctx: typer.Context, size: str | None) -> None:
    """Raise the usage error for what is not a size, with the option or variable it came from."""
    from shardctl.sizes import parse_size  # noqa: PLC0415 - `--help` needs none of this

    try:
        parse_size(size or w.DEFAULT_SHARD_SIZE)
    except UsageError as error:
        from shardctl.cli.guidance.usage import place_of  # noqa: PLC0415 - only for the message

        parameter = next(each for each in ctx.command.params if each.name == "max_shard_size")
        place, correct = place_of(ctx, parameter)
        hint = f"{error.hint}; {correct}" if correct else error.hint
        raise UsageError(f"{place}: {error.message}", hint=hint) from None


def _is_typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
