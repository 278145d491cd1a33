"""`apply`: carry out a plan that was saved."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shardctl.cli.exits import log, write_stdout
from shardctl.cli.options import apply as a
from shardctl.cli.options import shared as o
from shardctl.cli.options import writers as w
from shardctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardctl.cli.commands.writing import Running
    from shardctl.commands.preparing.work import Work
    from shardctl.engine.journal.receipts import Receipt
    from shardctl.planning.saved.plan_file import PlannedRun
    from shardctl.stores.base import Store


def apply(
    plan: a.PlanPath,
    source: a.Source = None,
    target: a.Target = None,
    part: a.Part = None,
    commit: a.Commit = False,
    replace: w.Replace = False,
    replace_companions: w.ReplaceCompanions = False,
    replace_all: w.ReplaceAll = False,
    restart: a.Restart = False,
    record: w.Record = True,
    jobs: o.Jobs = None,
    json: o.Json = False,
    report: o.Report = None,
    progress: o.Progress = o.ProgressName.auto,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run `apply`."""
    from shardctl.cli.commands.reporting import Reporter
    from shardctl.cli.commands.writing import Running, carry_out
    from shardctl.cli.output import render
    from shardctl.cli.process import held
    from shardctl.commands.preparing.records import records as records_of_user
    from shardctl.commands.saved.planned import prepare_planned, read_plan_file
    from shardctl.commands.saved.sharing import commit as commit_parts
    from shardctl.commands.saved.sharing import refuse_pipeline, write_whole
    from shardctl.commands.write import write
    from shardctl.stores.registry import open_store, open_together

    if part is not None and commit:
        raise UsageError(
            "--part and --commit cannot be used together",
            hint="commit when all parts have ended",
        )
    planned = read_plan_file(*open_store(plan))
    source_store, sources = open_together(source or planned.sources)
    target_store, directory = open_store(planned.target if target is None else target)
    reporter = Reporter(report)
    records = records_of_user(keep=record)
    work = prepare_planned(
        planned,
        source_store,
        sources,
        target_store,
        directory,
        planned.options_for(
            "all" if replace_all else "same" if replace else "nothing",
            replace_companions=replace_companions,
        ),
        records=records,
        hold=held,
    )
    for note in work.notes:
        log(f"note: {note}", quiet=quiet)
    for detail in render.details(work) if verbose else ():
        log(detail, quiet=quiet)
    how = Running(
        jobs=jobs, restart=restart, progress=progress, json=json, quiet=quiet, verbose=verbose
    )
    if part is not None or commit:
        refuse_pipeline(work)
    if part is not None and not work.up_to_date:
        _write_part(part, planned.runs[""], work, source_store, target_store, how)
        reporter.plan(work)
        return
    writer: Callable[..., tuple[Receipt, ...]] = write
    if work.pipeline is None:
        writer = partial(commit_parts if commit else write_whole, planned=planned.runs[""])
    carry_out("apply", work, source_store, target_store, records, reporter, how, writer)


def _write_part(
    part: str,
    planned: PlannedRun,
    work: Work,
    source_store: Store,
    target_store: Store,
    how: Running,
) -> None:
    """Write one part, and say what is done and what is missing."""
    from shardctl.cli.output import part_lines, render
    from shardctl.cli.output.traffic import log_traffic, network
    from shardctl.cli.progress import observers as showing
    from shardctl.commands.documents import dump, part_document
    from shardctl.commands.saved.sharing import Share, write_share
    from shardctl.engine.run import RunOptions
    from shardctl.streams.pool import default_jobs

    prepared, share = work.parts[0].prepared, Share(*map(int, part.split("/")))
    options = RunOptions(how.jobs or default_jobs(), restart=how.restart)
    with showing.shown(how.progress, quiet=how.quiet) as observer:
        done = write_share(
            source_store, target_store, prepared, share, options, observer, planned=planned
        )
    for line in part_lines.summary(share, prepared, done):
        log(line, quiet=how.quiet)
    log_traffic(source_store, target_store, quiet=how.quiet)
    for note in render.accepted({"": done.written}):
        log(f"note: {note}", quiet=how.quiet)
    if how.json:
        document = part_document(share, prepared, done)
        write_stdout(dump({**document, **network(source_store, target_store)}))
    else:
        write_stdout(part_lines.rows(prepared, done))
