"""The commands that write no checkpoint: each makes a call, and prints the result."""

from __future__ import annotations

from dataclasses import replace

import typer

from shardctl.cli.exits import WORK_TO_DO, log, write_stdout
from shardctl.cli.options import conversion as c
from shardctl.cli.options import experts as e
from shardctl.cli.options import readers as r
from shardctl.cli.options import selection as s
from shardctl.cli.options import shared as o
from shardctl.cli.process import drawing


def inspect(
    source: o.Source,
    depth: r.Depth = None,
    top: r.Top = None,
    globs: r.Filter = None,
    stats: r.Numbers = False,
    key: r.Key = None,
    variant: r.Variant = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    report: o.Report = None,
    jobs: o.Jobs = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run `inspect`."""
    from shardctl.cli.commands.reporting import Reporter
    from shardctl.cli.output import render
    from shardctl.cli.output.traffic import log_traffic
    from shardctl.cli.progress import headers
    from shardctl.commands.pipeline import inspect_all
    from shardctl.stores.registry import open_store

    store, path = open_store(source)
    reporter = Reporter(report)
    with headers.shown(progress, quiet=quiet, verbose=verbose, ends=not stats) as opened:
        found = inspect_all(store, path, key=key, globs=globs or (), variant=variant, opened=opened)
    if stats:
        from shardctl.cli.progress import observers as showing
        from shardctl.commands.numbers import with_statistics
        from shardctl.streams.pool import default_jobs
        from shardctl.view.tensors import largest

        parts = []
        for name, part in found.parts:
            shown = largest(part.tensors, top) if top else part.tensors
            with showing.shown(progress, quiet=quiet, writes=False) as observer:
                summed_up = with_statistics(
                    part, store, shown, jobs=jobs or default_jobs(), observe=observer
                )
            parts.append((name, summed_up))
        found = replace(found, parts=tuple(parts))
    for warning in found.warnings:
        log(f"warning: {warning}", quiet=quiet)
    for note in found.notes:
        log(f"note: {note}", quiet=quiet)
    log_traffic(store, quiet=quiet)
    reporter.inspection(found)
    if json:
        from shardctl.cli.output.documents import inspection
        from shardctl.commands.documents import dump

        write_stdout(dump(inspection(found, top=top)))
    elif drawing():
        write_stdout(render.inspection(found, depth=depth, top=top))
    else:
        write_stdout(render.inspection_rows(found, top=top))


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
    experts: e.Experts = None,
    experts_map: e.ExpertsMap = None,
    dtype: c.Dtype = None,
    keep_dtype: c.KeepDtype = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    jobs: o.Jobs = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run `diff`."""
    from shardctl.cli.output import render
    from shardctl.cli.output.traffic import log_traffic
    from shardctl.cli.progress import headers
    from shardctl.cli.progress import observers as showing
    from shardctl.commands.diff import Side
    from shardctl.commands.diff import diff as compare
    from shardctl.planning.keywords import transform_from
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
            transform=transform_from(
                {
                    **s.keywords_of(include, exclude, strip_prefix, add_prefix, rename),
                    **e.keywords_of(experts, experts_map),
                    **c.keywords_of(dtype, keep_dtype),
                }
            ),
            stats=stats,
            jobs=jobs or default_jobs(),
            observe=observer,
            opened=opened,
        )
    for note in found.notes:
        log(f"note: {note}", quiet=quiet)
    log_traffic(*(side.store for side in sides), quiet=quiet)
    if json:
        from shardctl.cli.output.documents import difference
        from shardctl.commands.documents import dump

        write_stdout(dump(difference(found)))
    elif drawing():
        write_stdout(render.difference(found, stats=stats))
    else:
        write_stdout(render.difference_rows(found, stats=stats))
        log(render.difference_summary(found), quiet=quiet)
    if not found.same:
        raise typer.Exit(WORK_TO_DO)


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
    experts: e.Experts = None,
    experts_map: e.ExpertsMap = None,
    dtype: c.Dtype = None,
    keep_dtype: c.KeepDtype = None,
    strict: r.Strict = False,
    key: r.Key = None,
    variant: r.Variant = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    report: o.Report = None,
    jobs: o.Jobs = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run `verify`."""
    from shardctl.cli.commands.reporting import Reporter
    from shardctl.cli.guidance.remedies import spelled_coverage, spelled_finding
    from shardctl.cli.output import render
    from shardctl.cli.output.traffic import log_traffic
    from shardctl.cli.progress import headers
    from shardctl.cli.progress import observers as showing
    from shardctl.planning.keywords import transform_from
    from shardctl.stores.registry import open_store
    from shardctl.streams.pool import default_jobs
    from shardctl.verify.pipeline import asking
    from shardctl.verify.run import Thoroughness
    from shardctl.verify.run import verify as run_checks

    store, path = open_store(source)
    other_store, other = (None, None) if against is None else open_store(against)
    how = Thoroughness(
        deep=deep,
        load=load,
        against=other,
        transform=transform_from(
            {
                **s.keywords_of(include, exclude, strip_prefix, add_prefix, rename),
                **e.keywords_of(experts, experts_map),
                **c.keywords_of(dtype, keep_dtype),
            }
        ),
        strict=strict,
        key=key,
        variant=variant,
        jobs=jobs or default_jobs(),
        digests=json,
    )
    reporter = Reporter(report)
    asked = asking(store, path, how, other_store)
    verdicts = []
    for part in asked.parts:
        with (
            showing.shown(progress, quiet=quiet, writes=False) as observer,
            headers.shown(progress, quiet=quiet, verbose=verbose, ends=False) as opened,
        ):
            verdicts.append(run_checks(store, part.source, part.how, observer, other_store, opened))
    found = asked.verdict(verdicts)
    found = replace(
        found,
        findings=tuple(map(spelled_finding, found.findings)),
        coverage=spelled_coverage(found.coverage),
    )
    log_traffic(store, other_store, quiet=quiet)
    reporter.verdict(store, path, found, key, variant)
    if json:
        from shardctl.cli.output.documents import verdict
        from shardctl.commands.documents import dump

        write_stdout(dump(verdict(path, found)))
    elif drawing():
        write_stdout(render.verdict(found, store, quiet=quiet))
    else:
        write_stdout(render.finding_rows(render.said(found, quiet=quiet)))
        for line in render.closing(found):
            log(line, quiet=quiet)
    if not found.ok:
        raise typer.Exit(WORK_TO_DO)


def index(
    source: o.Source,
    check: r.Check = False,
    variant: r.Variant = None,
    json: o.Json = False,
    progress: o.Progress = o.ProgressName.auto,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run `index`."""
    from shardctl.cli.progress import headers
    from shardctl.commands.index import reindex
    from shardctl.stores.registry import open_store

    store, path = open_store(source)
    with headers.shown(progress, quiet=quiet, verbose=verbose) as opened:
        made = reindex(store, path, check=check, opened=opened, variant=variant)
    for note in made.notes:
        log(f"note: {note}", quiet=quiet)
    for change in made.changes:
        log(f"{'would change' if check else 'changed'}: {change}", quiet=quiet)
    if json:
        from shardctl.cli.output.documents import indexing
        from shardctl.commands.documents import dump

        write_stdout(dump(indexing(path, made, check=check)))
    elif not check:
        if not made.changes:
            log("up to date", quiet=quiet)
        write_stdout(made.path + "\n")
    if check and made.changes:
        raise typer.Exit(WORK_TO_DO)


def completion(shell: r.Shell) -> None:
    """Run `completion`."""
    from shardctl.cli.completion import script

    write_stdout(script(shell))
