"""For which shards an index can be made, and what must not be lost with the index that is there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from shardctl.errors import InputError
from shardctl.formats.registry import all_suffixes
from shardctl.model import Index
from shardctl.naming import parse_weights_name
from shardctl.source.directory.candidates import MOST_MISSING, missing_numbers
from shardctl.source.locate import Located
from shardctl.source.placement import MAKE_NEW
from shardctl.stores.base import Store
from shardctl.text import escape, plural


def shards_of(store: Store, located: Located) -> tuple[str, ...]:
    """Return the files of the set that exist, listed or not, in order.

    Raises InputError where numbers are missing.
    """
    there = sorted(
        {path for path in (*located.files, *located.unlisted) if store.kind(path) == "file"}
    )
    counts: dict[tuple[str, str | None, str], dict[int, set[int]]] = {}
    for path in there:
        name = parse_weights_name(store.split(path)[1], all_suffixes())
        if name is not None and name.number is not None and name.count is not None:
            sets = counts.setdefault((name.stem, name.variant, name.suffix), {})
            sets.setdefault(name.count, set()).add(name.number)
    _refuse_gone(store, located, numbers_tell=bool(counts))
    for sets in counts.values():
        if len(sets) > 1:
            raise InputError(
                f"'{located.directory}' holds shards of several sets, of "
                f"{' and '.join(map(str, sorted(sets)))} files",
                hint="remove the set that is left over, or copy the right one to another directory",
                code="shard-unlisted",
                file=located.directory,
            )
        for count, numbers in sets.items():
            missing, lacks = missing_numbers(numbers, count)
            if lacks:
                raise InputError(
                    f"missing {lacks:,} of {count:,} shards: number "
                    f"{', '.join(map(str, islice(missing, MOST_MISSING)))}",
                    hint="fetch the missing shards; an index of the others would lose their "
                    "tensors",
                    code="shard-set-incomplete",
                    file=located.directory,
                )
    return tuple(there)


def _refuse_gone(store: Store, located: Located, *, numbers_tell: bool) -> None:
    """Raise InputError for listed shards that do not exist.

    With `numbers_tell`, numbered ones are left to the check of the numbers.
    """
    absent = [name for path, name in located.names(store).items() if store.kind(path) != "file"]
    gone = [name for name in absent if not (numbers_tell and _numbered(name))]
    if gone:
        raise InputError(
            f"{plural(len(gone), 'shard')} listed in the index but missing, the first is "
            f"'{escape(gone[0])}'",
            hint="fetch the missing shards; an index of the others would lose their tensors",
            code="index-shard-missing",
            file=located.index_path,
        )


def refuse_lost(located: Located, held: Mapping[str, str], aliases: Mapping[str, str]) -> None:
    """Raise InputError for tensors that the index lists and no shard holds."""
    index = located.index
    if index is None:
        return
    unusable = [name for name in index.unusable if name not in held and name not in aliases]
    if unusable:
        raise InputError(
            f"the index lists {plural(len(unusable), 'tensor')} in files whose names cannot be "
            f"used, and no shard holds them; the first is '{escape(unusable[0])}'",
            hint="fetch the index again, or rename the files that it lists; an index of the others "
            "would lose these tensors",
            code="shard-name-unsafe",
            file=located.index_path,
            tensor=unusable[0],
        )
    lost = [name for name in index.weight_map if name not in held and name not in aliases]
    if lost:
        shard = index.weight_map[lost[0]]
        raise InputError(
            f"the index lists {plural(len(lost), 'tensor')} that no shard holds; the first is "
            f"'{escape(lost[0])}' in '{escape(shard)}'",
            hint=f"fetch that shard again; {MAKE_NEW}",
            code="index-tensor-missing",
            file=located.index_path,
            tensor=lost[0],
        )


def _numbered(name: str) -> bool:
    parsed = parse_weights_name(name.rsplit("/", 1)[-1], all_suffixes())
    return parsed is not None and parsed.count is not None


def refuse_other_tensors(
    stale: Index | None, held: Mapping[str, str], aliases: Mapping[str, str]
) -> None:
    """Raise InputError for tensors of an index without its files that are not in these files.

    Then these are not the files of another save of the same model.
    """
    listed = () if stale is None else stale.weight_map
    lost = [name for name in listed if name not in held and name not in aliases]
    if stale is not None and lost:
        raise InputError(
            f"none of the files that the index lists is there, and the numbered files beside it "
            f"lack {plural(len(lost), 'tensor')} that it lists; the first is '{escape(lost[0])}'",
            hint="fetch the missing files; if the others are another model, remove the index",
            code="index-shard-missing",
            file=stale.path,
            tensor=lost[0],
        )
