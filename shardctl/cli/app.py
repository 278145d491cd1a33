"""The commands: each takes its arguments, makes a call, and prints the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import typer

from shardctl.cli import options as o
from shardctl.cli import reader_options as r
from shardctl.cli import selection_options as s
from shardctl.cli import writer_options as w
from shardctl.cli.arguments import WriterArguments, command
from shardctl.cli.everywhere import Command, Program
from shardctl.cli.exits import write_stdout
from shardctl.cli.remedies import spelled

if TYPE_CHECKING:
    from shardctl.commands.prepare import Prepared
    from shardctl.stores.base import Store

app = typer.Typer(
    cls=Program,
    name="shardctl",
    help="Split, merge, convert, inspect and verify model checkpoints: lazily, safely, "
    "at the speed of a copy.",
    add_completion=False,
    pretty_exceptions_enable=False,
    # Our own --help, in `everywhere`: Typer's would also be found in the environment, as
    # SHARDCTL_SPLIT_HELP.
    add_help_option=False,
    context_settings={"auto_envvar_prefix": "SHARDCTL"},
)

WORK_TO_DO = 1


def log(text: str, *, quiet: bool = False) -> None:
    """Print a message to stderr."""
    from shardctl.text import printable

    if not quiet:
        print(printable(spelled(text)), file=sys.stderr)


def _log_traffic(*stores: Store | None, quiet: bool) -> None:
    """Print what the stores across a network were asked for."""
    from shardctl.cli.traffic import traffic

    for line in traffic(*stores):
        log(line, quiet=quiet)


def _write(name: str, arguments: WriterArguments) -> None:
    """Run `split`, `merge` or `reshard`."""
    from shardctl.cli import documents, render
    from shardctl.cli.process import after, held
    from shardctl.cli.progress import observers as progress
    from shardctl.cli.records import records as records_of_user
    from shardctl.cli.reporting import Reporter
    from shardctl.commands.prepare import prepare
    from shardctl.commands.write import write
    from shardctl.engine.run import RunOptions
    from shardctl.stores.registry import open_store
    from shardctl.streams.pool import default_jobs

    source_store, source = open_store(arguments.source)
    target_store, target = open_store(arguments.target)
    report = Reporter(arguments.report)
    options = arguments.write_options()
    finish = not (arguments.dry_run or arguments.check)
    records = records_of_user(keep=arguments.record)
    prepared = prepare(
        source_store,
        source,
        target_store,
        target,
        options,
        finish=finish,
        compare=not arguments.dry_run,
        records=records,
        hold=held,
    )
    if arguments.check:
        raise typer.Exit(0 if prepared.up_to_date else WORK_TO_DO)
    for note in prepared.notes:
        log(f"note: {note}", quiet=arguments.quiet)
    for detail in render.details(prepared) if arguments.verbose else ():
        log(detail, quiet=arguments.quiet)
    if arguments.dry_run:
        _log_traffic(source_store, quiet=arguments.quiet)
        report.plan(prepared)
        if arguments.json:
            write_stdout(
                documents.dump(documents.plan_file(name, prepared, source_store, target_store))
            )
        else:
            _show_plan(prepared, quiet=arguments.quiet)
        return
    result = prepared.path(target_store)
    receipts, seconds = prepared.receipts, None
    if receipts is None:
        begun = time.monotonic()
        hold = partial(held, result)
        run = RunOptions(arguments.jobs or default_jobs(), restart=arguments.restart, hold=hold)
        with progress.shown(arguments.progress, quiet=arguments.quiet) as observer:
            receipts = write(source_store, target_store, prepared, run, observer, records=records)
        seconds = time.monotonic() - begun
    with after(result):
        summary = (
            "up to date"
            if seconds is None
            else render.summary(prepared, receipts, seconds, verbose=arguments.verbose)
        )
        log(summary, quiet=arguments.quiet)
        _log_traffic(source_store, quiet=arguments.quiet)
        for note in render.accepted(receipts):
            log(f"note: {note}", quiet=arguments.quiet)
        report.plan(prepared)
        if arguments.json:
            write_stdout(documents.dump(documents.writing(name, prepared, target_store, receipts)))
        else:
            write_stdout(result + "\n")


def _show_plan(prepared: Prepared, *, quiet: bool) -> None:
    """Show a plan on stdout; in a pipe, what its rows do not say goes to stderr."""
    from shardctl.cli import render
    from shardctl.view.facts import facts

    if prepared.up_to_date:
        log("up to date", quiet=quiet)
    drawing = render.drawing()
    for fact in () if drawing else facts(prepared):
        log(fact, quiet=quiet)
    write_stdout(render.plan(prepared) if drawing else render.plan_rows(prepared))


def _writer(
    name: str,
    doc: str,
    *,
    without: tuple[str, ...] = (),
    size: Mapping[str, object],
    **annotations: object,
) -> None:
    body: Callable[..., None] = command(
        name, _write, without=without, size=size, annotations=annotations, doc=doc
    )
    app.command(name, cls=Command, add_help_option=False)(body)


_writer(
    "split",
    """Divide a checkpoint into shards of limited size, with an index.

    Example: shardctl split model/ sharded/ --max-shard-size 2GB
    """,
    without=("single",),
    size={"max_shard_size": w.DEFAULT_SHARD_SIZE},
    max_shard_size=w.SplitShardSize,
)
_writer(
    "merge",
    """Join the shards of a checkpoint into one file.

    Example: shardctl merge sharded/ model.safetensors
    """,
    without=("single", "max_shard_size", "num_shards", "strict_size"),
    size={"single": True},
    target=w.MergeTarget,
)
_writer(
    "reshard",
    """Change a checkpoint's shards, its format, or both.

    Example: shardctl reshard old/ new/ --to safetensors --max-shard-size 5GB
    """,
    size={},
    target=w.MergeTarget,
)


@app.command(cls=Command, add_help_option=False)
def inspect(
    source: o.Source,
    depth: r.Depth = None,
    top: r.Top = None,
    globs: r.Filter = None,
    key: r.Key = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    report: o.Report = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Show what a checkpoint holds, from its headers: files, dtypes, layers, tensors.

    Example: shardctl inspect sharded/ --depth 3
    """
    from shardctl.cli import documents, render
    from shardctl.cli.progress import headers
    from shardctl.cli.reporting import Reporter
    from shardctl.commands import inspect as inspection
    from shardctl.stores.registry import open_store

    store, path = open_store(source)
    reporter = Reporter(report)
    with headers.shown(progress, quiet=quiet, verbose=verbose) as opened:
        found = inspection.inspect(store, path, key=key, globs=globs or (), opened=opened)
    for warning in found.warnings:
        log(f"warning: {warning}", quiet=quiet)
    for note in found.notes:
        log(f"note: {note}", quiet=quiet)
    _log_traffic(store, quiet=quiet)
    reporter.inspection(found)
    if json:
        write_stdout(documents.dump(documents.inspection(found, top=top)))
    elif render.drawing():
        write_stdout(render.inspection(found, depth=depth, top=top))
    else:
        write_stdout(render.inspection_rows(found, top=top))


@app.command(cls=Command, add_help_option=False)
def diff(
    a: r.First,
    b: r.Second,
    stats: r.Stats = False,
    key: r.Key = None,
    include: s.Include = None,
    exclude: s.Exclude = None,
    strip_prefix: s.StripPrefix = "",
    add_prefix: s.AddPrefix = "",
    rename: s.Rename = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    jobs: o.Jobs = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Show what differs between two checkpoints, byte for byte; exit with 1 if anything does.

    Example: shardctl diff model.safetensors sharded/
    """
    from shardctl.cli import documents, render
    from shardctl.cli.progress import headers
    from shardctl.cli.progress import observers as showing
    from shardctl.commands.diff import Side
    from shardctl.commands.diff import diff as compare
    from shardctl.stores.registry import open_store
    from shardctl.streams.pool import default_jobs

    sides = [Side(*open_store(source)) for source in (a, b)]
    with (
        showing.shown(progress, quiet=quiet, writes=False) as observer,
        headers.shown(progress, quiet=quiet, verbose=verbose, ends=False) as opened,
    ):
        found = compare(
            sides[0],
            sides[1],
            key=key,
            selection=s.selection_of(include, exclude, strip_prefix, add_prefix, rename),
            stats=stats,
            jobs=jobs or default_jobs(),
            observe=observer,
            opened=opened,
        )
    for note in found.notes:
        log(f"note: {note}", quiet=quiet)
    _log_traffic(*(side.store for side in sides), quiet=quiet)
    if json:
        write_stdout(documents.dump(documents.difference(found)))
    elif render.drawing():
        write_stdout(render.difference(found, stats=stats))
    else:
        write_stdout(render.difference_rows(found, stats=stats))
        log(render.difference_summary(found), quiet=quiet)
    if not found.same:
        raise typer.Exit(WORK_TO_DO)


@app.command(cls=Command, add_help_option=False)
def verify(
    source: o.Source,
    deep: r.Deep = False,
    load: r.Load = False,
    against: r.Against = None,
    include: s.Include = None,
    exclude: s.Exclude = None,
    strip_prefix: s.StripPrefix = "",
    add_prefix: s.AddPrefix = "",
    rename: s.Rename = None,
    strict: r.Strict = False,
    key: r.Key = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    report: o.Report = None,
    jobs: o.Jobs = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Check a checkpoint: headers, index, checksums, or against another one.

    Example: shardctl verify sharded/ --deep
    """
    from shardctl.cli import documents, render
    from shardctl.cli.progress import headers
    from shardctl.cli.progress import observers as showing
    from shardctl.cli.remedies import spelled_coverage, spelled_finding
    from shardctl.cli.reporting import Reporter
    from shardctl.stores.registry import open_store
    from shardctl.streams.pool import default_jobs
    from shardctl.verify.run import Thoroughness
    from shardctl.verify.run import verify as run_checks

    store, path = open_store(source)
    other_store, other = (None, None) if against is None else open_store(against)
    how = Thoroughness(
        deep=deep,
        load=load,
        against=other,
        selection=s.selection_of(include, exclude, strip_prefix, add_prefix, rename),
        strict=strict,
        key=key,
        jobs=jobs or default_jobs(),
        digests=json,
    )
    reporter = Reporter(report)
    with (
        showing.shown(progress, quiet=quiet, writes=False) as observer,
        headers.shown(progress, quiet=quiet, verbose=verbose, ends=False) as opened,
    ):
        found = run_checks(store, path, how, observer, other_store, opened)
    found = replace(
        found,
        findings=tuple(map(spelled_finding, found.findings)),
        coverage=spelled_coverage(found.coverage),
    )
    _log_traffic(store, other_store, quiet=quiet)
    reporter.verdict(store, path, found, key)
    if json:
        write_stdout(documents.dump(documents.verdict(path, found)))
    elif render.drawing():
        write_stdout(render.verdict(found, store, quiet=quiet))
    else:
        write_stdout(render.finding_rows(render.said(found, quiet=quiet)))
        for line in render.closing(found):
            log(line, quiet=quiet)
    if not found.ok:
        raise typer.Exit(WORK_TO_DO)


@app.command(cls=Command, add_help_option=False)
def index(
    source: o.Source,
    check: r.Check = False,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Write or repair the index of a sharded checkpoint, from the shards' headers.

    Example: shardctl index sharded/
    """
    from shardctl.cli import documents
    from shardctl.cli.progress import headers
    from shardctl.commands.index import reindex
    from shardctl.stores.registry import open_store

    store, path = open_store(source)
    with headers.shown(progress, quiet=quiet, verbose=verbose) as opened:
        made = reindex(store, path, check=check, opened=opened)
    for note in made.notes:
        log(f"note: {note}", quiet=quiet)
    for change in made.changes:
        log(f"{'would change' if check else 'changed'}: {change}", quiet=quiet)
    if json:
        write_stdout(documents.dump(documents.indexing(path, made, check=check)))
    elif not check:
        if not made.changes:
            log("up to date", quiet=quiet)
        write_stdout(made.path + "\n")
    if check and made.changes:
        raise typer.Exit(WORK_TO_DO)


@app.command(cls=Command, add_help_option=False)
def completion(shell: r.Shell) -> None:
    """Print the completion script for a shell.

    Example: shardctl completion bash
    """
    from shardctl.cli.completion import script

    write_stdout(script(shell))
