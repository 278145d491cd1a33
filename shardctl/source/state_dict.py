"""Choose the state dict of a file: the nested one that a key names, or the root. Pure functions.

Training checkpoints nest the weights (`{"step": int, "model_state": {…}}`); the values beside them
are dropped only on request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from shardctl.columns import OneLevel
from shardctl.errors import InputError, MissingError, UsageError
from shardctl.formats.hazards import hint_for
from shardctl.model import MadeName, NonTensor, Root, Tensor, Tree
from shardctl.text import escape

_SHOWN = 10
#: The entries by which training state is known that is not weights.
_TRAINING_STATE = (
    ({"state", "param_groups"}, "the state of an optimizer"),
    ({"last_epoch", "_step_count"}, "the state of a scheduler"),
    ({"python", "cpu"}, "the states of random generators"),
    ({"scale", "growth_factor"}, "the state of a gradient scaler"),
)


class NotNestedError(MissingError):
    """A key was asked for of a checkpoint that has all its tensors at the top."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen tensors of a file, by their names there, and the other values among them.

    `beside` is what lies beside a state dict that was chosen by its key, with dotted names; of a
    nested one, the bytes of its tensors.
    """

    tensors: Sequence[Tensor]
    non_tensors: tuple[NonTensor, ...] = ()
    beside: tuple[NonTensor, ...] = ()


def select(tree: Root, path: str, key: str | None, *, drop_non_tensors: bool) -> Selection:
    """Return the state dict at `key` (None: the root) of the file at `path`.

    With `drop_non_tensors` other values are left out. `key` may lead to a single tensor too, which
    keeps the last part of it as its name. What holds tensors is never dropped. Raises MissingError
    where `key` does not exist, UsageError where it has two meanings, and InputError for a value
    that is not a tensor and where there are only nested state dicts.
    """
    if key is None and isinstance(tree, OneLevel):
        return Selection(tree.tensors)  # nothing that is refused below is in such a file
    node = tree if key is None else _at(tree, path, key)
    chosen = _direct(node)
    if key is not None:
        chosen = replace(chosen, beside=tuple(_beside(tree, key)))
    nested = state_dict_keys(node) if chosen.non_tensors else []
    _refuse_training_state(node, path, key)
    _refuse_only_nested(chosen, nested, path, key)
    _refuse_unwritable(chosen, node, path, key)
    if not chosen.non_tensors:
        return chosen
    if not chosen.tensors:
        held = _contents(chosen.non_tensors)
        raise InputError(
            _said(path, key, f"contains no tensors, but {held}"),
            hint="name the file, or give the value, that holds the weights",
            file=path,
        )
    if nested:
        raise InputError(
            _said(path, key, f"contains nested state dicts beside its tensors: {_some(nested)}"),
            hint=_use_key(key, nested),
            file=path,
        )
    if not drop_non_tensors:
        raise InputError(
            _said(
                path, key, f"contains entries that are not tensors: {_contents(chosen.non_tensors)}"
            ),
            hint="add `drop_non_tensors` to leave them out",
            file=path,
        )
    return chosen


def not_nested(source: str) -> str:
    """Return the note on one of two compared checkpoints which the key does not count for."""
    return f"'{escape(source)}' is not nested: all of it is compared"


def look(tree: Root, path: str, key: str | None) -> Selection:
    """What is at `key`, to look at it: nothing is refused but a key that leads to no tensors.

    Without a key everything in the file is taken, with dotted names. Raises as `select` does for
    what is asked for.
    """
    if key is None:
        return _all_tensors(tree) or flatten(tree)
    node = _at(tree, path, key)
    chosen = _direct(node)
    _refuse_only_nested(chosen, state_dict_keys(node) if chosen.non_tensors else [], path, key)
    return chosen


def _direct(node: Root) -> Selection:
    return _all_tensors(node) or Selection(
        tensors=tuple(
            _named(name, value) for name, value in node.items() if isinstance(value, Tensor)
        ),
        non_tensors=tuple(
            _opaque(name, value) for name, value in node.items() if not isinstance(value, Tensor)
        ),
    )


def _all_tensors(node: Root) -> Selection | None:
    """Return the tensors of a dict that holds nothing else, all under their names; else None."""
    if isinstance(node, OneLevel):
        return Selection(node.tensors)
    if set(map(type, node.values())) != {Tensor}:
        return None
    tensors = cast("tuple[Tensor, ...]", tuple(node.values()))
    return Selection(tensors) if [tensor.name for tensor in tensors] == list(node) else None


def _refuse_training_state(node: Root, path: str, key: str | None) -> None:
    for entries, what in _TRAINING_STATE:
        if entries <= node.keys() and not any(isinstance(node[entry], Tensor) for entry in entries):
            hint = "name the model's weights: training state is kept beside them, as it is"
            raise InputError(
                _said(path, key, f"contains {what}, not weights"), hint=hint, file=path
            )


def _refuse_only_nested(chosen: Selection, nested: list[str], path: str, key: str | None) -> None:
    if not chosen.tensors and nested:
        raise InputError(
            _said(path, key, "contains nested state dicts and no tensors outside them"),
            hint=_use_key(key, nested),
            file=path,
        )


def _refuse_unwritable(chosen: Selection, node: Root, path: str, key: str | None) -> None:
    """Raise InputError for what would be lost or changed silently.

    That is: unread tensors, and keys that are not text.
    """
    unread = tuple(unread_in(node)) if chosen.non_tensors else ()
    if unread:
        raise InputError(
            _said(path, key, f"contains tensors that shardctl does not read: {_contents(unread)}"),
            hint=hint_for(unread[0]),
            code="tensor-unread",
            file=path,
            tensor=unread[0].name,
        )
    made = [tensor.name for tensor in chosen.tensors if isinstance(tensor.name, MadeName)]
    if made:
        raise InputError(
            _said(
                path,
                key,
                f"has tensors with non-string keys: {', '.join(map(escape, made[:_SHOWN]))}",
            ),
            hint="rename them in torch: `{str(key): value for key, value in state.items()}`",
            file=path,
        )


def flatten(tree: Root) -> Selection:
    """Select everything in a file, nested names joined with dots: to be shown, not written."""
    leaves = [(".".join(keys), value) for keys, value in _walk(tree) if not isinstance(value, dict)]
    return Selection(
        tensors=tuple(_named(name, value) for name, value in leaves if isinstance(value, Tensor)),
        non_tensors=tuple(
            _opaque(name, value) for name, value in leaves if isinstance(value, NonTensor)
        ),
    )


def leaves(tree: Root) -> Iterator[tuple[tuple[str, ...], Tensor | NonTensor]]:
    """Yield every value that is not a dictionary with its path of keys, in order."""
    for keys, value in _walk(tree):
        if not isinstance(value, dict):
            yield keys, value


def unread_in(tree: Root) -> Iterator[NonTensor]:
    """Yield the tensors that are not read, and what holds such, with their dotted names."""
    if isinstance(tree, OneLevel) or set(map(type, tree.values())) <= {Tensor}:
        return
    for keys, value in _walk(tree):
        if isinstance(value, NonTensor) and value.unread:
            yield replace(value, name=".".join(keys))


def state_dict_keys(tree: Root) -> list[str]:
    """Return the keys below the root that hold state dicts: dictionaries with tensors in them."""
    return [
        ".".join(keys)
        for keys, value in _walk(tree)
        if isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values())
    ]


def _walk(tree: Root) -> Iterator[tuple[tuple[str, ...], Tensor | NonTensor | Tree]]:
    """Yield every value with its path of keys, in order, at any depth."""
    stack: list[tuple[tuple[str, ...], Tensor | NonTensor | Tree]] = [
        ((key,), value) for key, value in reversed(list(tree.items()))
    ]
    while stack:
        keys, value = stack.pop()
        yield keys, value
        if isinstance(value, dict):
            stack.extend(((*keys, key), item) for key, item in reversed(value.items()))


def _at(tree: Root, path: str, key: str) -> Tree:
    literal, dotted = _step(tree, key), _descend(tree, key)
    if literal is not None and dotted is not None and "." in key:
        raise UsageError(
            f"the key '{escape(key)}' has two meanings in '{escape(path)}': the name itself, and a "
            "path of names",
            hint="rename one of them in the program that saves the checkpoint",
            file=path,
        )
    node = literal if literal is not None else dotted
    if node is None:
        keys = state_dict_keys(tree)
        message = f"'{escape(path)}' has no state dict at '{escape(key)}'"
        if not keys:
            hint = "leave out `key`: the file is not nested"
            raise NotNestedError(message, hint=hint, file=path)
        raise MissingError(message, hint=_use_key(None, keys), file=path)
    return node


def _beside(tree: Root, key: str) -> Iterator[NonTensor]:
    """Yield what lies beside the value at a key, on each level that leads to it."""
    node: Tensor | NonTensor | Root = tree
    above = ""
    for part in [key] if _step(tree, key) is not None else key.split("."):
        if not isinstance(node, Mapping):
            return
        for name, value in node.items():
            if name != part:
                yield summed(above + name, value)
        above, node = f"{above}{part}.", node[part]


def summed(name: str, value: Tensor | NonTensor | Tree) -> NonTensor:
    """Return a value as one entry of this name, with the bytes of the storages in it."""
    if isinstance(value, NonTensor):
        return replace(value, name=name)
    inside = [value] if isinstance(value, Tensor) else [item for _, item in _walk(value)]
    held = {item.storage.identity: item.storage for item in inside if isinstance(item, Tensor)}
    nbytes = sum(storage.extent.length for storage in held.values())
    kind = "tensor" if isinstance(value, Tensor) else "dict"
    return NonTensor(name, kind, storages=len(held), nbytes=nbytes)


def _descend(tree: Root, key: str) -> Tree | None:
    first, *others = key.split(".")
    node = _step(tree, first)
    for part in others:
        node = None if node is None else _step(node, part)
    return node


def _step(tree: Root, name: str) -> Tree | None:
    """What is below a name: a dict, or a single value as a dict of one entry."""
    value = tree.get(name)
    if isinstance(value, dict):
        return value
    if isinstance(value, Tensor) or (isinstance(value, NonTensor) and value.unread):
        return {name: value}
    return None


def _named(name: str, tensor: Tensor) -> Tensor:
    return tensor if tensor.name == name else replace(tensor, name=name)


def _opaque(name: str, value: Tensor | NonTensor | Tree) -> NonTensor:
    if not isinstance(value, NonTensor):
        return NonTensor(name, "dict")
    return value if value.name == name else replace(value, name=name)


def _said(path: str, key: str | None, what: str) -> str:
    place = "" if key is None else f"'{escape(key)}' in "
    return f"{place}'{escape(path)}' {what}"


def _contents(values: tuple[NonTensor, ...]) -> str:
    shown = ", ".join(f"{escape(value.name)} ({escape(value.kind)})" for value in values[:_SHOWN])
    return shown + (f", and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else "")


def _some(names: list[str]) -> str:
    return ", ".join(map(escape, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _use_key(key: str | None, nested: list[str]) -> str:
    prefix = "" if key is None else f"{key}."
    shown = ", ".join(escape(prefix + name) for name in nested[:_SHOWN])
    return f"choose one with `key`: {shown}" + (", …" if len(nested) > _SHOWN else "")
