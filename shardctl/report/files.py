"""Writing a report: to a name that ends in .html or .svg, over nothing but an earlier report."""

from __future__ import annotations

from shardctl.errors import TargetExistsError, UsageError
from shardctl.report.content import Content
from shardctl.report.page import MARKER, as_html, as_svg
from shardctl.stores.atomic import put_beside
from shardctl.stores.base import Store
from shardctl.text import escape

_FORMS = {".html": as_html, ".svg": as_svg}
#: The marker is within this many bytes of a report's start.
_HEAD_BYTES = 256


def check(store: Store, path: str) -> None:
    """Check, before any work, that a report can be written to `path`.

    Raises UsageError for another suffix or a directory that does not exist, TargetExistsError for a
    file that is not a report.
    """
    directory, _ = store.split(path)
    if not path.lower().endswith(tuple(_FORMS)):
        raise UsageError(
            f"the report '{escape(path)}' ends in neither .html nor .svg",
            hint="name a page, for example report.html, or an image, for example report.svg",
        )
    if directory and store.kind(directory) != "directory":
        raise UsageError(
            f"the directory of the report '{escape(path)}' does not exist",
            hint=f"create '{escape(directory)}' first",
        )
    kind = store.kind(path)
    if kind is not None and (kind != "file" or not _is_report(store, path)):
        raise TargetExistsError(
            f"'{escape(path)}' already exists and is not a shardctl report",
            hint="choose another name for the report, or move that file away",
            file=path,
        )


def _is_report(store: Store, path: str) -> bool:
    """Whether a file is a report, or empty, so that nothing is lost with it."""
    with store.open(path) as reader:
        size = reader.version.size
        return size == 0 or MARKER.encode() in reader.read(0, min(size, _HEAD_BYTES))


def write(store: Store, path: str, content: Content) -> None:
    """Write the report, and rename it to `path` once it is complete.

    Raises what `check` raises, and StorageError.
    """
    check(store, path)
    form = next(form for suffix, form in _FORMS.items() if path.lower().endswith(suffix))
    data = form(content).encode()
    put_beside(store, *store.split(path), data)
