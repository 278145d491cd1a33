"""The commands that write a checkpoint: `split`, `merge` and `reshard`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from shardctl.cli.exits import WORK_TO_DO, log, write_stdout
from shardctl.cli.options import writers as w
from shardctl.cli.options.arguments import WriterArguments, command
from shardctl.cli.process import drawing

if TYPE_CHECKING:
    from shardctl.commands.preparing.work import Work
    from shardctl.stores.base import Store


def _write(name: str, arguments: WriterArguments) -> None:
    """Run `split`, `merge` or `reshard`."""
    from shardctl.cli.commands.reporting import Reporter
    from shardctl.cli.commands.writing import Running, carry_out
    from shardctl.cli.output import render
    from shardctl.cli.output.traffic import log_traffic
    from shardctl.cli.process import held
    from shardctl.commands.preparing.records import records as records_of_user
    from shardctl.commands.preparing.work import prepare_all
    from shardctl.commands.write import write
    from shardctl.engine.workers.schedulers import executor_of

    executor = executor_of(arguments.scheduler, arguments.jobs)
    source_store, (source, *more), target_store, target = _opened(arguments)
    report = Reporter(arguments.report)
    finish = not (arguments.dry_run or arguments.check)
    records = records_of_user(keep=arguments.record)
    work = prepare_all(
        source_store,
        source,
        target_store,
        target,
        arguments.write_options(),
        finish=finish,
        compare=not arguments.dry_run,
        records=records,
        hold=held,
        more_sources=more,
    )
    if arguments.check:
        raise typer.Exit(0 if work.up_to_date else WORK_TO_DO)
    for note in work.notes:
        log(f"note: {note}", quiet=arguments.quiet)
    for detail in render.details(work) if arguments.verbose else ():
        log(detail, quiet=arguments.quiet)
    if arguments.dry_run:
        log_traffic(source_store, target_store, quiet=arguments.quiet)
        report.plan(work)
        if arguments.json:
            from shardctl.commands.documents import dump
            from shardctl.commands.saved.plan_document import plan_document

            write_stdout(dump(plan_document(name, work, source_store, target_store)))
        else:
            _show_plan(work, quiet=arguments.quiet)
        return
    how = Running(
        jobs=arguments.jobs,
        restart=arguments.restart,
        progress=arguments.progress,
        json=arguments.json,
        quiet=arguments.quiet,
        verbose=arguments.verbose,
    )
    write_there = partial(write, executor=executor)
    carry_out(name, work, source_store, target_store, records, report, how, write_there)


def _opened(arguments: WriterArguments) -> tuple[Store, list[str], Store, str]:
    """Open the source and the target: for each the store, and the paths there."""
    from shardctl.stores.registry import absolute, open_store, open_together

    # Workers elsewhere have other working directories.
    place = absolute if arguments.scheduler else str
    source_store, sources = open_together([place(each) for each in arguments.source])
    return source_store, sources, *open_store(place(arguments.target))


def _show_plan(work: Work, *, quiet: bool) -> None:
    """Show a plan on stdout; in a pipe, what its rows do not say goes to stderr."""
    from shardctl.cli.output import render
    from shardctl.view.facts import facts

    if work.up_to_date:
        log("up to date", quiet=quiet)
    drawn = drawing()
    for fact in () if drawn else facts(work):
        log(fact, quiet=quiet)
    write_stdout(render.plan(work) if drawn else render.plan_rows(work))


split = command(
    "split",
    _write,
    without=("single",),
    size={"max_shard_size": w.DEFAULT_SHARD_SIZE},
    annotations={"max_shard_size": w.SplitShardSize},
)
merge = command(
    "merge",
    _write,
    without=("single", "max_shard_size", "num_shards", "strict_size", "group_by"),
    size={"single": True},
    annotations={"target": w.MergeTarget},
)
reshard = command(
    "reshard",
    _write,
    without=(),
    size={},
    annotations={"target": w.MergeTarget},
)
