"""The commands: each takes its arguments, makes a call, and prints the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import typer

from shardctl.cli import options as o
from shardctl.cli import reader_options as r
from shardctl.cli import writer_options as w
from shardctl.cli.arguments import WriterArguments, command
from shardctl.cli.everywhere import Command, Program
from shardctl.cli.exits import write_stdout
from shardctl.cli.remedies import spelled

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


def _write(name: str, arguments: WriterArguments) -> None:
    """Run `split`, `merge` or `reshard`."""
    from shardctl.cli import documents, render
    from shardctl.cli.process import held
    from shardctl.cli.progress import observers as progress
    from shardctl.cli.reporting import Reporter
    from shardctl.commands.prepare import prepare
    from shardctl.commands.records import records as records_of_user
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
    )
    if arguments.check:
        raise typer.Exit(0 if prepared.up_to_date else WORK_TO_DO)
    for note in prepared.notes:
        log(f"note: {note}", quiet=arguments.quiet)
    for detail in render.details(prepared) if arguments.verbose else ():
        log(detail, quiet=arguments.quiet)
    if arguments.dry_run:
        report.plan(prepared)
        if arguments.json:
            write_stdout(
                documents.dump(documents.plan_file(name, prepared, source_store, target_store))
            )
        else:
            write_stdout(render.plan(prepared) if render.drawing() else render.plan_rows(prepared))
        return
    if prepared.receipts is not None:
        log("up to date", quiet=arguments.quiet)
        receipts = prepared.receipts
    else:
        begun = time.monotonic()
        run = RunOptions(arguments.jobs or default_jobs(), restart=arguments.restart, hold=held)
        with progress.shown(arguments.progress, quiet=arguments.quiet) as observer:
            receipts = write(source_store, target_store, prepared, run, observer, records=records)
        seconds = time.monotonic() - begun
        summary = render.summary(prepared, receipts, seconds, verbose=arguments.verbose)
        log(summary, quiet=arguments.quiet)
    for note in render.accepted(receipts):
        log(f"note: {note}", quiet=arguments.quiet)
    report.plan(prepared)
    if arguments.json:
        write_stdout(documents.dump(documents.writing(name, prepared, target_store, receipts)))
    else:
        write_stdout(prepared.path(target_store) + "\n")


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

    Example: shardctl split model.safetensors sharded/ --max-shard-size 2GB
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
    glob: r.Filter = None,
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
        found = inspection.inspect(store, path, key=key, glob=glob, opened=opened)
    for note in found.notes:
        log(f"note: {note}", quiet=quiet)
    reporter.inspection(found)
    if json:
        write_stdout(documents.dump(documents.inspection(found)))
    elif render.drawing():
        write_stdout(render.inspection(found, depth=depth, top=top))
    else:
        write_stdout(render.inspection_rows(found, top=top))


@app.command(cls=Command, add_help_option=False)
def verify(
    source: o.Source,
    deep: r.Deep = False,
    load: r.Load = False,
    against: r.Against = None,
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
    reporter.verdict(store, path, found, key)
    if json:
        write_stdout(documents.dump(documents.verdict(source, found)))
    elif render.drawing():
        write_stdout(render.verdict(found, store))
    else:
        write_stdout(render.finding_rows(found.findings))
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
    for change in made.changes:
        log(f"{'would change' if check else 'changed'}: {change}", quiet=quiet)
    if json:
        write_stdout(documents.dump(documents.indexing(source, made, check=check)))
    elif not check:
        write_stdout(made.path + "\n")
    if check and made.changes:
        raise typer.Exit(WORK_TO_DO)
