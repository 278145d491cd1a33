"""`apply`: carry out a plan that was saved."""

from __future__ import annotations

from shardctl.cli import apply_options as a
from shardctl.cli import options as o
from shardctl.cli import writer_options as w
from shardctl.cli.exits import log


def apply(
    plan: a.PlanPath,
    source: a.Source = None,
    target: a.Target = None,
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
    """Write what a saved plan says, on any machine.

    Example: shardctl apply plan.json --target out/
    """
    from shardctl.cli import render
    from shardctl.cli.process import held
    from shardctl.cli.reporting import Reporter
    from shardctl.cli.writing import Running, carry_out
    from shardctl.commands.planned import prepare_planned, read_plan_file
    from shardctl.commands.records import records as records_of_user
    from shardctl.stores.registry import open_store, open_together

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
    carry_out("apply", work, source_store, target_store, records, reporter, how)
