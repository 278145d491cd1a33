"""What tells plans apart: a digest of all that determines the bytes. Pure functions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from shardctl.columns import Columns, Tensors
from shardctl.model import Assembled, Cast, Checkpoint, Tensor
from shardctl.planning.request import Request, options_of

#: Increased whenever the same plan would give other bytes than before.
LAYOUT_VERSION = 1

#: What many tensors have in common: dtype, shape and strides.
_Form = tuple[str, tuple[int, ...], tuple[int, ...] | None]
_quote = json.encoder.encode_basestring_ascii
#: Tensors that a digest takes in at a time: their text need not all be in memory at once.
_TENSORS_AT_A_TIME = 10_000


def _row(tensor: Tensor, number: Mapping[str, int]) -> list[object]:
    """Return what a tensor is, and where its bytes are; `number` is that of each file."""
    made = tensor.storage.made
    place = number[tensor.storage.extent.path]
    row = [tensor.name, place, tensor.begin, tensor.dtype.name, tensor.shape, tensor.strides]
    match made:
        case Assembled():
            return [*row, made.grid, [[box.start, _row(box.tensor, number)] for box in made.boxes]]
        case Cast():
            return [*row, _row(made.tensor, number)]
        case None:
            return row


def _row_texts(
    tensors: Sequence[Tensor], number: Mapping[str, int], forms: dict[_Form, str]
) -> list[str]:
    """Return the JSON text of each tensor's row; `forms` keeps what many have in common."""
    if isinstance(tensors, Tensors):
        return [text for part in tensors.parts for text in _column_texts(part, number[part.path])]
    return [_row_text(tensor, number, forms) for tensor in tensors]


def _column_texts(columns: Columns, place: int) -> list[str]:
    """Return the same for tensors of the file whose number is `place`."""
    rest = {form: _compact((form.dtype.name, form.shape, None))[1:] for form in set(columns.forms)}
    names, forms = map(_quote, columns.names), map(rest.__getitem__, columns.forms)
    return [
        f"[{name},{place},{begin},{form}"
        for name, begin, form in zip(names, columns.offsets, forms, strict=True)
    ]


def _row_text(tensor: Tensor, number: Mapping[str, int], forms: dict[_Form, str]) -> str:
    storage = tensor.storage
    if storage.made is not None:
        return _compact(_row(tensor, number))
    form = tensor.dtype.name, tensor.shape, tensor.strides
    rest = forms.get(form) or forms.setdefault(form, _compact(form)[1:])
    place = number[storage.extent.path]
    return f"[{_quote(tensor.name)},{place},{tensor.begin},{rest}"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def plan_id(
    checkpoint: Checkpoint,
    request: Request,
    common: Mapping[str, str],
    files: Mapping[str, Mapping[str, str]],
    index: bytes | None,
) -> str:
    """Return a digest of all that determines the bytes.

    These are options, layout version, and the sources' names, sizes and headers. One file can hold
    several state dicts with equal names (`model` and `ema`), so the places of tensors count too.
    `files` has the metadata of each file to write by its name, in order, and `common` is what of it
    every file has; that of a single file, or what else one of several has, counts as well.
    """
    single = list(files.values()) if len(files) == 1 else []
    own = {} if single else {name: dict(metadata) for name, metadata in files.items()}
    own = {name: metadata for name, metadata in own.items() if metadata != common}
    number = {file.path: place for place, file in enumerate(checkpoint.files)}
    document = {
        "layout_version": LAYOUT_VERSION,
        "options": options_of(request),
        "block_size": request.block,
        "sources": [
            [file.path.replace("\\", "/").rsplit("/", 1)[-1], file.version.size, file.header_sha256]
            for file in checkpoint.files
        ],
        # The last key, so that the list can be written into it piece by piece.
        "tensors": [],
        "metadata": dict(single[0] if single else common),
        **({"shard_metadata": own} if own else {}),
        "filenames": list(files),
        "index": None if index is None else hashlib.sha256(index).hexdigest(),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.removesuffix("]}").encode())
    forms: dict[_Form, str] = {}
    for begin in range(0, len(checkpoint.tensors), _TENSORS_AT_A_TIME):
        some = checkpoint.tensors[begin : begin + _TENSORS_AT_A_TIME]
        rows = ",".join(_row_texts(some, number, forms))
        digest.update(f"{',' if begin else ''}{rows}".encode())
    digest.update(b"]}")
    return digest.hexdigest()
