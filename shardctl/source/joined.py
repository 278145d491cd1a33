"""Several files that the user names as one checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shardctl.errors import UsageError
from shardctl.formats.registry import all_suffixes
from shardctl.naming import parse_weights_name
from shardctl.source.locate import Located, find_source
from shardctl.stores.base import Store
from shardctl.text import escape, plural


def join_files(store: Store, sources: Sequence[str]) -> Located:
    """Return several files as one checkpoint, in their order.

    All files of a set are that set, with what its index says. Raises UsageError for what is not a
    weights file, for one that is named twice, and where they are only some of the files of a set.
    Raises what `find_source` raises for each of them.
    """
    files = [_file(store, source) for source in sources]
    for number, path in enumerate(files):
        if path in files[:number]:
            raise UsageError(
                f"'{escape(path)}' is given twice",
                hint="name each file once; the last path is the target",
                file=path,
            )
    for path in files:
        located = find_source(store, path)
        absent = [member for member in located.files if member not in files]
        if absent and _says_what_belongs_to_it(store, located):
            raise UsageError(
                f"'{escape(path)}' is one of {plural(len(located.files), 'file')} that belong "
                f"together, and '{escape(absent[0])}' is not given",
                hint="name all of them, or the directory alone: "
                f"{escape(located.directory or '.')}",
                file=path,
            )
        if not absent and len(located.files) == len(files):
            return replace(located, notes=located.notes[1:])  # the first: all of them are read
    parsed = [parse_weights_name(store.split(path)[1], all_suffixes()) for path in files]
    stems = {name.stem for name in parsed if name is not None}
    suffixes = {name.suffix for name in parsed if name is not None}
    return Located(
        root=files[0],
        directory=store.split(files[0])[0],
        directories=tuple(dict.fromkeys(store.split(path)[0] for path in files)),
        files=tuple(files),
        stem=stems.pop() if len(stems) == 1 else "",
        suffix=suffixes.pop() if len(suffixes) == 1 else "",
        is_set=True,
    )


def _says_what_belongs_to_it(store: Store, located: Located) -> bool:
    """Whether an index or the names ("i of n") say it, and not just that names are alike."""
    if located.distributed is not None:
        return True
    name = parse_weights_name(store.split(located.root)[1], all_suffixes())
    return located.index_path is not None or (name is not None and name.count is not None)


def _file(store: Store, source: str) -> str:
    if store.kind(source) == "directory" or source.endswith(".json"):
        what = "an index" if source.endswith(".json") else "a directory"
        raise UsageError(
            f"'{escape(source)}' is {what}, and several sources are joined file by file",
            hint="name the files, or this source alone",
            file=source,
        )
    return source
