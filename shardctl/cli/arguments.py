"""The arguments of the writing commands: one dataclass, of which each command offers what makes sense for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from shardctl.cli import options as o
from shardctl.cli.panels import SIZE_GROUP
from shardctl.errors import UsageError

if TYPE_CHECKING:
    from shardctl.planning.request import Limits, WriteOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterArguments:
    """What the user typed, with the variables of the environment and the defaults filled in."""

    source: o.Source
    target: o.TargetPath
    max_shard_size: o.MaxShardSize = None
    num_shards: o.NumShards = None
    single: o.Single = False
    to: o.To = None
    strict_size: o.StrictSize = False
    order: o.Order = o.OrderName.source
    tied: o.Tied = o.TiedName.share
    key: o.Key = None
    drop_non_tensors: o.DropNonTensors = False
    layout: o.Layout = o.LayoutName.auto
    name: o.Name = None
    variant: o.Variant = None
    companions: o.Companions = True
    replace: o.Replace = False
    replace_all: o.ReplaceAll = False
    verify: o.ReadBack = False
    checksums: o.Checksums = False
    restart: o.Restart = False
    record: o.Record = True
    dry_run: o.DryRun = False
    check: o.Check = False
    jobs: o.Jobs = None
    json: o.Json = False
    report: o.Report = None
    progress: o.Progress = o.ProgressName.auto
    quiet: o.Quiet = False
    verbose: o.Verbose = False
    version: o.Version = False
    short_help: o.ShortHelp = False
    help: o.Help = False
    debug: o.Debug = False

    def write_options(self, limits: Limits | None) -> WriteOptions:
        """The request as the operations take it."""
        from shardctl.planning.request import WriteOptions  # noqa: PLC0415 - `--help` needs no engine

        return WriteOptions(
            limits=limits,
            format=self.to,
            order=self.order.value,
            stem=self.name,
            variant=self.variant,
            key=self.key,
            drop_non_tensors=self.drop_non_tensors,
            tied=self.tied.value,
            layout=self.layout.value,
            companions=self.companions,
            replace="all" if self.replace_all else "same" if self.replace else "nothing",
            read_back=self.verify,
            checksums=self.checksums,
        )


Run = Callable[[str, WriterArguments, "Limits | None"], None]


def command(
    name: str, run: Run, *, without: tuple[str, ...], annotations: Mapping[str, Any], doc: str
) -> Callable[..., None]:
    """A function with the signature that Typer shall see: the fields, less those that the command does not offer."""

    def body(ctx: typer.Context, **given: object) -> None:
        _one_of_a_group(ctx, given)
        arguments = WriterArguments(**given)  # type: ignore[arg-type] # Typer converted them as the fields say
        run(name, arguments, limits_of(name, arguments))

    hints = {**get_type_hints(WriterArguments, include_extras=True), **annotations}
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
    body.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined] # what inspect reads
    body.__annotations__ = {
        "ctx": typer.Context,
        **{field.name: hints[field.name] for field in offered},
    }
    body.__doc__ = doc
    body.__name__ = name
    return body


def _one_of_a_group(ctx: typer.Context, given: dict[str, object]) -> None:
    """An option on the command line puts the variables of its whole group out of force; two are a usage error."""
    typed: list[str] = []
    other: list[str] = []
    for name in SIZE_GROUP:
        if given.get(name) not in (None, False):
            source = ctx.get_parameter_source(name)
            (typed if source is not None and source.name == "COMMANDLINE" else other).append(name)
    for name in other if typed else ():
        given[name] = False if name == "single" else None
    if len(typed or other) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in (typed or other))
        raise UsageError(f"{names} exclude each other", hint="give just one of them")


def limits_of(name: str, arguments: WriterArguments) -> Limits | None:
    """The limits that a command's options ask for; None keeps the source's number of shards."""
    from shardctl.planning.request import Limits  # noqa: PLC0415 - `--help` needs none of this
    from shardctl.sizes import parse_size  # noqa: PLC0415 - `--help` needs none of this

    strict = arguments.strict_size
    size = arguments.max_shard_size
    if size is None and name == "split":
        size = o.DEFAULT_SHARD_SIZE
    if name == "merge" or arguments.single:
        limits: Limits | None = Limits()
    elif arguments.num_shards is not None:
        limits = Limits(num_shards=arguments.num_shards)
    elif size is not None:
        return Limits(max_shard_bytes=parse_size(size), strict=strict)
    else:
        limits = None
    if strict:
        raise UsageError("--strict-size needs a size to keep to", hint="add --max-shard-size SIZE")
    return limits
