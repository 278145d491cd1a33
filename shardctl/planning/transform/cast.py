"""Which tensors become numbers of another type. Pure functions: `streams.convert` converts."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shardctl.errors import UsageError
from shardctl.model import DTYPES, Cast, Checkpoint, Tensor, made_tensor
from shardctl.planning.request import Conversion
from shardctl.storages import named_tensors
from shardctl.streams.convert import CONVERTIBLE
from shardctl.text import escape, plural

#: Other names of the types: those of torch, and those that people use.
_SPELLINGS = {
    "F64": ("float64", "fp64", "double"),
    "F32": ("float32", "fp32", "float"),
    "F16": ("float16", "fp16", "half"),
    "BF16": ("bfloat16",),
    "F8_E4M3": ("float8_e4m3fn", "fp8_e4m3", "f8_e4m3fn"),
    "F8_E5M2": ("float8_e5m2", "fp8_e5m2"),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", "fp8_e4m3fnuz"),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", "fp8_e5m2fnuz"),
}
_BY_SPELLING = {
    spelling.lower(): name for name, others in _SPELLINGS.items() for spelling in (name, *others)
}
#: What the scales of quantised weights are called: the weights' own name (or that less its last
#: word) and one of these. Sources: the conventions of compressed-tensors, transformers' FP8
#: (`weight_scale_inv`), bitsandbytes (`absmax`, `SCB`), GPTQ and AWQ (`scales`), ModelOpt.
_SCALES = re.compile(
    r"(?P<weights>.+?)(?:_scale|_scale_inv|_scale_2|_zero_point|\.scale|\.absmax|\.quant_map"
    r"|\.nested_absmax|\.nested_quant_map|\.SCB)"
)
_PACKED_SCALES = re.compile(r"(?P<module>.+\.)(?:scales|qzeros|weight_scale|weight_zero_point)")
_PACKED = ("qweight", "weight_packed")


def parse_dtype(text: str) -> str:
    """Return the name in `model.DTYPES` of a type to convert to; raises UsageError for others."""
    name = _BY_SPELLING.get(text.strip().lower())
    if name is None:
        raise UsageError(
            f"`dtype` '{escape(text)}' is not a type that tensors can be converted to",
            hint=f"choose one of {', '.join(known.lower() for known in CONVERTIBLE)}",
        )
    return name


def conversion_of(dtype: str | None, keep: Sequence[str] | None) -> Conversion | None:
    """Return what was asked for; raises UsageError for types that are kept where none changes."""
    if dtype is None:
        if keep:
            raise UsageError("`keep_dtype` needs a conversion", hint="add `dtype`")
        return None
    return Conversion(parse_dtype(dtype), tuple(keep or ()))


@dataclass(frozen=True, slots=True)
class Converted:
    """Tensors of which some are numbers of another type than in their files."""

    tensors: Sequence[Tensor]

    @property
    def changes(self) -> Mapping[str, int]:
        """How many tensors are converted, by their type before."""
        made = (tensor.storage.made for tensor in self.tensors)
        return Counter(each.tensor.dtype.name for each in made if isinstance(each, Cast))

    def record(self, target: str) -> str:
        """Return what was converted, in words, for the metadata; empty where nothing was."""
        counts = (f"{plural(count, 'tensor')} from {name}" for name, count in self.changes.items())
        found = ", ".join(counts)
        return found and f"{found} to {target}"


def convert_all(checkpoint: Checkpoint, conversion: Conversion) -> Checkpoint:
    """Return a checkpoint with its tensors converted, as `convert` says.

    A name that is only recorded as tied to a tensor is converted, or kept, like any other. Where
    the two are of different types then, it is the name of a tensor, and not recorded any more.
    """
    recorded = checkpoint.aliases
    if not recorded:
        tensors = convert(checkpoint.tensors, conversion).tensors
        return replace(checkpoint, tensors=tuple(tensors))
    every = named_tensors(checkpoint)
    made = dict(zip(every, convert([*every.values()], conversion).tensors, strict=True))
    apart = {alias for alias, kept in recorded.items() if made[alias].dtype != made[kept].dtype}
    index = checkpoint.index
    if index is not None:
        kept = {key: value for key, value in index.metadata.items() if key not in apart}
        index = replace(index, metadata=kept)
    return replace(
        checkpoint,
        tensors=tuple(t for name, t in made.items() if name not in recorded or name in apart),
        aliases={alias: kept for alias, kept in recorded.items() if alias not in apart},
        index=index,
    )


def convert(tensors: Sequence[Tensor], conversion: Conversion) -> Converted:
    """Return the tensors with the floating-point ones of another type converted.

    Tied tensors stay tied, unless some of them are kept. Integers, and what matches `keep`, stay as
    they are. Raises UsageError for a pattern that matches nothing, and for quantised weights or
    their scales, whose numbers mean nothing without each other.
    """
    target = DTYPES[conversion.dtype]
    kept = _kept(tensors, conversion.keep)
    chosen = [
        tensor
        for tensor in tensors
        if tensor.dtype.name in CONVERTIBLE and tensor.dtype != target and tensor.name not in kept
    ]
    _refuse_quantised(tensors, {tensor.name for tensor in chosen})
    made: dict[object, Tensor] = {}
    by_name: dict[str, Tensor] = {}
    for tensor in chosen:
        identity = tensor.identity or tensor.name
        first = made.get(identity)
        if first is None:
            key = f"{tensor.name} as {target.name}"
            first = made[identity] = made_tensor(
                tensor.name, target, tensor.shape, Cast(tensor), key
            )
        by_name[tensor.name] = Tensor(tensor.name, target, tensor.shape, first.storage)
    return Converted([by_name.get(tensor.name, tensor) for tensor in tensors])


def _kept(tensors: Sequence[Tensor], globs: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for glob in globs:
        matches = re.compile(fnmatch.translate(glob)).match
        some = [tensor.name for tensor in tensors if matches(tensor.name)]
        if not some:
            raise UsageError(
                f"`keep_dtype` '{escape(glob)}' matches no tensor's name",
                hint=f"a pattern matches whole names: try '*{escape(glob.strip('*'))}*'",
            )
        found.update(some)
    return found


def _refuse_quantised(tensors: Sequence[Tensor], converted: set[str]) -> None:
    dtypes = {tensor.name: tensor.dtype.name for tensor in tensors}
    touched = [
        (scale, weights)
        for scale, weights in _scales(dtypes)
        if scale in converted or weights in converted
    ]
    if touched:
        scale, weights = touched[0]
        raise UsageError(
            f"'{escape(weights)}' ({dtypes[weights]}) is quantised, with its scales in "
            f"'{escape(scale)}': converting one of them changes what the other means "
            f"({plural(len(touched), 'such pair')})",
            hint="leave them as they are with `keep_dtype`, or dequantise the model with the "
            "library that quantised it",
            tensor=weights,
        )


def _scales(dtypes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names of scales, each with that of its quantised weights."""
    for name in dtypes:
        scale = _SCALES.fullmatch(name)
        weights = scale["weights"] if scale else ""
        if weights in dtypes and _is_quantised(dtypes[weights]):
            yield name, weights
            continue
        packed = _PACKED_SCALES.fullmatch(name)
        for other in _PACKED if packed else ():
            weights = f"{packed['module']}{other}" if packed else ""
            if weights in dtypes:
                yield name, weights


def _is_quantised(dtype: str) -> bool:
    """Whether weights of that type are quantised where they have scales: 8 bits, or integers."""
    return DTYPES[dtype].bits <= 8 or dtype not in CONVERTIBLE
