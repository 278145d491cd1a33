"""A ZeRO checkpoint of DeepSpeed, as one file of whole tensors.

The file of the model has its state dict, in the types that were computed with, and what each
parameter is; the files of the ranks have the values that were trained (`zero_parameters`), beside
the state of the optimizer. Source: `deepspeed/utils/zero_to_fp32.py` of DeepSpeed 0.19.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shardctl.findings import Finding, Report, report_all
from shardctl.formats.torch.distributed.zero import (
    DESCRIBED,
    DESCRIPTION,
    FROZEN,
    MODULE,
    OPTIMIZER,
    ModelStates,
    OptimizerStates,
    ZeroFaultError,
    is_known,
    model_states,
    optimizer_states,
)
from shardctl.formats.torch.tree.contents import Contents, read_contents
from shardctl.model import File, NonTensor, Root, Tensor, Tree
from shardctl.source.directory.absent import absent
from shardctl.source.distributed.assemble import COPY_AGAIN, SAVE_AGAIN, missing_ranks
from shardctl.source.distributed.steps import StepFile, step_file
from shardctl.source.distributed.zero_parameters import RankPart, from_divided, from_joined
from shardctl.source.opened import Opened
from shardctl.source.state_dict import summed
from shardctl.stores.base import Store
from shardctl.text import escape, plural

_SAVE_ALL = "save the checkpoint again, with the parameters that are not trained"
#: The types that parameters are trained in.
_FLOATS = frozenset({"F32", "F64", "BF16", "F16"})


@dataclass(frozen=True, slots=True)
class _Model:
    """A file of model states: what it says, the state dict, and the frozen parameters."""

    path: str
    states: ModelStates
    module: Tree
    frozen: Tree


@dataclass(slots=True)
class _Step:
    """The files of a step, by rank; the one file of the model is that of None.

    `left` are the entries that are not weights, by name, with their bytes in all files.
    """

    said: dict[int, OptimizerStates] = field(default_factory=dict)
    parts: dict[int, RankPart] = field(default_factory=dict)
    models: dict[int | None, _Model] = field(default_factory=dict)
    left: dict[str, NonTensor] = field(default_factory=dict)

    def add(self, name: StepFile, contents: Contents) -> None:
        """Add what is in a file. Raises ZeroFaultError."""
        path, tree = contents.file.path, contents.file.tree
        if not name.optimizer:
            states = model_states(contents.root)
            self.models[name.rank] = _Model(
                path, states, _below(tree, MODULE), _below(tree, FROZEN)
            )
            self.leave({key: value for key, value in tree.items() if key not in DESCRIBED})
            return
        rank, said = name.rank or 0, optimizer_states(contents.root)
        state = _below(tree, OPTIMIZER)
        self.leave({key: value for key, value in tree.items() if key != OPTIMIZER})
        read = {said.vectors, *DESCRIPTION}
        self.leave({f"{OPTIMIZER}.{key}": state[key] for key in state if key not in read})
        vectors = _below(state, said.vectors)
        self.parts[rank] = RankPart(rank, path, tuple(map(_vector, vectors.values())))
        self.said[rank] = said

    def leave(self, entries: Tree) -> None:
        """Note entries that are not weights."""
        for name, value in entries.items():
            one, known = summed(name, value), self.left.get(name)
            if known is not None:
                storages, nbytes = known.storages + one.storages, known.nbytes + one.nbytes
                one = replace(known, storages=storages, nbytes=nbytes)
            self.left[name] = one


def read_zero(store: Store, paths: Sequence[str], report: Report, opened: Opened) -> list[File]:
    """Return the files of a step; the first holds all the tensors, the others none.

    The first also names what is left of all of them. What is wrong goes to `report`; tensors that
    cannot be put together are left out.
    """
    step, files, names = _Step(), list[File](), list[StepFile]()
    for number, path in enumerate(paths, start=1):
        name = step_file(store.split(path)[1])
        if name is None:
            continue
        names.append(name)
        missing = absent(store, path)
        if missing is not None:
            report(missing)
            continue
        with store.open(path) as reader:
            opened(path, reader.version.size, number, len(paths))
            contents = read_contents(reader, report)
        if contents is None:
            continue
        try:
            step.add(name, contents)
        except ZeroFaultError as error:
            tensor = error.tensor
            report(Finding("metadata-invalid", "error", error.message, SAVE_AGAIN, path, tensor))
        unsafe = tuple(each for each in contents.file.unsafe_globals if not is_known(each))
        files.append(replace(contents.file, tree={}, unsafe_globals=unsafe))
    wrong = list(_incomplete(step, names))
    report_all(wrong, report)
    tree = {} if wrong else _tree(step, report)
    left = tuple(step.left.values())
    return [replace(file, tree=tree, beside=left) for file in files[:1]] + files[1:]


def _incomplete(step: _Step, names: Sequence[StepFile]) -> Iterator[Finding]:
    """Yield what is missing of the files, or does not belong together; `names` are all of them."""
    if not step.said:
        return
    rank, said = min(step.said.items())
    path = step.parts[rank].path
    for other, states in step.said.items():
        if states != said:
            message = (
                f"rank {other:,} says stage {states.stage} of {plural(states.ranks, 'rank')}, and "
                f"rank {rank:,} says stage {said.stage} of {said.ranks:,}"
            )
            yield Finding("tensor-slices", "error", message, SAVE_AGAIN, step.parts[other].path)
            return
    timed = [model for model in step.models.values() if model.states.step is not None]
    for model in timed:
        if model.states.step != timed[0].states.step:
            message = (
                f"it was saved after {model.states.step:,} steps of training, and "
                f"'{escape(timed[0].path)}' after {timed[0].states.step:,}"
            )
            yield Finding("tensor-slices", "error", message, COPY_AGAIN, model.path)
            return
    ranks = {name.rank for name in names if name.optimizer}
    models = {name.rank for name in names if not name.optimizer}
    if said.one_by_one and any(model.states.frozen for model in step.models.values()):
        ranks &= models
    missing = missing_ranks((r for r in range(said.ranks) if r not in ranks), path)
    if missing is not None:
        yield missing
    elif len(ranks) > said.ranks:
        message = f"there are files of {plural(len(ranks), 'rank')}, and they say {said.ranks:,}"
        hint = "one save was written over another: save the checkpoint again"
        yield Finding("tensor-slices", "error", message, hint, path)
    if (0 if said.one_by_one else None) not in models:
        message = "the file of the model, which says what the parameters are, is missing"
        yield Finding("shard-set-incomplete", "error", message, COPY_AGAIN, path)


def _tree(step: _Step, report: Report) -> Tree:
    """Return all tensors by name.

    There are none without the parts of all ranks: what could not be read was reported.
    """
    said = next(iter(step.said.values()), None)
    model = None if said is None else step.models.get(0 if said.one_by_one else None)
    if said is None or model is None or len(step.parts) < said.ranks:
        return {}
    parts = [step.parts[rank] for rank in range(said.ranks)]
    if said.one_by_one:
        made = from_divided(model.states.shapes, parts, report)
        made |= _frozen_parts(step, model, said.ranks, report)
    else:
        made = from_joined(model.states.groups, said.paddings, parts, report)
        made |= _frozen_whole(model, report)
    copies = {name: model.module[name] for name in model.states.shapes if name in model.module}
    if summed(MODULE, copies).nbytes:
        step.leave({MODULE: copies})
    return _named(model, made, report)


def _named(model: _Model, made: Mapping[str, Tensor], report: Report) -> Tree:
    """Return what was made, and the other entries of the module's state dict, in its order.

    A name of a parameter that was not saved has only what the module computed with: in stage 3 that
    is without elements, and it is left out. Either goes to `report`.
    """
    listed = {*model.states.shapes, *model.states.frozen}
    values: Tree = {name: value for name, value in model.module.items() if name not in listed}
    values |= made
    for name, kept in (_tied(model, listed) | model.states.shared).items():
        value = values.get(kept)
        if isinstance(value, Tensor):
            values[name] = replace(value, name=name)
            continue
        copy = values.get(name)
        held = isinstance(copy, Tensor) and copy.elements > 0
        if not held:
            values.pop(name, None)
        taken = "the copy that was computed with is taken" if held else "it is left out"
        message = (
            f"'{escape(name)}' has the values of '{escape(kept)}', which were not saved: {taken}"
        )
        report(Finding("tensor-empty", "warning", message, _SAVE_ALL, model.path, name))
    order = dict.fromkeys((*model.module, *values))
    return {name: values[name] for name in order if name in values}


def _tied(model: _Model, listed: Container[str]) -> dict[str, str]:
    """Return by name which trained parameter an entry of the module's state dict is tied to.

    Before DeepSpeed recorded shared parameters, only their one storage showed them.
    """
    names: dict[object, str] = {}
    for name in model.states.shapes:
        value = model.module.get(name)
        if isinstance(value, Tensor) and value.identity is not None:
            names.setdefault(value.identity, name)
    return {
        name: names[value.identity]
        for name, value in model.module.items()
        if name not in listed and isinstance(value, Tensor) and value.identity in names
    }


def _frozen_whole(model: _Model, report: Report) -> dict[str, Tensor]:
    """Return the frozen parameters of stages 1 and 2, in which they are whole."""
    found: dict[str, Tensor] = {}
    for name, shape in model.states.frozen.items():
        value = model.frozen.get(name)
        if isinstance(value, Tensor) and value.shape == shape:
            found[name] = value
        else:
            report(_frozen_fault(name, model, f"it is not there in the shape {list(shape)}"))
    return found


def _frozen_parts(step: _Step, model: _Model, ranks: int, report: Report) -> dict[str, Tensor]:
    """Return the frozen parameters of stage 3, each divided as the trained ones are."""
    models = [each for rank in range(ranks) if (each := step.models.get(rank)) is not None]
    found: dict[str, Tensor] = {}
    if len(models) < ranks:
        return found  # what could not be read was reported
    for name, shape in model.states.frozen.items():
        parts: list[RankPart] = []
        for rank, each in enumerate(models):
            try:
                vector = _vector(each.frozen.get(name))
            except ZeroFaultError as error:
                report(_frozen_fault(name, each, error.message))
                break
            parts.append(RankPart(rank, each.path, (vector,)))
        else:
            found |= from_divided({name: shape}, parts, report)
    return found


def _frozen_fault(name: str, model: _Model, wrong: str) -> Finding:
    message = f"the frozen parameter cannot be read: {wrong}"
    return Finding("tensor-slices", "error", message, SAVE_AGAIN, model.path, name)


def _below(tree: Root, name: str) -> Tree:
    """Return the entries of a dict or list of a file; none where there is no such thing."""
    value = tree.get(name)
    return value if isinstance(value, dict) else {}


def _vector(value: object) -> Tensor:
    """Return a value that is a flat vector. Raises ZeroFaultError for any other."""
    if not isinstance(value, Tensor):
        raise ZeroFaultError("there is no vector of parameters where one should be")
    if len(value.shape) != 1 or value.strides is not None or value.dtype.name not in _FLOATS:
        shape = list(value.shape)
        raise ZeroFaultError(f"{value.dtype.name} {shape} is not a flat vector of parameters")
    return value
