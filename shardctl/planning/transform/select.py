"""Choose which tensors of a checkpoint are written, and under which names. Pure functions."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shardctl.errors import UsageError
from shardctl.model import Checkpoint, Index, Tensor
from shardctl.planning.request import Selection
from shardctl.text import escape

_SEE_NAMES = "see the names with `inspect`"

#: What transformers records of all tensors together in an index: wrong once some are left out.
_OF_ALL = frozenset({"total_parameters"})


@dataclass(frozen=True, slots=True)
class Selected:
    """The checkpoint with the tensors that were chosen, renamed; and those that are left out."""

    checkpoint: Checkpoint
    left_out: tuple[Tensor, ...] = ()


def select(checkpoint: Checkpoint, selection: Selection) -> Selected:
    """Return what of a checkpoint was chosen, under its new names.

    A name that is only recorded as tied to a tensor is chosen and renamed like any other; where
    the tensor itself is left out, the first such name takes its place. Raises UsageError for a
    pattern that matches no name, a rule that cannot be used, and two tensors of one name.
    """
    if not selection:
        return Selected(checkpoint)
    names = [*(tensor.name for tensor in checkpoint.tensors), *checkpoint.aliases]
    chosen = _chosen(names, selection)
    renamed = _renamed((name for name in names if name in chosen), selection)
    tensors, aliases = _with_aliases(checkpoint, chosen)
    return Selected(
        replace(
            checkpoint,
            tensors=tuple(
                tensor
                if renamed[tensor.name] == tensor.name
                else replace(tensor, name=renamed[tensor.name])
                for tensor in tensors
            ),
            aliases={renamed[alias]: renamed[kept] for alias, kept in aliases.items()},
            tensor_metadata={
                key: {renamed[name]: text for name, text in texts.items() if name in chosen}
                for key, texts in checkpoint.tensor_metadata.items()
            },
            index=_without_names(checkpoint, whole=len(chosen) == len(names)),
        ),
        tuple(tensor for tensor in checkpoint.tensors if tensor.name not in chosen),
    )


def _with_aliases(
    checkpoint: Checkpoint, chosen: frozenset[str]
) -> tuple[list[Tensor], dict[str, str]]:
    """Return the chosen tensors, and the chosen names that are only recorded as tied to one.

    All names are still those of the source.
    """
    recorded: dict[str, list[str]] = {}
    for alias, kept in checkpoint.aliases.items():
        if alias in chosen:
            recorded.setdefault(kept, []).append(alias)
    tensors: list[Tensor] = []
    aliases: dict[str, str] = {}
    for tensor in checkpoint.tensors:
        others = recorded.get(tensor.name, [])
        if tensor.name in chosen:
            tensors.append(tensor)
            aliases.update(dict.fromkeys(others, tensor.name))
        elif others:
            first, *rest = others
            tensors.append(replace(tensor, name=first))
            aliases.update(dict.fromkeys(rest, first))
    return tensors, aliases


def _without_names(checkpoint: Checkpoint, *, whole: bool) -> Index | None:
    """Return the index without what it records of names, and of all tensors unless all are here."""
    index = checkpoint.index
    if index is None:
        return None
    gone = checkpoint.aliases.keys() | (frozenset() if whole else _OF_ALL)
    kept = {key: value for key, value in index.metadata.items() if key not in gone}
    return replace(index, metadata=kept)


def _chosen(names: Sequence[str], selection: Selection) -> frozenset[str]:
    """Return the names that match a pattern of `include`, or all; less those of `exclude`."""
    included = _matching(names, selection.include, "include") if selection.include else set(names)
    chosen = included - _matching(names, selection.exclude, "exclude")
    if names and not chosen:
        raise UsageError(
            "no tensor is left: every name that `include` matches is matched by `exclude` as well"
            if selection.include
            else "no tensor is left: `exclude` matches every name",
            hint=f"choose narrower patterns, and {_SEE_NAMES}",
        )
    return frozenset(chosen)


def _matching(names: Sequence[str], globs: Sequence[str], setting: str) -> set[str]:
    found: set[str] = set()
    for glob in globs:
        # `*` crosses dots, and case counts on every system.
        matches = re.compile(fnmatch.translate(glob)).match
        matching = [name for name in names if matches(name)]
        if not matching:
            raise UsageError(
                f"`{setting}` '{escape(glob)}' matches no tensor's name",
                hint=f"a pattern matches whole names: try '*{escape(glob.strip('*'))}*', and "
                f"{_SEE_NAMES}",
            )
        found.update(matching)
    return found


def _renamed(names: Iterable[str], selection: Selection) -> Mapping[str, str]:
    """Return the new name of each.

    Raises UsageError where a step changes no name, a name becomes empty, or two become one.
    """
    old = list(names)
    new = old
    for what, step in _steps(selection):
        changed = list(map(step, new))
        if changed == new:
            raise UsageError(f"{what} changes no tensor's name", hint=_SEE_NAMES)
        new = changed
    origin: dict[str, str] = {}
    for before, now in zip(old, new, strict=True):
        if not now:
            raise UsageError(
                f"nothing is left of the name '{escape(before)}'",
                hint="choose rules that keep a part of every name",
                tensor=before,
            )
        if now in origin:
            raise UsageError(
                f"'{escape(origin[now])}' and '{escape(before)}' would both be called "
                f"'{escape(now)}'",
                hint="leave one of them out with `exclude`, or rename them apart",
                tensor=before,
            )
        origin[now] = before
    return dict(zip(old, new, strict=True))


def _steps(selection: Selection) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Yield what is done to every name, in order: how it is called in messages, and the change."""
    strip, add = selection.strip_prefix, selection.add_prefix
    if strip:
        yield f"`strip_prefix` '{escape(strip)}'", lambda name: name.removeprefix(strip)
    if add:
        yield f"`add_prefix` '{escape(add)}'", lambda name: add + name
    for pattern, replacement in selection.rename:
        what = f"`rename` '{escape(pattern)}={escape(replacement)}'"
        yield what, _substitution(pattern, replacement, what)


def _substitution(pattern: str, replacement: str, what: str) -> Callable[[str], str]:
    """Return what replaces every match of a pattern in a name.

    It and the function returned raise UsageError where pattern or replacement cannot be used.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise _no_pattern(what, error) from error

    def step(name: str) -> str:
        try:
            return compiled.sub(replacement, name)
        except (re.error, IndexError) as error:  # IndexError: a group that has no such name
            raise _no_pattern(what, error) from error

    return step


def _no_pattern(what: str, error: Exception) -> UsageError:
    return UsageError(
        f"{what} cannot be used: {error}",
        hint="it takes regular expressions of Python, with \\1, \\2 … for groups in the "
        "replacement, as in 'h\\.(\\d+)=layers.\\1'",
    )
