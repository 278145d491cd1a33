"""The commands: arguments in, a call, an exit code out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from shardctl.cli import options as o
from shardctl.cli.arguments import WriterArguments, command
from shardctl.cli.exits import write_stdout
from shardctl.cli.panels import LOOK, OUTPUT

if TYPE_CHECKING:
    from shardctl.planning.request import Limits

app = typer.Typer(
    name="shardctl",
    help="Split, merge, convert, inspect and verify model checkpoints: lazily, safely, at the speed of a copy.",
    add_completion=False,
    pretty_exceptions_enable=False,
    # Our own --help, in options.py: Typer's would also be found in the environment, as
    # SHARDCTL_SPLIT_HELP.
    add_help_option=False,
    context_settings={"auto_envvar_prefix": "SHARDCTL"},
)

WORK_TO_DO = 1


@app.callback()
def _root(
    version: o.Version = False,
    short_help: o.ShortHelp = False,
    help: o.Help = False,  # noqa: A002 - the option's name
    debug: o.Debug = False,
) -> None:
    """Hold what is common to all commands."""


def say(text: str, *, quiet: bool = False) -> None:
    """Talk, on stderr."""
    from shardctl.text import printable

    if not quiet:
        print(printable(text), file=sys.stderr)


def _write(name: str, arguments: WriterArguments, limits: Limits | None) -> None:
    """The body of `split`, `merge` and `reshard`."""
    from shardctl.cli import documents, render
    from shardctl.cli.progress import observers as progress
    from shardctl.cli.reporting import Reporter
    from shardctl.commands import write as operations
    from shardctl.engine.run import RunOptions
    from shardctl.stores.local import LocalStore
    from shardctl.streams.pool import default_jobs

    store = LocalStore()
    report = Reporter(store, arguments.report)
    options = arguments.write_options(limits)
    looking = arguments.dry_run or arguments.check
    prepared = operations.prepare(
        store, arguments.source, arguments.target, options, finish=not looking
    )
    if arguments.check:
        raise typer.Exit(0 if prepared.up_to_date else WORK_TO_DO)
    for note in prepared.notes:
        say(f"note: {note}", quiet=arguments.quiet)
    for detail in render.details(prepared) if arguments.verbose else ():
        say(detail, quiet=arguments.quiet)
    if arguments.dry_run:
        report.plan(prepared)
        if arguments.json:
            write_stdout(documents.dump(documents.plan_file(name, prepared, store)))
        else:
            write_stdout(render.plan(prepared) if render.drawing() else render.plan_rows(prepared))
        return
    if prepared.up_to_date:
        say("up to date", quiet=arguments.quiet)
        receipts = prepared.receipts
    else:
        begun = time.monotonic()
        run = RunOptions(
            arguments.jobs or default_jobs(), restart=arguments.restart, record=arguments.record
        )
        with progress.shown(arguments.progress, quiet=arguments.quiet) as observer:
            receipts = operations.write(store, prepared, run, observer)
        say(render.summary(prepared, receipts, time.monotonic() - begun), quiet=arguments.quiet)
    report.plan(prepared)
    if arguments.json:
        write_stdout(documents.dump(documents.writing(name, prepared, store, receipts)))
    else:
        write_stdout(prepared.path(store) + "\n")


def _writer(name: str, doc: str, *, without: tuple[str, ...], **annotations: object) -> None:
    body: Callable[..., None] = command(
        name, _write, without=without, annotations=annotations, doc=doc
    )
    app.command(name, add_help_option=False)(body)


_writer(
    "split",
    """Divide a checkpoint into shards of limited size, with an index.

    Example: shardctl split model.safetensors sharded/ --max-shard-size 2GB
    """,
    without=("single",),
    max_shard_size=o.SplitShardSize,
)
_writer(
    "merge",
    """Join the shards of a checkpoint into one file.

    Example: shardctl merge sharded/ model.safetensors
    """,
    without=("single", "max_shard_size", "num_shards", "strict_size"),
    target=o.MergeTarget,
)
_writer(
    "reshard",
    """Change a checkpoint's shards, its format, or both.

    Example: shardctl reshard old/ new/ --to safetensors --max-shard-size 5GB
    """,
    without=(),
    target=o.MergeTarget,
)


@app.command(add_help_option=False)
def inspect(
    source: o.Source,
    depth: Annotated[
        int | None,
        o.option(
            LOOK, "--depth", metavar="N", min=1, text="Levels of the layer tree, on a terminal"
        ),
    ] = None,
    top: Annotated[
        int | None,
        o.option(
            LOOK,
            "--top",
            metavar="N",
            min=1,
            text="List the N largest tensors",
            details="On a terminal they are one more table, in a pipe the only rows.",
        ),
    ] = None,
    glob: Annotated[
        str | None,
        o.option(
            LOOK,
            "--filter",
            metavar="GLOB",
            envvar="SHARDCTL_INSPECT_FILTER",
            text="Only tensors whose whole names match, e.g. '*.bias'",
        ),
    ] = None,
    key: o.KeyToLookAt = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    report: o.Report = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    version: o.Version = False,
    short_help: o.ShortHelp = False,
    help: o.Help = False,  # noqa: A002 - the option's name
    debug: o.Debug = False,
) -> None:
    """Show what a checkpoint holds, from its headers: files, dtypes, layers, tensors.

    Example: shardctl inspect sharded/ --depth 3
    """
    from shardctl.cli import documents, render
    from shardctl.cli.reporting import Reporter
    from shardctl.commands import inspect as inspection
    from shardctl.stores.local import LocalStore

    store = LocalStore()
    reporter = Reporter(store, report)
    found = inspection.inspect(store, source, key=key, glob=glob)
    for note in found.notes:
        say(f"note: {note}", quiet=quiet)
    reporter.inspection(found)
    if json:
        write_stdout(documents.dump(documents.inspection(found)))
    elif render.drawing():
        write_stdout(render.inspection(found, depth=depth, top=top))
    else:
        write_stdout(render.inspection_rows(found, top=top))


@app.command(add_help_option=False)
def verify(
    source: o.Source,
    deep: Annotated[
        bool,
        o.option(
            LOOK,
            "--deep",
            text="Read all bytes and compare checksums",
            details="These are the CRCs of `.bin` files, and `SHA256SUMS` where there is one.",
        ),
    ] = False,
    load: Annotated[
        bool,
        o.option(
            LOOK,
            "--load",
            text="Also load with torch and safetensors",
            details="Every tensor is loaded with the upstream loaders and compared; needs torch.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        o.option(
            LOOK,
            "--against",
            metavar="OTHER",
            text="Compare with another checkpoint",
            details="Names, dtypes and shapes are compared, with `--deep` the bytes too, whatever the formats.",
        ),
    ] = None,
    strict: Annotated[bool, o.option(LOOK, "--strict", text="Count warnings as errors")] = False,
    key: o.KeyToLookAt = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    report: o.Report = None,
    jobs: o.Jobs = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    version: o.Version = False,
    short_help: o.ShortHelp = False,
    help: o.Help = False,  # noqa: A002 - the option's name
    debug: o.Debug = False,
) -> None:
    """Check a checkpoint: headers, index, checksums, or against another one.

    Example: shardctl verify sharded/ --deep
    """
    from shardctl.cli import documents, render
    from shardctl.cli.progress import observers as showing
    from shardctl.cli.reporting import Reporter
    from shardctl.stores.local import LocalStore
    from shardctl.streams.pool import default_jobs
    from shardctl.verify.run import Thoroughness
    from shardctl.verify.run import verify as run_checks

    how = Thoroughness(
        deep=deep,
        load=load,
        against=against,
        strict=strict,
        key=key,
        jobs=jobs or default_jobs(),
        digests=json,
    )
    store = LocalStore()
    reporter = Reporter(store, report)
    with showing.shown(progress, quiet=quiet, writes=False) as observer:
        found = run_checks(store, source, how, observer)
    reporter.verdict(source, found, key)
    if json:
        write_stdout(documents.dump(documents.verdict(source, found)))
    elif render.drawing():
        write_stdout(render.verdict(found, store))
    else:
        write_stdout(render.finding_rows(found.findings))
        say(render.closing(found), quiet=quiet)
    if not found.ok:
        raise typer.Exit(WORK_TO_DO)


@app.command(add_help_option=False)
def index(
    source: o.Source,
    check: Annotated[
        bool,
        o.option(OUTPUT, "--check", text="Write nothing; exit with 1 if the index is wrong"),
    ] = False,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    version: o.Version = False,
    short_help: o.ShortHelp = False,
    help: o.Help = False,  # noqa: A002 - the option's name
    debug: o.Debug = False,
) -> None:
    """Write or repair the index of a sharded checkpoint, from the shards' headers.

    Example: shardctl index sharded/
    """
    from shardctl.cli import documents
    from shardctl.commands.index import reindex
    from shardctl.stores.local import LocalStore

    made = reindex(LocalStore(), source, check=check)
    for change in made.changes:
        say(f"{'would change' if check else 'changed'}: {change}", quiet=quiet)
    if json:
        write_stdout(documents.dump(documents.indexing(source, made, check=check)))
    elif not check:
        write_stdout(made.path + "\n")
    if check and made.changes:
        raise typer.Exit(WORK_TO_DO)
