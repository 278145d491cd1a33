"""Carry out what a writer has prepared, and say what was done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shardctl.cli.exits import log, write_stdout
from shardctl.cli.output import render
from shardctl.cli.output.traffic import log_traffic, network
from shardctl.cli.process import after, held
from shardctl.cli.progress import observers as progress
from shardctl.commands.documents import dump, writing
from shardctl.commands.preparing.work import refuse_unfinished
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.streams.pool import default_jobs

if TYPE_CHECKING:
    from shardctl.cli.commands.reporting import Reporter
    from shardctl.cli.options.shared import ProgressName
    from shardctl.commands.preparing.work import Work
    from shardctl.engine.journal.receipts import Receipt
    from shardctl.engine.journal.records import Records
    from shardctl.stores.base import Store


@dataclass(frozen=True, slots=True)
class Running:
    """How a run goes, and how it is shown, as the user typed it."""

    jobs: int | None
    restart: bool
    progress: ProgressName
    json: bool
    quiet: bool
    verbose: bool


def carry_out(
    name: str,
    work: Work,
    source_store: Store,
    target_store: Store,
    records: Records,
    report: Reporter,
    how: Running,
    write: Callable[..., tuple[Receipt, ...]] = write,
) -> None:
    """Write what is not up to date, with `write`, and print the result."""
    result = work.path(target_store)
    if work.pipeline is not None:
        refuse_unfinished(target_store, work, restart=how.restart)
    begun, todo = time.monotonic(), work.todo
    written = {run.name: run.prepared.receipts or () for run in work.parts}
    for run in todo:
        # Only with the last one all of the result is there.
        hold = partial(held, result if run is todo[-1] else None)
        options = RunOptions(how.jobs or default_jobs(), restart=how.restart, hold=hold)
        quiet = how.quiet or not run.has_files
        with progress.shown(how.progress, quiet=quiet) as observer:
            written[run.name] = write(
                source_store, target_store, run.prepared, options, observer, records=records
            )
    seconds = time.monotonic() - begun
    with after(result):
        summary = (
            render.summary(work, written, seconds, verbose=how.verbose) if todo else "up to date"
        )
        log(summary, quiet=how.quiet)
        log_traffic(source_store, target_store, quiet=how.quiet)
        for note in render.accepted(written):
            log(f"note: {note}", quiet=how.quiet)
        report.plan(work)
        if how.json:
            document = writing(name, work, target_store, written)
            write_stdout(dump({**document, **network(source_store, target_store)}))
        else:
            write_stdout(result + "\n")
