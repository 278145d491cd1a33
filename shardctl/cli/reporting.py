"""`--report FILE`: checked before the work, written after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardctl.commands.inspect import Inspection
    from shardctl.commands.write import Prepared
    from shardctl.report.content import Content
    from shardctl.stores.base import Store
    from shardctl.verify.run import Verdict


class Reporter:
    """Writes the report that was asked for; without a path each method does nothing.

    The constructor raises UsageError and TargetExistsError, so that a report that cannot be written
    is an error before the work.
    """

    def __init__(self, store: Store, path: str | None) -> None:
        self._store = store
        self._path = path
        if path is not None:
            from shardctl.report.files import check  # noqa: PLC0415 - only imported for a report

            check(store, path)

    def inspection(self, found: Inspection) -> None:
        """Report what `inspect` found."""
        if self._path is not None:
            from shardctl.report.content import of_inspection  # noqa: PLC0415 - (the same)

            self._write(self._path, of_inspection(found))

    def plan(self, prepared: Prepared) -> None:
        """Report what a writing command will do, or did."""
        if self._path is not None:
            from shardctl.report.content import of_plan  # noqa: PLC0415 - (the same)

            self._write(self._path, of_plan(prepared))

    def verdict(self, source: str, found: Verdict, key: str | None) -> None:
        """Report what `verify` found, and what can be read of the checkpoint."""
        if self._path is not None:
            from shardctl.report.content import look, of_verdict  # noqa: PLC0415 - (the same)

            self._write(self._path, of_verdict(source, found, look(self._store, source, key)))

    def _write(self, path: str, content: Content) -> None:
        from shardctl.report.files import write  # noqa: PLC0415 - (the same)

        write(self._store, path, content)
