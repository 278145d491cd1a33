"""Files of named tensors that say of each where in the whole tensor it begins.

Source: `HuggingFaceStorageWriter` and `_write_files_from_queue` in
`torch/distributed/checkpoint` of torch 2.13, compared with `_consolidate_hf_safetensors.py`, which
reads them: each process writes a safetensors file, whose metadata has the offsets, in elements, of
its tensors. The shape of the whole is nowhere: it is what the slices reach to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shardctl.findings import Finding, Report
from shardctl.formats.detection import read_file
from shardctl.formats.limits import MAX_SIZE
from shardctl.formats.strict_json import Density, InvalidJsonError, parse_object, refuse_dense
from shardctl.model import Box, Dtype, File, Tensor, Tree
from shardctl.source.directory.absent import absent
from shardctl.source.distributed.assemble import SAVE_AGAIN, assemble
from shardctl.source.distributed.find import is_slice
from shardctl.source.opened import Opened
from shardctl.stores.base import Store
from shardctl.text import escape, plural

#: The key of a file's metadata with the offsets of its tensors, and that of its version.
OFFSETS = "DCP_SHARDING_INFO"
_VERSION = "DCP_VERSION"
#: The shortest entry has 26 characters for two objects or lists and two members, and a position
#: has two characters for each number.
_DENSITY = Density(8, 8, 2)


@dataclass(slots=True)
class _Parts:
    """The slices of one tensor: their boxes, the type of the first, and how far they reach."""

    dtype: Dtype
    reach: tuple[int, ...]
    path: str
    boxes: list[Box] = field(default_factory=list)
    whole: bool = True


def read_slices(store: Store, paths: Sequence[str], report: Report, opened: Opened) -> list[File]:
    """Return the files of slices; the first holds all the tensors, the others none.

    What is wrong goes to `report`. A tensor with a slice that cannot be read or placed is left out.
    """
    files: list[File] = []
    parts: dict[str, _Parts] = {}
    pairs: dict[str, str] = {}
    for number, path in enumerate(paths, start=1):
        missing = absent(store, path)
        if missing is not None:
            report(missing)
            continue
        with store.open(path) as reader:
            opened(path, reader.version.size, number, len(paths))
            file = read_file(reader, report)
        if file is None:
            continue
        for key, value in file.metadata.items():
            pairs.setdefault(key, value)
        for finding in _add(file, parts):
            report(finding)
        files.append(file)
    tree: Tree = {}
    for name, each in parts.items():
        if each.whole:
            tensor = assemble(name, each.dtype, each.reach, each.boxes, each.path, report)
            if tensor is not None:
                tree[name] = tensor
    kept = {key: value for key, value in pairs.items() if key not in (OFFSETS, _VERSION)}
    return [
        replace(file, tree=tree if number == 0 else {}, metadata=kept if number == 0 else {})
        for number, file in enumerate(files)
    ]


def slice_findings(files: Iterable[File]) -> Iterator[Finding]:
    """Yield an error for each file, read alone, that has slices which do not begin at the start."""
    for file in files:
        if OFFSETS not in file.metadata:
            continue
        offsets = _offsets(file)
        cut = [name for name in file.tree if any(offsets.get(name) or ())]
        if cut or is_slice(file.path):
            message = "the file has slices that one of several processes saved"
            if cut:
                message += (
                    f": {plural(len(cut), 'tensor')}, the first, '{escape(cut[0])}', from position "
                    f"{list(offsets.get(cut[0]) or ())}"
                )
            hint = "name the directory with the files of all processes"
            tensor = cut[0] if cut else None
            yield Finding("tensor-slices", "error", message, hint, file.path, tensor)


def _add(file: File, parts: dict[str, _Parts]) -> Iterator[Finding]:
    """Add the slices of a file to those of their tensors; yield what is wrong with them."""
    offsets = _offsets(file)
    for name, tensor in file.tree.items():
        if not isinstance(tensor, Tensor):
            continue
        start = offsets.get(name)
        if start is None or len(start) != len(tensor.shape):
            start = (0,) * len(tensor.shape)
            wrong = f"the metadata '{OFFSETS}' does not say where the slice begins"
        else:
            wrong = ""
        reach = tuple(begin + size for begin, size in zip(start, tensor.shape, strict=True))
        known = parts.setdefault(name, _Parts(tensor.dtype, reach, file.path))
        if tensor.dtype is not known.dtype or len(reach) != len(known.reach):
            wrong = (
                f"the slice is {tensor.dtype.name} of {plural(len(reach), 'dimension')}, and the "
                f"one in '{escape(known.path)}' is {known.dtype.name} of {len(known.reach):,}"
            )
        if wrong:
            known.whole = False
            yield Finding("tensor-slices", "error", wrong, SAVE_AGAIN, file.path, name)
        else:
            known.boxes.append(Box(start, tensor))
            known.reach = tuple(map(max, known.reach, reach))


def _offsets(file: File) -> Mapping[str, tuple[int, ...] | None]:
    """Return where each slice of a file begins; None for what is not a position."""
    text = file.metadata.get(OFFSETS, "{}")
    try:
        refuse_dense(text, _DENSITY)
        listed = parse_object(text)
    except InvalidJsonError:
        return {}
    return {name: _position(value) for name, value in listed.items()}


def _position(value: object) -> tuple[int, ...] | None:
    start = value.get("saved_offsets") if isinstance(value, dict) else None
    if not isinstance(start, list):
        return None
    position = tuple(each for each in start if type(each) is int and 0 <= each <= MAX_SIZE)
    return position if len(position) == len(start) else None
