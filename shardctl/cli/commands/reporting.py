"""`--report FILE`: checked before the work, written after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardctl.commands.pipeline import Inspected
    from shardctl.commands.preparing.work import Work
    from shardctl.report.content import Content
    from shardctl.stores.base import Store
    from shardctl.verify.run import Verdict


class Reporter:
    """Writes the report that was asked for; without a location each method does nothing.

    The constructor raises UsageError and TargetExistsError, so that a report that cannot be
    written ends the command before its work.
    """

    def __init__(self, location: str | None) -> None:
        self._file: tuple[Store, str] | None = None
        if location is not None:
            from shardctl.report.files import check
            from shardctl.stores.registry import open_store

            self._file = open_store(location)
            check(*self._file)

    def inspection(self, found: Inspected) -> None:
        """Report what `inspect` found."""
        if self._file is not None:
            from shardctl.report.content import of_inspected

            self._write(of_inspected(found))

    def plan(self, work: Work) -> None:
        """Report what a writer will do, or did."""
        if self._file is not None:
            from shardctl.report.content import of_work

            self._write(of_work(work))

    def verdict(
        self,
        store: Store,
        source: str,
        found: Verdict,
        key: str | None,
        variant: str | None = None,
    ) -> None:
        """Report what `verify` found, over what can be read of the checkpoint."""
        if self._file is not None:
            from shardctl.report.content import look, of_verdict

            self._write(of_verdict(source, found, look(store, source, key, variant)))

    def _write(self, content: Content) -> None:
        from shardctl.report.files import write

        if self._file is not None:
            write(*self._file, content)
